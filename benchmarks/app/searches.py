"""Cases of the search of generations: first pages, words, filters, orders, and what a stored sample costs."""

from collections.abc import Iterator
from typing import Any

from app.store import generation_search, generations
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind
from app.store.generation_filter import GenerationFilter, GenerationSort, Place
from app.store.generations import TrainingSample
from app.ui.generations import listing
from app.ui.generations.address import SORTS, Asked
from benchmarks.app.case import USER, Case
from benchmarks.app.fill import Filled

SAMPLES = 64
"""Samples of a training step."""


def cases(filled: Filled) -> Iterator[Case]:
    """All cases. "could" is in many texts, "item 4711" in a few."""
    run, long = str(filled.usual_run - 1), str(filled.longest_run)
    for _, sort in SORTS:
        yield _search(f"all, {sort}", sort=sort)
    for sort in ("newest", "log_ratio", "tokens"):
        yield _search(f"a common word, {sort}", text="could", sort=sort)
        yield _search(f"a rare phrase, {sort}", text='"item 4711"', sort=sort)
        yield _search(f"longest run, {sort}", run=long, sort=sort)
        yield _search(f"usual run, common word, {sort}", run=run, text="could", sort=sort)
    yield _search("no hit", text="zyzzyva")
    yield _search("words and a word less", text="could -zyzzyva")
    yield _search("a common prompt", prompt="could")
    yield _search("probes", kind="probe")
    yield _search("own chats", kind="chat")
    yield _search("campaigns", kind="campaign")
    yield _search("steps 3 to 4", steps="3-4")
    yield Case("generations: page after half of them, by tokens", lambda: _deep(GenerationSort.TOKENS))
    yield Case(f"generations: {SAMPLES} samples stored", lambda: _store(filled.longest_run))


def _search(name: str, **asked: Any) -> Case:
    def call() -> None:
        with read_session() as session:
            listing.listed(Asked(**asked), USER, session=session)

    return Case(f"generations: {name}", call)


def _deep(sort: GenerationSort) -> None:
    with read_session() as session:
        generation_search.find(
            GenerationFilter(), session=session, viewer=USER, sort=sort, after=Place(60.0, 10**6)
        )


def _store(run_id: int) -> None:
    made = [
        TrainingSample(
            GenerationKind.ONLINE, 1, "Which?", f"Some words of sample {n} " * 12, 1, 60, True, -9.0, -8.0
        )
        for n in range(SAMPLES)
    ]
    with write_session() as session:
        generations.record_samples(run_id, made, session=session)
