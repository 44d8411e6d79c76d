"""Rename a run wherever its name is stored: in its row, its comparisons, and the ranking.

Comparisons and answerers copy the name of a run. Both are renamed with the run: otherwise its later answers
would be those of another model in the ranking.
"""

from typing import Any

from sqlalchemy import ColumnElement, func, literal, or_, select, update
from sqlalchemy.orm import Session

from app.store import tallies
from app.store.models import Answerer, AspectPair, Contender, Label, LabelPair, Run


def rename(run: Run, name: str, *, session: Session) -> None:
    """Give a run another name. The caller has locked the run's row.

    Votes on its answers are counted again in the background, because the order in which a record names two
    models depends on their names.
    """
    if name == run.name:
        return
    of_run = (Contender.run_id == run.id, _named(Contender.name, run.name))
    session.execute(update(Contender).where(*of_run).values(name=_renamed(Contender.name, run.name, name)))
    answerers = session.scalars(
        select(Answerer).where(Answerer.run_id == run.id, _named(Answerer.name, run.name))
    ).all()
    for answerer in answerers:
        answerer.name = name + answerer.name[len(run.name) :]
        answerer.sha256 = tallies.digest_of(answerer)
    run.name = name
    session.flush()
    ids = [answerer.id for answerer in answerers]
    for pairs in (LabelPair, AspectPair) if ids else ():
        met = select(pairs.label_id).where(or_(pairs.first_id.in_(ids), pairs.second_id.in_(ids)))
        session.execute(
            update(Label)
            .where(Label.id.in_(met))
            .values(counted=0)
            .execution_options(synchronize_session=False)
        )


def _named(column: Any, name: str) -> ColumnElement[bool]:
    """Whether a stored name is the run's, alone or before a step: `mine`, `mine @ 20`."""
    return or_(column == name, column.startswith(f"{name} @ ", autoescape=True))


def _renamed(column: Any, old: str, new: str) -> ColumnElement[str]:
    return literal(new).concat(func.substr(column, len(old) + 1))
