"""Tags of runs: words by which people group them."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.store.models import Run, RunTag


def of_runs(run_ids: Collection[int], *, session: Session) -> dict[int, list[str]]:
    """The tags of each run, sorted; a run without tags has an empty list."""
    found: dict[int, list[str]] = {run_id: [] for run_id in run_ids}
    query = select(RunTag).where(RunTag.run_id.in_(sorted(found))).order_by(RunTag.run_id, RunTag.tag)
    for row in session.scalars(query):
        found[row.run_id].append(row.tag)
    return found


def replace(run_id: int, tags: Collection[str], *, session: Session) -> None:
    """Give a run exactly these tags. The caller has locked the run's row."""
    known = set(of_runs([run_id], session=session)[run_id])
    gone = known - set(tags)
    if gone:
        session.execute(delete(RunTag).where(RunTag.run_id == run_id, RunTag.tag.in_(sorted(gone))))
    session.add_all(RunTag(run_id=run_id, tag=tag) for tag in sorted(set(tags) - known))
    session.flush()


def known(*, session: Session, limit: int = 200) -> Sequence[str]:
    """The tags that runs have, the most frequent first."""
    runs = func.count().label("runs")
    query = (
        select(RunTag.tag, runs)
        .join(Run, RunTag.run_id == Run.id)
        .where(Run.deleted_at.is_(None))
        .group_by(RunTag.tag)
        .order_by(runs.desc(), RunTag.tag)
        .limit(limit)
    )
    return [tag for tag, _ in session.execute(query)]
