"""Leaks from training into evaluation: refused with their rows, on every way to a launch."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update

from app import leaving_out
from app.cli.main import run as hypo
from app.errors import Refused
from app.launch import launch
from app.leaks import find_leak
from app.store import dataset_writing, datasets
from app.store.db import read_session, write_session
from app.store.enums import Split
from app.store.models import DatasetPair
from app.ui.datasets import leaking
from app.ui.launch import page as launch_page
from hypo_engine.data.formats import Kept, Pair
from hypo_engine.reporting import Prompt
from tests.app import arena
from tests.app.rest.conftest import api as api
from tests.app.ui.test_launch_page import values
from tests.transactions import within

QUICK = {"max_steps": 2}
RLOO = {**QUICK, "reward": "run:1"}


def add(name: str, *prompts: Prompt, held_out: float) -> int:
    with write_session() as session:
        return dataset_writing.create(
            write=within(session),
            name=name,
            sha256="0" * 64,
            format="trl",
            source="test",
            held_out=held_out,
            pairs=[Kept(10 + row, Pair(prompt, "a", "b")) for row, prompt in enumerate(prompts)],
        ).id


def hold_out(dataset_id: int, *rows: int) -> None:
    """Hold out rows of a dataset, as if their prompts' hashes said so."""
    with write_session() as session:
        session.execute(
            update(DatasetPair)
            .where(DatasetPair.dataset_id == dataset_id, DatasetPair.row.in_(rows))
            .values(split=Split.HELD_OUT)
        )


@pytest.fixture
def posts(engine: Engine) -> int:
    """A dataset that holds out row 11, and a finished reward model of run 1 that has learned its prompt."""
    questions = [f"Why {number}?" for number in range(8)]
    learned = add("feedback", *questions, held_out=0.0)
    with write_session() as session:
        assert arena.add_run(session, "reward", dataset_id=learned).id == 1
    posts = add("posts", "Other?", " Why 1? ", held_out=0.0)
    hold_out(posts, 11)
    return posts


def test_a_reward_model_that_knows_the_evaluation_is_refused_with_its_rows(posts: int) -> None:
    with pytest.raises(Refused) as caught:
        launch("rloo", posts, RLOO)
    said = str(caught.value)
    assert "1 training pair of feedback version 1 has a prompt that posts version 1 holds out" in said
    assert "(row 11: “Why 1?”)" in said
    assert "Set reward to train" in said


def test_a_run_from_a_model_that_knows_the_evaluation_is_refused(posts: int) -> None:
    learned = add("more", "Why 1?", held_out=0.0)
    with write_session() as session:
        first = arena.add_run(session, dataset_id=learned).id
    with pytest.raises(Refused, match=f"Run {first}, from which this run starts, has learned from prompts"):
        launch("dpo", posts, {**QUICK, "model_name_or_path": f"run:{first}"})
    unwatched = {"eval_pairs": 0, "eval_prompts": 0, "probe_prompts": 0}
    launch("dpo", posts, {**QUICK, **unwatched, "model_name_or_path": f"run:{first}"})


@pytest.mark.parametrize("prompt", ["WHY  the\nSky?", [{"role": "user", "content": " why The sky? "}]])
def test_case_and_white_space_hide_no_leak(engine: Engine, prompt: Prompt) -> None:
    learned = add("feedback", "Why the sky?", "Why the sea?", held_out=0.0)
    with write_session() as session:
        first = arena.add_run(session, dataset_id=learned).id
    posts = add("posts", "Other?", prompt, held_out=0.0)
    hold_out(posts, 11)
    with pytest.raises(Refused, match=r"\(row 10: “Why the sky\?”\)"):
        launch("dpo", posts, {**QUICK, "model_name_or_path": f"run:{first}"})


def test_what_evaluates_nothing_by_the_reward_is_no_leak(posts: int) -> None:
    assert launch("rloo", posts, {**RLOO, "eval_prompts": 0})
    assert launch("dpo", posts, QUICK)
    assert launch("rloo", posts, {**QUICK, "reward": "train"})
    free = add("free", "Nobody asked this?", held_out=0.0)
    assert launch("rloo", free, RLOO)


def test_a_prompt_on_both_sides_of_a_dataset_is_refused(engine: Engine) -> None:
    twice = add("twice", *["Same?"] * 9, "Other?", held_out=0.0)
    hold_out(twice, 10)
    with pytest.raises(
        Refused, match=r"8 training pairs of twice version 1 have prompts.*rows 11, 12, 13, 14, 15"
    ):
        launch("dpo", twice, QUICK)
    with pytest.raises(Refused, match=r"and 3 more: “Same.”.*Leave these pairs out"):
        launch("dpo", twice, QUICK)
    silent = {**QUICK, "eval_pairs": 0, "eval_prompts": 0, "probe_prompts": 0}
    assert launch("dpo", twice, silent)


def test_the_command_and_the_api_refuse_it_too(
    posts: int, api: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {"method": "rloo", "dataset": "posts", "config": RLOO}
    answer = api.post("runs", json=wanted)
    assert answer.status_code == 409
    assert "row 11" in answer.json()["message"]
    assert hypo(["runs", "launch", "--method", "rloo", "--dataset", "posts", "--set", "reward=run:1"]) == 1
    assert "row 11" in capsys.readouterr().err.replace("\n", " ")


def test_the_page_shows_the_refusal(posts: int) -> None:
    shown = launch_page.launch_runs(None, posts, "rloo", "", *values(reward="run:1"))
    assert "row 11" in shown["outcome"]


def twice(*, copies: int) -> int:
    """A dataset with one prompt on both sides: row 10 is held out, the others are for training."""
    made = add("twice", *["=Same?"] * (copies + 1), "Other?", held_out=0.0)
    hold_out(made, 10)
    return made


def test_all_leaking_pairs_are_listed_and_left_out(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    made = twice(copies=8)
    with pytest.raises(Refused, match=rf"leave-out {made} --leaks.*`hypo datasets leaks {made}` lists all"):
        launch("dpo", made, QUICK)
    assert hypo(["datasets", "leaks", str(made), "--json"]) == 0
    rows = [pair["row"] for pair in json.loads(capsys.readouterr().out)]
    assert rows == list(range(11, 19))
    assert hypo(["datasets", "leaks", str(made), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["row,position,prompt", "11,1,'=Same?"]
    assert hypo(["datasets", "leave-out", str(made), "--leaks", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    assert (new["rows"], new["left_out"]) == (2, 8)
    assert launch("dpo", new["id"], QUICK)
    assert hypo(["datasets", "leaks", str(new["id"])]) == 0
    assert "No training pair leaks" in capsys.readouterr().out
    assert hypo(["datasets", "leave-out", str(new["id"]), "--leaks"]) == 1


def test_pairs_that_leak_into_another_dataset_are_left_out(posts: int) -> None:
    with pytest.raises(Refused, match=rf"`hypo datasets leaks 1 --into {posts}` lists all"):
        launch("rloo", posts, RLOO)
    made = leaving_out.leave_out_leaks(1, posts)
    assert (made.name, made.rows, made.left_out) == ("feedback", 7, 1)
    with read_session() as session:
        (line,) = datasets.page_of_left_out(made.id, session=session)
        assert line.reason == "Its prompt is held out by posts version 1."
        assert find_leak(made.id, posts, session=session) is None


def test_the_api_lists_leaks_and_leaves_them_out(posts: int, api: TestClient) -> None:
    own = twice(copies=3)
    first = api.get(f"datasets/{own}/leaks?limit=2").json()
    rest = api.get(f"datasets/{own}/leaks?limit=2&cursor={first['next']}").json()
    assert [pair["row"] for pair in [*first["items"], *rest["items"]]] == [11, 12, 13]
    assert rest["next"] is None
    assert api.get("datasets/feedback/leaks").json()["items"] == []
    (pair,) = api.get("datasets/feedback/leaks?into=posts").json()["items"]
    assert pair == {"row": 11, "position": 1, "prompt": "Why 1?"}
    assert api.get("datasets/feedback/leaks.csv?into=posts").text.splitlines()[1:] == ["11,1,Why 1?"]
    both = api.post(f"datasets/{own}/leave-out", json={"leaks": True, "rows": [11]})
    assert both.status_code == 422
    made = api.post(f"datasets/{own}/leave-out", json={"leaks": True})
    assert made.json()["left_out"] == 3
    assert api.get("datasets/nowhere/leaks").status_code == 404


def test_the_datasets_page_has_the_leaks(engine: Engine) -> None:
    own = twice(copies=3)
    request: Any = SimpleNamespace(query_params={"id": str(own)}, username="ada")
    shown = leaking.show(request)
    assert "3 training pairs have prompts" in shown["leaks"]
    assert f'href="api/v1/datasets/{own}/leaks.csv"' in shown["leaks"]
    assert shown["leave_leaks"]["visible"]
    done = leaking.leave_out(request)
    assert "twice version 2 has 2 pairs" in done["leaks"]
    other: Any = SimpleNamespace(query_params={"id": str(own + 1)}, username="ada")
    assert leaking.show(other)["leaks"] == ""
    assert "No training pair has a prompt" in leaking.leave_out(other)["leaks"]
