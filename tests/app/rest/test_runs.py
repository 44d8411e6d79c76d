"""Runs through the API."""

import io
import json
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.rest.schemas.datasets import DatasetShown
from app.rest.schemas.runs import RunShown
from app.settings import get_settings
from app.store import generations, metrics, run_checkpoints, runs, workers
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, RunStatus
from app.store.generations import TrainingSample
from app.views import dataset_view, run_view
from tests.app import arena
from tests.app.rest.conftest import ok, refused

SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def dataset(engine: object) -> str:
    with write_session() as session:
        return arena.add_dataset(session, "posts").name


def launch(api: TestClient, dataset: str, **given: Any) -> list[dict[str, Any]]:
    body = {"method": "dpo", "dataset": dataset, "config": {"max_steps": 3}, **given}
    launched: list[dict[str, Any]] = ok(api.post("runs", json=body), 201)["runs"]
    return launched


def test_twins_are_queued_listed_and_cancelled(api: TestClient, dataset: str) -> None:
    dpo, hypo = launch(api, dataset, method="twins", name="pair")
    assert [run["method"] for run in (dpo, hypo)] == ["dpo", "hypo"]
    assert dpo["twin_group"] == hypo["twin_group"] is not None
    shown = ok(api.get(f"runs/{dpo['id']}"))
    assert (shown["status"], shown["place_in_queue"], shown["config"]["max_steps"]) == ("queued", 1, 3)
    listed = ok(api.get("runs", params={"method": "hypo", "dataset": "posts", "name": "PAIR"}))
    assert [run["id"] for run in listed["items"]] == [hypo["id"]]
    assert ok(api.post(f"runs/{dpo['id']}/cancel"))["status"] == "cancelled"
    assert "nothing to cancel" in refused(api.post(f"runs/{dpo['id']}/cancel"), 409)
    queued = ok(api.get("runs?status=queued"))["items"]
    assert [run["id"] for run in queued] == [hypo["id"]]
    assert ok(api.post(f"runs/{dpo['id']}/resume"))["status"] == "queued"
    assert "can be resumed" in refused(api.post(f"runs/{hypo['id']}/resume"), 409)
    assert api.post("runs/999/resume").status_code == 404


def test_a_sweep_is_queued(api: TestClient, dataset: str) -> None:
    queued = launch(api, dataset, sweep={"beta": [0.1, 0.2], "seed": [1, 2]}, trials=3)
    assert len({(run["config"]["beta"], run["config"]["seed"]) for run in queued}) == 3
    body = {"method": "dpo", "dataset": dataset, "sweep": {"beta": []}}
    assert "at least 1 values" in refused(api.post("runs", json=body), 422, field="sweep.beta")


def test_a_forecast_queues_nothing(api: TestClient, dataset: str) -> None:
    given = {"method": "dpo", "dataset": dataset, "sweep": {"beta": [0.1, 0.2]}, "config": {"max_steps": 3}}
    told = ok(api.post("runs/forecast", json=given))
    assert [run["title"] for run in told["runs"]] == ["DPO · beta 0.1", "DPO · beta 0.2"]
    assert {run["steps"] for run in told["runs"]} == {3}
    wrong = api.post("runs/forecast", json={**given, "sweep": {}, "config": {"beta": -1}})
    assert "beta" in refused(wrong, 422, field="beta")
    assert ok(api.get("runs"))["items"] == []


def test_a_run_is_edited_and_archived(api: TestClient, dataset: str) -> None:
    (run,) = launch(api, dataset)
    address = f"runs/{run['id']}"
    edited = ok(api.patch(address, json={"name": "best", "notes": "*Good*", "tags": ["b", "a"]}))
    assert [edited[key] for key in ("name", "notes", "tags")] == ["best", "*Good*", ["a", "b"]]
    assert [one["id"] for one in ok(api.get("runs?tag=a"))["items"]] == [run["id"]]
    assert ok(api.patch(address, json={"archived": True}))["archived_at"]
    assert ok(api.get("runs"))["items"] == []
    assert [one["id"] for one in ok(api.get("runs?show=archived"))["items"]] == [run["id"]]
    assert ok(api.post(f"{address}/cancel"))["tags"] == ["a", "b"], "an archived run works as before"
    assert "U+202E" in refused(api.patch(address, json={"name": "\u202ex"}), 422, field="name")
    assert api.patch("runs/999", json={"archived": True}).status_code == 404


def test_metrics_are_downloaded_as_csv(api: TestClient, dataset: str) -> None:
    (run,) = launch(api, dataset, name="=1+1")
    with write_session() as session:
        metrics.record(run["id"], session=session, step=3, values={"loss": 0.1 + 0.2, "x": 1.0})
    found = api.get(f"runs/metrics.csv?run={run['id']}&name=loss")
    assert f'filename="run-{run["id"]}-loss.csv"' in found.headers["content-disposition"]
    head, line = found.text.split()
    assert head == "run,name,method,metric,step,value"
    assert line == f"{run['id']},'=1+1,dpo,loss,3,0.30000000000000004"
    assert api.get(f"runs/metrics.csv?run={run['id']}").text.count("\n") == 3
    assert api.get("runs/metrics.csv?run=999").status_code == 404
    assert api.get("runs/metrics.csv").status_code == 422


def test_a_run_waits_for_the_reward_model_that_it_names(api: TestClient, dataset: str) -> None:
    reward, dpo, rloo = launch(api, dataset, method="dpo,rloo", config={"reward": "train"})
    assert reward["twin_group"] == dpo["twin_group"] == rloo["twin_group"] is not None
    assert (rloo["status"], rloo["waits_for"], rloo["place_in_queue"]) == ("queued", reward["id"], None)
    assert (reward["waits_for"], reward["place_in_queue"]) == (None, 1)
    assert ok(api.post(f"runs/{reward['id']}/cancel"))["status"] == "cancelled"
    shown = ok(api.get(f"runs/{rloo['id']}"))
    assert (shown["status"], shown["waits_for"]) == ("failed", None)
    assert f"Run {reward['id']}, which this run waited for, was cancelled; resume" in shown["error"]
    assert "resume it first" in refused(api.post(f"runs/{rloo['id']}/resume"), 409)
    body = {"method": "rloo", "dataset": dataset, "config": {"reward": f"run:{reward['id']}"}}
    assert "is cancelled; resume it, or name another" in refused(
        api.post("runs", json=body), 422, field="reward"
    )


@SQLITE
def test_the_answer_to_a_launch_says_when_no_worker_is_there(api: TestClient, dataset: str) -> None:
    body = {"method": "dpo", "dataset": dataset}
    assert "hypo worker --queues train" in ok(api.post("runs", json=body), 201)["note"]
    with write_session() as session:
        workers.beat("w", session=session, queues="train", device="cpu")
    assert ok(api.post("runs", json=body), 201)["note"] == ""


@SQLITE
def test_the_model_is_named_once(api: TestClient, dataset: str) -> None:
    assert launch(api, dataset)[0]["model"] == "demo"
    assert launch(api, dataset, model="org/two")[0]["model"] == "org/two"
    named = {"model_name_or_path": "org/one"}
    assert launch(api, dataset, config=named)[0]["model"] == "org/one"
    assert launch(api, dataset, config=named, model="org/one")[0]["model"] == "org/one"
    both = {"method": "dpo", "dataset": dataset, "model": "demo", "config": named}
    assert "give one of them" in refused(api.post("runs", json=both), 422, field="model")


@SQLITE
def test_presets_and_clones_are_starting_points(api: TestClient, dataset: str) -> None:
    (quick,) = [preset for preset in ok(api.get("presets")) if preset["name"] == "quick"]
    (run,) = launch(api, dataset, preset="quick", config={"beta": 0.5})
    assert run["config"]["beta"] == 0.5
    assert run["config"]["eval_pairs"] == quick["values"]["eval_pairs"]
    assert "no preset" in refused(
        api.post("runs", json={"method": "dpo", "dataset": dataset, "preset": "x"}), 422, field="preset"
    )
    cloned = ok(api.post(f"runs/{run['id']}/clone", json={"config": {"seed": 9}}), 201)["runs"]
    assert [(c["seed"], c["config"]["beta"], c["method"]) for c in cloned] == [(9, 0.5, "dpo")]
    with read_session() as session:
        assert runs.get(cloned[0]["id"], session=session).parent_id == run["id"]


@SQLITE
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"method": "grpo"}, "method"),
        ({"config": {"beta": -1}}, "beta"),
        ({"config": {"no_such": 1}}, "no_such"),
        ({"config": {"\ud800": 1}}, "config"),
        ({"config": {"max_steps": 10**400}}, "max_steps"),
        ({"name": "n" * 101}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_values_are_named_and_nothing_is_queued(
    api: TestClient, dataset: str, given: dict[str, Any], field: str
) -> None:
    body = json.dumps({"method": "dpo", "dataset": dataset, **given})
    answer = api.post("runs", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, field=field)
    assert ok(api.get("runs"))["items"] == []


def test_curves_samples_log_and_checkpoints(api: TestClient, dataset: str) -> None:
    with write_session() as session:
        run = arena.add_run(session, "hypo", steps=(5, 10))
        for step in (0, 5, 10):
            metrics.record(
                run.id, session=session, step=step, values={"loss": 1.0 / (step + 1), "kl": float(step)}
            )
        sample = {"seed": 1, "tokens": 2, "complete": True, "policy_logp": -1.0, "reference_logp": -2.0}
        for kind, step, text in (
            ("online", 1, "a"),
            ("online", 2, "b"),
            ("online", 2, "c"),
            ("probe", 2, "p"),
        ):
            made = TrainingSample(
                GenerationKind(kind), step, [{"role": "user", "content": "Q"}], text=text, **sample
            )  # type: ignore[arg-type]
            generations.record_samples(run.id, [made], session=session)
    curves = {line["name"]: line for line in ok(api.get(f"runs/{run.id}/metrics"))["series"]}
    assert curves["loss"]["steps"] == [0, 5, 10]
    assert curves["kl"]["values"] == [0.0, 5.0, 10.0]
    (newer,) = ok(api.get(f"runs/{run.id}/metrics?name=kl&after_step=5"))["series"]
    assert (newer["steps"], newer["values"]) == ([10], [10.0])

    page = ok(api.get(f"runs/{run.id}/samples?limit=2"))
    rest = ok(api.get(f"runs/{run.id}/samples?limit=2&cursor={page['next']}"))
    assert [s["text"] for s in page["items"] + rest["items"]] == ["c", "b", "a"]
    assert rest["next"] is None
    assert rest["items"][0]["prompt"] == [{"role": "user", "content": "Q"}]
    assert [s["text"] for s in ok(api.get(f"runs/{run.id}/samples?kind=probe&step=2"))["items"]] == ["p"]
    assert [c["step"] for c in ok(api.get(f"runs/{run.id}/checkpoints"))] == [5, 10]
    (line,) = ok(api.get(f"runs/{run.id}/events"))["items"]
    assert line["message"] == "Queued."


@SQLITE
def test_a_run_that_is_over_is_deleted(api: TestClient, dataset: str) -> None:
    with write_session() as session:
        over, waiting = arena.add_run(session).id, arena.add_run(session, status=RunStatus.QUEUED).id
    assert api.delete(f"runs/{over}").status_code == 204
    refused(api.get(f"runs/{over}"), 404)
    assert "cancel it first" in refused(api.delete(f"runs/{waiting}"), 409)


@SQLITE
def test_weights_come_as_a_zip_and_leave_no_file(api: TestClient, dataset: str) -> None:
    with write_session() as session:
        run = arena.add_run(session, steps=(10,))
        path = run_checkpoints.last(run.id, session=session)
        assert path is not None
    folder = get_settings().root / "artifacts" / path.path / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    answer = api.get(f"runs/{run.id}/export")
    assert answer.status_code == 200
    assert f'filename="hypo-run-{run.id}.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    assert names >= {"README.md", "adapter_model.safetensors"}
    assert not list((get_settings().root / "files").rglob("*.zip"))
    with write_session() as session:
        bare = arena.add_run(session, steps=()).id
    assert "no checkpoint" in refused(api.get(f"runs/{bare}/export"), 409)


@SQLITE
@pytest.mark.parametrize("path", ["", "/events", "/metrics", "/samples", "/checkpoints", "/export"])
def test_what_is_not_there_is_not_found(api: TestClient, path: str) -> None:
    assert "There is no run 99" in refused(api.get(f"runs/99{path}"), 404)
    refused(api.get(f"runs/0{path}"), 422, field="run_id")
    refused(api.get(f"runs/{2**31}{path}"), 422, field="run_id")


@SQLITE
def test_a_metric_that_is_no_number_is_null(api: TestClient, dataset: str) -> None:
    shown = RunShown.model_validate({**_view(), "metrics": {"loss": float("nan")}})
    assert '"loss":null' in shown.model_dump_json()


@SQLITE
def test_the_schemas_have_every_field_of_the_views(engine: object) -> None:
    view = _view()
    assert set(RunShown.model_fields) == set(view)
    with write_session() as session:
        assert set(DatasetShown.model_fields) == set(dataset_view(arena.add_dataset(session, "x")))


def _view() -> dict[str, Any]:
    with write_session() as session:
        run = arena.add_run(session)
        return run_view(run, session=session)
