"""The whole of `make study ARGS=--quick` with a tiny model: pool, pairs, runs, files, report, page."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app import settings as settings_module
from app.store import datasets, runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus, Split
from app.ui.study import page
from study import child, execution
from study.__main__ import main
from study.execution import Spent
from study.plan import quick
from study.report import make_report
from tests.tiny_model import write_tiny_model
from worker.shutdown import shutting_down


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home in which the study ran once. The pool is sampled in a child process, the runs in this one."""
    folder = tmp_path_factory.mktemp("study")
    model = write_tiny_model(folder / "tiny")
    in_child = execution.in_child

    def here(job: str, arguments: list[str]) -> Spent:
        if job == "sample":
            return in_child(job, arguments)
        child.work(job, arguments)
        return Spent(1.0, 2 * 10**9)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPO_HOME", str(folder / "home"))
        patch.setattr(execution, "in_child", here)
        settings_module.get_settings.cache_clear()
        shutting_down.clear()
        assert main(["--quick", "--model", str(model)]) == 0
        yield folder / "home" / "study-quick"
    settings_module.get_settings.cache_clear()


def results(home: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (home / "runs").glob("*.json")}


def model_of(home: Path) -> str:
    """The base model of the runs."""
    return str(next(iter(results(home).values()))["config"]["model_name_or_path"])


def test_every_run_has_a_file_with_a_value_for_each_prompt(home: Path) -> None:
    found = results(home)
    assert set(found) == {f"off-policy-{name}-seed1" for name in ("proxy", "dpo-0.05", "hypo-0.001")}
    for name in ("off-policy-dpo-0.05-seed1", "off-policy-hypo-0.001-seed1"):
        steps = found[name]["steps"]
        assert [step["step"] for step in steps] == [0, 1, 2]
        for step in steps:
            assert {len(step[key]) for key in ("gold", "kl", "proxy", "win", "tokens", "end", "outside")} == {
                6
            }
            assert {"distinct2", "logps/chosen", "logps/rejected"} <= step.keys()
        assert set(steps[0]["kl"]) == {0.0}
        assert set(steps[0]["win"]) == {0.5}
        assert any(steps[2]["kl"])
    dpo, hypo = (found[f"off-policy-{name}-seed1"]["steps"] for name in ("dpo-0.05", "hypo-0.001"))
    assert dpo[0]["gold"] == hypo[0]["gold"]


def test_a_run_of_an_earlier_plan_is_not_in_the_report(home: Path) -> None:
    found, plan = list(results(home).values()), quick(model_of(home))
    assert make_report(found, plan, {})["done"] == len(found) == 3
    del found[1]["config"]["metric_for_best_model"]  # as an earlier version stored it
    assert make_report(found, plan, {})["done"] == 3
    found[0]["config"]["max_steps"] += 1
    assert make_report(found, plan, {})["done"] == 2


def test_the_runs_are_runs_of_the_app_that_held_out_the_same_prompts(home: Path) -> None:
    with read_session() as session:
        found = runs.find(session=session, tag="study")
        assert {run.status for run in found} == {RunStatus.FINISHED}
        assert len(found) == 3
        assert "eval_gold" in runs.final_metrics(found[0].id, session=session)
        [dataset_id] = {run.dataset_id for run in found}
        assert execution.number_of("off-policy-proxy-seed1", dataset_id) == min(run.id for run in found)
        assert not execution.has_finished("off-policy-proxy-seed1", dataset_id + 1)
        counts = datasets.split_counts(dataset_id, session=session)
        held = {
            str(pair.prompt)
            for pair in datasets.iter_pairs(dataset_id, session=session, split=Split.HELD_OUT)
        }
        trained = {
            str(pair.prompt) for pair in datasets.iter_pairs(dataset_id, session=session, split=Split.TRAIN)
        }
    assert (counts.train, counts.held_out) == (8, 6)
    assert not held & trained


def test_a_second_start_trains_nothing_but_what_has_no_whole_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = home / "runs" / "off-policy-dpo-0.05-seed1.json"
    whole = json.loads(damaged.read_text())
    damaged.write_text(damaged.read_text()[:200])
    with write_session() as session:  # as if it had been taken up and given back an hour before
        runs.get(whole["run"], session=session).started_at -= timedelta(hours=1)
    before = {name: path.stat().st_mtime_ns for path in (home / "runs").iterdir() if (name := path.name)}
    monkeypatch.setattr(execution, "in_child", lambda *_: pytest.fail("nothing is to be trained"))
    assert main(["--quick", "--model", str(home.parents[1] / "tiny")]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (home / "runs").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {damaged.name}
    again = json.loads(damaged.read_text())
    assert again["steps"] == whole["steps"]
    assert again["seconds"] == whole["seconds"]


def test_no_run_starts_when_time_is_over(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "runs" / "off-policy-hypo-0.001-seed1.json").rename(home / "kept.json")
    assert main(["--quick", "--model", str(home.parents[1] / "tiny"), "--minutes", "0"]) == 0
    assert "goes on with off-policy-hypo-0.001-seed1" in capsys.readouterr().out
    assert json.loads((home / "report.json").read_text())["done"] == 2
    (home / "kept.json").rename(home / "runs" / "off-policy-hypo-0.001-seed1.json")


def test_the_report_has_every_number_and_a_page(home: Path) -> None:
    assert main(["--quick", "--report", "--model", model_of(home)]) == 0
    report = json.loads((home / "report.json").read_text())
    assert (report["done"], report["planned"]) == (3, 3)
    assert [one["verdict"] for one in report["hypotheses"]][1] == "not_measured"
    [dpo, hypo] = report["rows"]
    assert (dpo["family"], hypo["family"]) == ("DPO", "HyPO")
    assert (dpo["memory"], dpo["processor_seconds"]) == (2 * 10**9, 1.0)
    assert report["proxies"][0]["accuracy"] is not None
    html = (home / "report.html").read_text()
    assert "Reward models of the proxy" in html
    assert "<script" not in html
    for said in ("dpo-0.05", "hypo-0.001", "DPO's gold reward bends down along KL.", "not measured"):
        assert said.replace("'", "&#39;") in html


def test_the_page_shows_the_report_of_the_home(home: Path) -> None:
    folder = home.parent / "study"
    assert "make study" in str(page.view.nothing_yet())
    folder.mkdir()
    (folder / "report.json").write_text((home / "report.json").read_text())
    assert "hypo-0.001" in str(page.show()["body"])
    (folder / "report.json").write_text('{"rows": 3}')
    assert "another version" in str(page.show()["body"])
    (folder / "report.json").unlink()
