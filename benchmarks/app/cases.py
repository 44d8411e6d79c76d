"""The measured cases: page loads, timer refreshes, commands, votes, deletes and scans."""

import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import update

from app import answers, deletion, views
from app.exports import labels as exports
from app.store import (
    answering,
    datasets,
    label_queries,
    metrics,
    recovery,
    runs,
    tallies,
    vote_totals,
    workers,
)
from app.store.answering import ANSWER_LEASES
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus, RunStatus
from app.store.generations import unfinished
from app.store.label_queries import VoteFilter
from app.store.models import Generation
from app.store.run_transitions import RUN_LEASES
from app.ui import home, training
from app.ui.compare import actions as compare_actions
from app.ui.compare import setup
from app.ui.datasets import detail
from app.ui.datasets import page as datasets_page
from app.ui.launch import opening
from app.ui.results import overview
from app.ui.results import page as results_page
from app.ui.run import page as run_page
from app.ui.runs import overlay
from app.ui.runs import page as runs_page
from benchmarks.app import searches
from benchmarks.app.case import ANY, USER, VOTE, Case
from benchmarks.app.fill import Filled


class Asked:
    """The part of a request that page handlers use: the query and the user."""

    def __init__(self, **query: Any) -> None:
        self.query_params = {name: str(value) for name, value in query.items()}
        self.username = USER
        self.headers: dict[str, str] = {}


def cases(filled: Filled, folder: Path) -> Iterator[Case]:
    """All cases except those of the REST API. Deleting cases come last."""
    yield from _pages(filled)
    yield from _run_page(filled)
    yield from _lists(filled)
    yield from searches.cases(filled)
    yield from _votes(filled)
    yield from _keeper()
    yield from _exports(folder)
    yield from _deletes(filled)


def _pages(filled: Filled) -> Iterator[Case]:
    here: Any = Asked(conversation=filled.conversation)
    yield Case("Home: load, and every 2 s", lambda: home.refresh(""))
    yield Case("Datasets: load", lambda: datasets_page.show(_request()))
    yield Case("Datasets: one", lambda: datasets_page.show(_request(id=filled.dataset)))
    yield Case("Datasets: pairs", lambda: detail.show_pairs("", "", 1, _request(id=filled.dataset)))
    yield Case(
        "Datasets: pairs searched",
        lambda: detail.show_pairs("", "first", 1, _request(id=filled.dataset)),
    )
    yield Case("Launch: load", lambda: opening.open_page(None, _request()))
    yield Case("Runs: load", lambda: runs_page.open_page({}, "steps", True, "kl", "run", _request()))
    yield Case("Runs: list, and every 2 s", lambda: runs_page.relist())
    yield Case(
        "Runs: sorted by KL",
        lambda: runs_page.relist("", "", "", "", "", "current", ("kl", "accuracy"), "-kl"),
    )
    yield Case("Runs: queued", lambda: runs_page.relist("", "", "queued"))
    yield Case("Runs: by name", lambda: runs_page.relist("hypo 12"))
    overlaid = ",".join(str(n) for n in range(1, 9))
    yield Case(
        "Runs: 8 overlaid", lambda: overlay.draw("steps", True, "kl", "run", _request(compare=overlaid))
    )
    yield Case("Compare: load", lambda: [setup.offer({}, _request()), compare_actions.open_page(_request())])
    yield Case("Compare: conversation", lambda: compare_actions.open_page(here))
    yield Case(
        "Compare: every 0.3 s of an answer", lambda: compare_actions.refresh(filled.conversation, {}, here)
    )
    yield Case("Results: load", lambda: results_page.open_page(_request()))
    yield Case("Results: votes of a person", lambda: overview.list_votes("voter-7", "", "", 0, _request()))
    yield Case("Results: votes of a run", lambda: overview.list_votes("", "", "2", 0, _request()))
    yield Case("Results: all bad", lambda: overview.list_votes("", "all_bad", "", 0, _request()))


def _run_page(filled: Filled) -> Iterator[Case]:
    for name, run_id in (
        ("usual", filled.usual_run), ("longest", filled.longest_run), ("running", filled.running_run),
    ):  # fmt: skip
        yield Case(
            f"Run, {name}: load",
            lambda run_id=run_id: run_page.refresh((), "steps", 0, -1, 1, _request(id=run_id)),  # type: ignore[misc]
        )
    yield Case("Run, longest: settings", lambda: run_page.settings(_request(id=filled.longest_run)))
    yield Case("Run, longest: samples, page 500", lambda: run_page.turn(500, _request(id=filled.longest_run)))


def _lists(filled: Filled) -> Iterator[Case]:
    read = _reading
    yield Case("hypo runs list, 1000", read(lambda s: _run_views(runs.find(session=s, limit=1000), s)))
    yield Case(
        "hypo runs show", read(lambda s: views.run_view(runs.get(filled.longest_run, session=s), session=s))
    )
    yield Case("runs, failed", read(lambda s: runs.find(session=s, status=RunStatus.FAILED)))
    yield Case("runs of a dataset", read(lambda s: runs.find(session=s, dataset_name="posts-7", limit=50)))
    yield Case("hypo datasets list", read(lambda s: datasets.find(session=s, limit=1000)))
    yield Case(
        "votes, newest 1000",
        read(lambda s: [views.vote_view(v) for v in label_queries.votes(session=s, limit=1000)]),
    )
    yield Case("votes of a run", read(lambda s: label_queries.votes(session=s, only=VoteFilter(run_id=2))))
    yield Case(
        "points of the longest run", read(lambda s: training.load_points([filled.longest_run], session=s))
    )
    yield Case(
        "revision of the longest run", read(lambda s: metrics.revision([filled.longest_run], session=s))
    )
    yield Case("totals of votes", read(lambda s: vote_totals.totals(session=s)))
    yield Case("agreement of voters", read(lambda s: vote_totals.agreement(session=s)))
    yield Case("records of models", read(lambda s: vote_totals.pairs(session=s)))


def _votes(filled: Filled) -> Iterator[Case]:
    comparisons = iter(filled.for_votes)
    chosen = random.Random(1)

    def vote() -> None:
        answers.vote(next(comparisons), chosen.choice(("A", "B", "tie")), user=USER)

    yield Case("vote", vote, VOTE)
    yield Case("answers of a comparison", lambda: answers.look(filled.conversation), VOTE)


def _keeper() -> Iterator[Case]:
    yield Case("keeper: leases of runs", _writing(lambda s: RUN_LEASES.all_held(session=s)), VOTE)
    yield Case("keeper: leases of answers", _writing(lambda s: ANSWER_LEASES.all_held(session=s)), VOTE)
    yield Case(
        "keeper: lost runs", _writing(lambda s: recovery.reap(["lease"], session=s, max_attempts=3)), VOTE
    )
    yield Case("keeper: lost answers", _writing(lambda s: answering.reap(["lease"], session=s)), VOTE)
    yield Case(
        "keeper: runs to send again",
        _writing(lambda s: RUN_LEASES.take_undelivered(session=s, resend_seconds=60)),
        VOTE,
    )
    yield Case(
        "keeper: answers to send again",
        _writing(lambda s: ANSWER_LEASES.take_undelivered(session=s, resend_seconds=60)),
        VOTE,
    )
    yield Case("keeper: silent workers", _writing(lambda s: workers.forget_silent(session=s)), VOTE)
    yield Case("keeper: votes to count", _writing(lambda s: tallies.count_waiting(session=s)), VOTE)


def _exports(folder: Path) -> Iterator[Case]:
    yield Case("export trl, whole file", lambda: exports.export_labels("trl", "jsonl", folder=folder), ANY)
    yield Case("export raw, whole file", lambda: exports.export_labels("raw", "jsonl", folder=folder), ANY)


def _deletes(filled: Filled) -> Iterator[Case]:
    ids = count(max(5, filled.usual_run - 60))

    def delete_usual() -> None:
        run_id = next(ids)
        while not _is_over(run_id):
            run_id = next(ids)
        deletion.delete_run(run_id)

    yield Case("delete a usual run", delete_usual, before=_stop_answers)
    long = iter(range(2, 40, 2))
    yield Case("delete a long run", lambda: deletion.delete_run(next(long)), ANY)


def _stop_answers() -> None:
    """Stop the unfinished answers of the cases above, since an answering run cannot be deleted."""
    with write_session() as session:
        session.execute(update(Generation).where(unfinished()).values(status=GenerationStatus.STOPPED))


def _is_over(run_id: int) -> bool:
    with read_session() as session:
        return runs.get(run_id, session=session).status.is_over


def _run_views(found: Any, session: Any) -> Any:
    return views.run_views(found, session=session)


def _request(**query: Any) -> Any:
    return Asked(**query)


def _reading(call: Callable[[Any], Any]) -> Callable[[], Any]:
    def called() -> Any:
        with read_session() as session:
            return call(session)

    return called


def _writing(call: Callable[[Any], Any]) -> Callable[[], Any]:
    def called() -> Any:
        with write_session() as session:
            return call(session)

    return called
