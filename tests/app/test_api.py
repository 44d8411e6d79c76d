"""The API, called by gradio_client through a real server; and the services that it shares with the pages."""

import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError as ClientError
from sqlalchemy import Engine

from app import answers, api
from app.errors import InvalidInput, NotFound
from app.security import files
from app.settings import Settings
from app.store import conversations, db, labels, workers
from app.store.db import read_session, write_session
from app.store.enums import Choice, GenerationStatus
from app.store.models import Base
from tests.app import arena

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def client(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a served app that has the API and nothing else."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(files.folder_of("local")))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    with gr.Blocks(analytics_enabled=False) as blocks:
        api.register()
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, show_error=True)
    client = Client(url, verbose=False, download_files=str(tmp_path / "downloads"))
    yield client
    client.close()
    blocks.close(verbose=False)
    engine.dispose()
    del client, blocks
    gc.collect()


def call(client: Client, function: str, /, *args: Any, **kwargs: Any) -> Any:
    return client.predict(*args, api_name=f"/{function}", **kwargs)


def pairs_file(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rows = [{"prompt": f"Q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "Q", "chosen": "x"}]))
    return path


def test_every_function_is_typed_and_documented(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {f"/{function.__name__}" for function in api.FUNCTIONS}
    for endpoint in endpoints.values():
        assert endpoint["description"]
        assert all(p["type"] for p in [*endpoint["parameters"], *endpoint["returns"]]), endpoint
        assert all(p["type"]["description"] for p in [*endpoint["parameters"], *endpoint["returns"]])
    generate = {p["parameter_name"]: p for p in endpoints["/generate"]["parameters"]}
    assert "request" not in generate
    assert generate["temperature"]["parameter_default"] == 0.7
    assert generate["run_ids"]["python_type"]["type"] == "list[int]"


def test_a_dataset_and_its_runs(client: Client, tmp_path: Path) -> None:
    added = call(client, "add_dataset", handle_file(pairs_file(tmp_path)), "posts", 0.25)
    assert (added["version"], added["rows"], added["left_out_count"]) == (1, 4, 1)
    assert added["left_out"][0]["row"] == 5
    (listed,) = call(client, "list_datasets")
    assert (listed["name"], listed["source"]) == ("posts", "pairs.jsonl")

    assert queued_models(client, model="", config={"model_name_or_path": "org/one"}) == ["org/one"]
    assert queued_models(client, model="org/one", config={"model_name_or_path": "org/one"}) == ["org/one"]
    assert queued_models(client, model="org/two") == ["org/two"]
    assert queued_models(client) == ["demo"]
    with pytest.raises(ClientError, match="give one of them"):
        queued_models(client, model="demo", config={"model_name_or_path": "org/one"})
    assert len(call(client, "list_runs")) == 4
    for run in call(client, "list_runs"):
        call(client, "cancel_run", run["id"])

    queued = call(client, "launch_run", "twins", "posts", config={"max_steps": 3}, name="pair")
    assert [run["method"] for run in queued] == ["dpo", "hypo"]
    first = call(client, "get_run", queued[0]["id"])
    assert (first["status"], first["place_in_queue"], first["config"]["max_steps"]) == ("queued", 1, 3)
    assert len(call(client, "list_runs", method="hypo", dataset="posts", name="PAIR")) == 1
    assert call(client, "cancel_run", queued[0]["id"])["status"] == "cancelled"
    assert [run["id"] for run in call(client, "list_runs", status="queued")] == [queued[1]["id"]]


def queued_models(client: Client, **given: Any) -> list[str]:
    return [run["model"] for run in call(client, "launch_run", "dpo", "posts", **given)]


def test_all_datasets_are_listed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_LISTED", 2)
    with write_session() as session:
        added = [arena.add_dataset(session, f"posts {number}").name for number in range(5)]
    assert [listed["name"] for listed in api.list_datasets()] == added[::-1]


@pytest.mark.parametrize("number", [0, -1, 2**31, 10**30])
def test_ids_that_no_row_can_have_name_nothing(client: Client, number: int) -> None:
    for function in ("get_run", "cancel_run"):
        with pytest.raises(ClientError, match=f"There is no run {number}"):
            call(client, function, number)
    with pytest.raises(ClientError, match=f"There is no run {number}"):
        call(client, "generate", "Why?", [number], wait_seconds=0)
    with pytest.raises(ClientError, match=f"There is no comparison {number}"):
        call(client, "vote", number, "tie")


def test_waiting_for_a_worker_that_is_not_there_is_refused_at_once(client: Client) -> None:
    with pytest.raises(ClientError, match="hypo worker --queues generate"):
        call(client, "generate", "Why?", [])
    with read_session() as session:
        assert conversations.count(session=session) == 0
    assert "hypo worker --queues generate" in call(client, "generate", "Why?", [], wait_seconds=0)["note"]
    with write_session() as session:
        assert conversations.count(session=session) == 1
        workers.beat("w", session=session, queues="generate", device="cpu")
    late = call(client, "generate", "Why?", [], wait_seconds=0.1)
    assert late["note"] == ""
    assert {a["status"] for a in late["answers"]} == {"queued"}


def test_text_that_no_database_takes_is_cleaned(engine: Engine) -> None:
    bad = "\x00\ud83d"
    with write_session() as session:
        arena.add_dataset(session, "posts")
        comparison = arena.asked(session)
    (run,) = api.launch_run("dpo", "posts\x00", model=f"m{bad}", name=f"mine{bad}")
    assert (run["name"], run["model"]) == ("mine\ufffd", "m\ufffd")
    assert api.list_runs(name=bad, dataset=bad) == []
    with pytest.raises(gr.Error, match="question is empty"):
        api.generate("\x00 \x00", [], wait_seconds=0)
    asked = api.generate(f"Why{bad}?", [], wait_seconds=0)
    with read_session() as session:
        turn = conversations.get_comparison(asked["comparison_id"], session=session)
        assert turn.question == "Why\ufffd?"
    assert api.vote(comparison.id, "A", reason=f"\x00 why{bad}\x00 ")["reason"] == "why\ufffd"


def test_errors_reach_the_client_as_sentences(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="There is no run 99"):
        call(client, "get_run", 99)
    with pytest.raises(ClientError, match="status must be one of"):
        call(client, "list_runs", status="lost")
    with pytest.raises(ClientError, match="upload"):
        call(client, "add_dataset", {"path": "/etc/hostname"}, "stolen")
    with pytest.raises(ClientError, match="question is empty"):
        call(client, "generate", " ", [], wait_seconds=0)
    with pytest.raises(ClientError, match="There is no comparison 7"):
        call(client, "vote", 7, "tie")


def test_ask_vote_list_and_export(client: Client) -> None:
    with write_session() as session:
        run = arena.add_run(session, "hypo")
    asked = call(client, "generate", "Why?", [run.id], seed=3, wait_seconds=0)
    assert [a["name"] for a in asked["answers"]] == ["Reference", "hypo run"]
    assert {a["status"] for a in asked["answers"]} == {"queued"}
    with pytest.raises(ClientError, match="still being written"):
        call(client, "vote", asked["comparison_id"], "A")
    with write_session() as session:
        comparison = conversations.get_comparison(asked["comparison_id"], session=session)
        arena.answer(session, comparison, ("because", "therefore"))
    voted = call(client, "vote", asked["comparison_id"], "B", reason="shorter")
    assert (voted["best"], voted["user"]) == ("hypo run", "local")
    assert [label["id"] for label in call(client, "list_labels")] == [voted["id"]]
    path = Path(call(client, "export_labels", "trl", "jsonl"))
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert row["chosen"] == [{"role": "assistant", "content": "therefore"}]
    assert Path(call(client, "export_labels", "raw", "parquet")).suffix == ".parquet"


def test_waiting_returns_when_the_answers_are_over(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session)
    choices = answers.contenders_of_runs([run.id], with_reference=True)
    comparison = answers.begin(choices, "Why?", user="ada")

    def worker() -> None:
        with write_session() as session:
            arena.answer(
                session, conversations.get_comparison(comparison.id, session=session), ("one", "two")
            )

    assert not answers.wait(comparison.id, seconds=0).over
    thread = threading.Timer(0.3, worker)
    thread.start()
    found = answers.wait(comparison.id, seconds=30)
    thread.join()
    assert found.over
    assert [answer.text for answer in found.answers] == ["one", "two"]


def test_each_base_model_brings_its_reference(engine: Engine) -> None:
    with write_session() as session:
        ids = [arena.add_run(session, base_model=base).id for base in ("demo", "other", "demo")]
    choices = answers.contenders_of_runs(ids, with_reference=True)
    assert [choice.base_model for choice in choices] == ["demo", "other", None, None, None]


@pytest.mark.parametrize("word", ["", "E", "AB", "best"])
def test_a_vote_in_unknown_words_is_refused(engine: Engine, word: str) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
    with pytest.raises(InvalidInput, match="choice must be one of"):
        answers.vote(comparison.id, word, user="ada")


def test_a_vote_of_three_in_words(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session, ("one", "two", "three"))
    label = answers.vote(comparison.id, "c", worst="a", user="ada")
    with read_session() as session:
        vote = labels.details(label.id, session=session)
    assert vote.label.choice is Choice.BEST
    assert vote.worst is not None
    assert vote.worst.letter == "A"


def test_follow_up_and_regenerate_queue_answers(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
    fresh = answers.regenerate(comparison.id, 1)
    assert fresh.status is GenerationStatus.QUEUED
    answers.stop(comparison.id, 0)
    assert not answers.look(comparison.id).over
    answers.stop(comparison.id, 1)
    assert answers.look(comparison.id).over
    turn = answers.follow_up(comparison.conversation_id, "And?", continues_from=0)
    assert turn.turn == 1
    with pytest.raises(NotFound):
        answers.begin(answers.contenders_of_runs([99], with_reference=False), "Q")
