"""The command line, called in this process on a real database."""

import json
from pathlib import Path
from typing import Any

import pytest

from app import migrate
from app.cli.main import run
from app.settings import Settings, get_settings
from app.store import runs, workers
from app.store.db import write_session
from tests.tiny_model import write_tiny_model


@pytest.fixture
def home(settings: Settings) -> Settings:
    migrate.upgrade()
    return settings


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    rows = [
        {"prompt": f"Question {n}?", "chosen": f" Good {n}.", "rejected": f" Bad {n}."} for n in range(20)
    ]
    rows.insert(3, {"prompt": "Same?", "chosen": "x", "rejected": "x"})
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command that must succeed with one JSON value on stdout; return the value."""
    status = run([*arguments, "--json"])
    output = capsys.readouterr()
    assert status == 0, output.err
    return json.loads(output.out)


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail with one sentence on stderr and nothing on stdout; return the sentence."""
    status = run(list(arguments))
    output = capsys.readouterr()
    assert status != 0
    assert output.out == ""
    assert "Traceback" not in output.err
    return output.err.strip()


@pytest.fixture
def dataset(home: Settings, pairs_file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return call(capsys, "datasets", "add", str(pairs_file), "--name", "mine")


def test_add_reports_the_dataset_and_each_row_left_out(dataset: dict[str, Any]) -> None:
    assert dataset["name"] == "mine"
    assert dataset["version"] == 1
    assert dataset["rows"] == 20
    assert [entry["row"] for entry in dataset["left_out"]] == [4]
    assert dataset["account"]["left_out"] == {dataset["left_out"][0]["reason"]: 1}
    assert dataset["account"]["unused"] == {}


def test_adding_again_makes_a_version(
    dataset: dict[str, Any], pairs_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = call(capsys, "datasets", "add", str(pairs_file), "--name", "mine")
    assert again["version"] == 2
    listed = call(capsys, "datasets", "list")
    assert [(d["name"], d["version"]) for d in listed] == [("mine", 2), ("mine", 1)]


def test_show_counts_splits_and_left_out(dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, "datasets", "show", "mine")
    assert shown["splits"]["train"] + shown["splits"]["held_out"] == 20
    assert shown["left_out"][0]["row"] == 4
    assert len(shown["first"]) == 3


def test_missing_file_is_refused_in_one_sentence(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nosuch.json" in refuse(capsys, "datasets", "add", "nosuch.json", "--name", "x")


def test_launch_queues_twins_with_the_given_values(
    dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    queued = call(
        capsys, "runs", "launch", "--method", "twins", "--dataset", "mine", "--set", "beta=0.05",
        "--set", "max_steps=20", "--set", "learning_rate=1e-4",
    )  # fmt: skip
    assert [run["method"] for run in queued] == ["dpo", "hypo"]
    assert all(run["status"] == "queued" and run["metrics"] == {} for run in queued)
    assert queued[0]["config"]["beta"] == 0.05
    assert queued[1]["config"]["learning_rate"] == 1e-4
    assert queued[0]["twin_group"] == queued[1]["twin_group"] is not None


def test_a_forecast_tells_memory_and_disk_and_queues_nothing(
    dataset: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tiny_model(tmp_path / "tiny")
    arguments = ["runs", "launch", "--method", "dpo,hypo", "--dataset", "mine", "--model", str(model)]
    arguments += [
        "--sweep",
        "kl_coef=0.01,0.1",
        "--set",
        "max_steps=4",
        "--set",
        "save_steps=1",
        "--forecast",
    ]
    told = call(capsys, *arguments)
    assert [one["title"] for one in told["runs"]] == ["DPO", "HyPO · kl_coef 0.01", "HyPO · kl_coef 0.1"]
    assert all(one["steps"] == 4 and one["memory_bytes"] > 0 for one in told["runs"])
    assert [one["disk"]["checkpoints"] for one in told["runs"]] == [4, 4, 4]
    assert told["disk"]["bytes"] == sum(one["disk"]["bytes"] for one in told["runs"])
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "HyPO · kl_coef 0.1" in said
    assert "12 checkpoints: " in said
    assert "nothing" in refuse(capsys, *arguments, "--set", "nothing=1")
    assert call(capsys, "runs", "list") == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--set", "beta=-1"], "beta"),
        (["--set", "nonsense=1"], "nonsense"),
        (["--set", "beta"], "NAME=VALUE"),
        (["--method", "grpo"], "'grpo'"),
        (["--dataset", "nothing"], "nothing"),
        (["--preset", "nothing"], "nothing"),
        (["--wait"], "hypo up"),
    ],
)
def test_a_bad_launch_queues_nothing(
    arguments: list[str], named: str, dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refuse(capsys, "runs", "launch", "--method", "dpo", "--dataset", "mine", *arguments)
    assert named in sentence
    assert call(capsys, "runs", "list") == []


def test_launch_without_a_worker_says_how_to_start_one(
    dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs", "launch", "--method", "dpo", "--dataset", "mine"]) == 0
    assert "hypo worker --queues train" in capsys.readouterr().err
    with write_session() as session:
        workers.beat("host:1:train", session=session, queues="train", device="CPU")
    assert run(["runs", "launch", "--method", "dpo", "--dataset", "mine"]) == 0
    assert capsys.readouterr().err == ""


def test_a_launch_says_which_run_it_waits_for(
    dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs", "launch", "--method", "dpo,rloo", "--dataset", "mine", "--set", "reward=train"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[1:] for line in said] == [
        ["queued", "place 1 in the queue"],
        ["queued", "waits for run 1"],
        ["queued", "waits for run 1"],
    ]
    assert run(["runs", "show", "3"]) == 0
    assert "queued, waits for run 1, step 0" in capsys.readouterr().out


def test_cancel_clone_and_delete(dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    [queued] = call(capsys, "runs", "launch", "--method", "hypo", "--dataset", "mine")
    first = str(queued["id"])
    assert "cancel it first" in refuse(capsys, "runs", "delete", first, "--yes")
    assert call(capsys, "runs", "cancel", first)["status"] == "cancelled"
    assert "already" in refuse(capsys, "runs", "cancel", first)
    [clone] = call(capsys, "runs", "clone", first, "--set", "beta=0.3")
    assert clone["config"]["beta"] == 0.3
    assert clone["method"] == "hypo"
    with write_session() as session:
        assert runs.get(clone["id"], session=session).parent_id == queued["id"]
    reward, hypo = call(capsys, "runs", "clone", first, "--set", "reward=train")
    assert (reward["method"], hypo["waits_for"]) == ("reward", reward["id"])
    assert call(capsys, "runs", "delete", first) == {"deleted": queued["id"]}
    assert "There is no run" in refuse(capsys, "runs", "show", first)


def test_list_filters(dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "runs", "launch", "--method", "twins", "--dataset", "mine", "--name", "Night 1")
    assert len(call(capsys, "runs", "list")) == 2
    assert [r["method"] for r in call(capsys, "runs", "list", "--method", "dpo")] == ["dpo"]
    assert len(call(capsys, "runs", "list", "--name", "night")) == 2
    newest, *_ = call(capsys, "runs", "list", "--limit", "1")
    assert len(call(capsys, "runs", "list", "--before", str(newest["id"]))) == 1
    assert run(["runs", "list", "--limit", "1"]) == 0
    assert f"--before {newest['id']} lists them" in capsys.readouterr().err
    assert call(capsys, "runs", "list", "--status", "finished") == []
    assert call(capsys, "runs", "list", "--dataset", "other") == []


def test_export_without_a_checkpoint_is_refused(
    dataset: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [queued] = call(capsys, "runs", "launch", "--method", "dpo", "--dataset", "mine")
    sentence = refuse(capsys, "runs", "export", str(queued["id"]), "--output", str(tmp_path / "out"))
    assert "no checkpoint" in sentence
    assert not (tmp_path / "out").exists()


def test_labels_export_counts_and_needs_a_known_ending(
    home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = call(capsys, "labels", "export", "--format", "trl", "--output", str(tmp_path / "v.jsonl"))
    assert counts["rows"] == 0
    assert (tmp_path / "v.jsonl").read_text() == ""
    assert "--file-type" in refuse(capsys, "labels", "export", "--output", str(tmp_path / "v.txt"))
    assert call(capsys, "labels", "list") == []


def test_chat_without_a_worker_says_how_to_start_one(
    home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hypo worker --queues generate" in refuse(capsys, "chat", "Hello?")


def test_a_home_without_tables_names_the_remedy(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hypo db upgrade" in refuse(capsys, "runs", "list")
    assert call(capsys, "db", "upgrade") == {"database": "current"}
    assert call(capsys, "runs", "list") == []


def test_worker_without_a_broker_is_refused(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert "HYPO_BROKER_URL" in refuse(capsys, "worker")
    assert "no queue 'nope'" in refuse(capsys, "worker", "--queues", "nope")


def test_listening_beyond_this_machine_needs_a_login(
    home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "HYPO_AUTH" in refuse(capsys, "up", "--host", "0.0.0.0").replace("Stopping ...", "")


def test_a_yaml_file_says_everything(
    dataset: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "method: dpo\ndataset: mine\nname: From file\nmodel_name_or_path: /some/model\nbeta: 0.3\n"
    )
    [queued] = call(capsys, "runs", "launch", "--config", str(path))
    assert (queued["model"], queued["method"], queued["name"]) == ("/some/model", "dpo", "From file")
    assert queued["config"]["beta"] == 0.3
    [queued] = call(capsys, "runs", "launch", "--config", str(path), "--model", "demo", "--set", "beta=0.2")
    assert (queued["model"], queued["config"]["beta"]) == ("demo", 0.2)
    path.write_text("method: dpo\ndataset: mine\nlerning_rate: 5\n")
    assert "lerning_rate" in refuse(capsys, "runs", "launch", "--config", str(path))


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "show", "99999999999999999999"],
        ["runs", "launch"],
        ["labels", "export", "--output", "/proc/nowhere/votes.jsonl"],
        ["train", "nothing.yaml"],
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(refuse(capsys, *arguments).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("HYPO_PORT", "abc"), ("HYPO_DATABASE_URL", "nonsense"), ("HYPO_LEASE_SECONDS", "-1")]
)
def test_a_bad_setting_is_named(
    name: str,
    value: str,
    home: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    assert name in refuse(capsys, "runs", "list")
    get_settings.cache_clear()


def test_columns_that_repeat_are_refused(
    home: Settings, pairs_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(
        capsys, "datasets", "add", str(pairs_file), "--name", "x", "--columns",
        "prompt=prompt,chosen=prompt,rejected=rejected",
    )  # fmt: skip


def test_winners_are_read_by_columns_and_values(
    home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    votes = [
        {"data": {"q": f"q {i}", "one": "a", "two": "b"}, "best": best, "site": "x"}
        for i, best in enumerate((0, 1, "tie", 0))
    ]
    path = tmp_path / "votes.json"
    path.write_text(json.dumps(votes))
    columns = ["--columns", "prompt=data.q,a=data.one,b=data.two,winner=best"]
    add = ["datasets", "add", str(path), "--name", "votes"]
    assert "Perhaps: " in refuse(capsys, *add)
    assert "It holds: 0, 1, tie." in refuse(capsys, *add, *columns)
    assert "need --columns" in refuse(capsys, *add, "--a-wins", "0")
    assert "which column is winner" in refuse(capsys, *add, "--columns", "a=data.one,b=data.two")
    added = call(capsys, *add, *columns, "--a-wins", "0", "--b-wins", "1")
    assert (added["rows"], added["format"]) == (3, "winner")
    assert added["account"]["unused"] == {"site": 3}
    assert added["account"]["left_out"] == {"a tie: neither answer is preferred": 1}
    assert added["remarks"] == ["best prefers data.one where it is 0, data.two where it is 1."]
    assert call(capsys, "datasets", "show", "votes")["account"] == added["account"]


def test_runs_are_edited_and_sorted(dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        call(capsys, "runs", "launch", "--method", "dpo", "--dataset", "mine", "--name", name)
    (edited,) = call(
        capsys, "runs", "edit", "1", "--name", "zz", "--tag", "a", "--tag", "b", "--notes", "Good."
    )
    assert (edited["name"], edited["tags"], edited["notes"]) == ("zz", ["a", "b"], "Good.")
    assert [run["name"] for run in call(capsys, "runs", "list", "--sort", "-name")] == ["zz", "two"]
    both = call(capsys, "runs", "edit", "1", "2", "--untag", "a", "--archive")
    assert [(run["tags"], bool(run["archived_at"])) for run in both] == [(["b"], True), ([], True)]
    assert call(capsys, "runs", "list") == []
    assert len(call(capsys, "runs", "list", "--show", "archived", "--tag", "b")) == 1
    assert "Say what to change" in refuse(capsys, "runs", "edit", "1")
    assert "cannot be sorted by 'tags'" in refuse(capsys, "runs", "list", "--sort", "tags")
    assert "leave --sort out" in refuse(capsys, "runs", "list", "--sort", "name", "--before", "3")
