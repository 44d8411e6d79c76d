"""Metrics of runs as CSV: exact values, one row for each run, metric and step."""

from collections.abc import Iterator, Sequence
from typing import Final

from app.csv_text import escaped, lines
from app.errors import InvalidInput
from app.store import metrics, runs
from app.store.db import read_session

COLUMNS: Final = ("run", "name", "method", "metric", "step", "value")
MAX_RUNS: Final = 32
ROWS: Final = 2000
"""Rows of one piece."""


def pieces(run_ids: Sequence[int], names: Sequence[str]) -> Iterator[bytes]:
    """The file in pieces; without names it has all metrics.

    Raises:
        InvalidInput: for too many runs.
        NotFound: for a run that does not exist.
    """
    if len(run_ids) > MAX_RUNS:
        raise InvalidInput(f"At most {MAX_RUNS} runs fit in one file; choose fewer.", field="run")
    with read_session() as session:
        found = [runs.get(run_id, session=session) for run_id in dict.fromkeys(run_ids)]
        yield lines([COLUMNS])
        for run in found:
            wanted = names or metrics.names_of([run.id], session=session)
            for name in wanted:
                points = metrics.series([run.id], [name], session=session).get((run.id, name), [])
                head = (run.id, escaped(run.name), run.method, escaped(name))
                for start in range(0, len(points), ROWS):
                    part = points[start : start + ROWS]
                    yield lines([(*head, step, repr(value)) for step, value in part])


def file_name(run_ids: Sequence[int], names: Sequence[str]) -> str:
    """A name that says the runs and the metric, of letters that every file system takes."""
    metric = (
        "".join(one if one.isascii() and one.isalnum() else "-" for one in names[0]) if names else "metrics"
    )
    return f"run-{'-'.join(map(str, run_ids[:8]))}-{metric[:60]}.csv"
