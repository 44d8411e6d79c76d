"""Judges of a run's evaluations: every sample against the reference's, and win rates among the metrics."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app import judges, run_judges
from app.endpoints import client
from app.errors import InvalidInput, NotFound, Refused
from app.settings import Settings, get_settings
from app.store import generations, metrics, runs
from app.store import run_judges as stored
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, VerdictStatus
from app.store.generations import TrainingSample
from app.store.models import JudgeVerdict
from tests.endpoint_server import EndpointServer, Reaction, serving, write_config
from tests.worker.conftest import Launcher
from tests.worker.test_judging import longest
from worker.judging import judge_next
from worker.scoring import score_next
from worker.training import train_next

WORKER = "here:1:generate:aaaa"
BASE = ["one", "one two", "one two three", "same"]


@pytest.fixture
def run(launch_tiny: Launcher) -> int:
    """A queued run; its samples are written by `sample`."""
    return launch_tiny()[0]


@pytest.fixture
def server(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointServer]:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr("worker.side_by_side.WISHES_SECONDS", 0.02)
    with serving() as found:
        monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", found.entry()))
        get_settings.cache_clear()
        found.react = longest
        yield found


def sample(run_id: int, step: int, texts: list[str]) -> None:
    """Store an evaluation as the worker's reporter does."""
    rows = [
        TrainingSample(GenerationKind.EVAL, step, f"{at}?", text, at, len(text), True, -1.0, -1.0)
        for at, text in enumerate(texts)
    ]
    with write_session() as session:
        generations.forget_samples(run_id, session=session, kind=GenerationKind.EVAL, step=step)
        generations.record_samples(run_id, rows, session=session)
        stored.queue_step(run_id, step, session=session)


def score_all() -> None:
    while score_next(worker=WORKER):
        continue


def rates(run_id: int, name: str) -> dict[str, list[tuple[int, float]]]:
    whole = f"eval_win_rate/{name}"
    names = [whole, f"{whole}_stderr", f"{whole}_num"]
    with read_session() as session:
        found = metrics.series([run_id], names, session=session)
    return {key.removeprefix(whole): points for (_, key), points in found.items()}


def verdicts() -> list[JudgeVerdict]:
    with read_session() as session:
        return list(session.scalars(select(JudgeVerdict).order_by(JudgeVerdict.id)))


def test_evaluations_before_and_after_the_start_are_judged(run: int) -> None:
    sample(run, 0, BASE)
    sample(run, 2, ["one two", "one", "three two one", "same"])
    judge = run_judges.start(run, scorer="length")
    assert judges.report(judge).waiting == 3, "equal texts are not judged"
    score_all()
    # one win, one loss, a tie of scores, and equal texts
    assert rates(run, "length") == {
        "": [(2, 0.5)],
        "_num": [(2, 4.0)],
        "_stderr": [(2, pytest.approx((0.5 / 3) ** 0.5 / 2))],
    }
    sample(run, 4, [f"{text} more" for text in BASE])
    assert judges.report(judge).waiting == 4
    score_all()
    assert rates(run, "length")[""] == [(2, 0.5), (4, 1.0)]


def test_a_repeated_step_is_judged_again(run: int) -> None:
    sample(run, 0, BASE)
    run_judges.start(run, scorer="length")
    sample(run, 2, ["a b c d e"] * 4)
    score_all()
    sample(run, 2, ["", "", "", "same"])
    assert len(verdicts()) == 3, "the verdicts go with the samples"
    score_all()
    assert rates(run, "length")[""] == [(2, 0.125)]


def test_equal_samples_are_all_ties(run: int) -> None:
    sample(run, 0, BASE)
    sample(run, 2, BASE)
    judge = run_judges.start(run, scorer="length")
    assert judges.report(judge).verdicts == 0
    assert rates(run, "length") == {"": [(2, 0.5)], "_num": [(2, 4.0)], "_stderr": [(2, 0.0)]}


def test_an_endpoint_is_asked_in_both_orders(run: int, server: EndpointServer) -> None:
    sample(run, 0, BASE)
    judge = run_judges.start(run, "GPT", seed=5)
    sample(run, 2, [f"{text} more" for text in BASE[:3]] + [""])
    judges.stop(judge)
    assert not judge_next(worker=WORKER)
    assert rates(run, "GPT") == {}, "a stopped step has no win rate"
    judges.resume(judge)
    while judge_next(worker=WORKER):
        continue
    assert len(server.requests) == 8
    report = judges.report(judge)
    assert (report.counts[VerdictStatus.JUDGED], report.flips.count, report.cost.replies) == (4, 0, 8)
    assert rates(run, "GPT")[""] == [(2, 0.75)]
    (step, first), *_ = run_judges.page_of_verdicts(judge, limit=5)
    assert (step, first.question, first.forward) == (2, "0?", "It is longer.\nVerdict: A")
    run_judges.delete(judge)
    assert rates(run, "GPT") == {}
    assert verdicts() == []
    with pytest.raises(NotFound):
        judges.report(judge)


def test_verdicts_that_failed_are_left_out_and_counted(run: int, server: EndpointServer) -> None:
    server.react = lambda body: Reaction("bad", 400) if "3?" in str(body) else longest(body)
    sample(run, 0, BASE)
    judge = run_judges.start(run, "GPT")
    sample(run, 2, [f"{text} more" for text in BASE])
    while judge_next(worker=WORKER):
        continue
    assert judges.report(judge).counts[VerdictStatus.FAILED] == 1
    assert rates(run, "GPT")["_num"] == [(2, 3.0)]


def test_a_run_is_judged_while_it_trains(launch_tiny: Launcher) -> None:
    first, second = launch_tiny("dpo,sft", judge="length")
    while train_next(worker="here:1:train:aaaa"):
        score_all()
    for run_id in (first, second):
        (point,) = rates(run_id, "length")[""]
        assert point[0] == 2
        assert 0 <= point[1] <= 1
        assert rates(run_id, "length")["_num"] == [(2, 2.0)]


def test_what_cannot_be_judged_is_told(launch_tiny: Launcher, home: Settings) -> None:
    (run,) = launch_tiny()
    judge = run_judges.start(run, scorer="length:2")
    with pytest.raises(Refused, match=f"Judge {judge} of run {run} has the name length:2 already"):
        run_judges.start(run, scorer="length:2")
    with pytest.raises(Refused, match="its win rates are on the run's charts"):
        judges.board(judge)
    with pytest.raises(NotFound, match="There is no run 99"):
        run_judges.start(99, scorer="length")
    (reward,) = launch_tiny("reward")
    with pytest.raises(Refused, match="trains a reward model, which writes no answers"):
        run_judges.start(reward, scorer="length")
    (silent,) = launch_tiny(eval_prompts=0)
    with pytest.raises(Refused, match="samples no held-out prompts"):
        run_judges.start(silent, scorer="length")
    with read_session() as session:
        before = len(runs.find(session=session, limit=50))
    with pytest.raises(InvalidInput, match="judge: There is no endpoint X") as caught:
        launch_tiny(judge="endpoint:X")
    assert caught.value.field == "judge"
    with pytest.raises(Refused, match="samples no held-out prompts"):
        launch_tiny(eval_prompts=0, judge="length")
    with read_session() as session:
        assert len(runs.find(session=session, limit=50)) == before
