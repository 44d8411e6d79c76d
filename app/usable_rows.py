"""Which methods learn from a dataset whose rows may have one answer."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import datasets
from hypo_engine.config import Method


def learns_from(method: Method, dataset_id: int, *, session: Session) -> bool:
    """Whether a method learns from any training row."""
    kinds = [(True, True), (True, False), (False, True)]
    used = [kind for kind in kinds if method.uses(*kind)]
    return datasets.has_training_rows(used, dataset_id, session=session)


def refuse_unread_rows(methods: Sequence[Method], dataset_id: int, *, session: Session) -> None:
    """Refuse a dataset of which a method uses no training row.

    Raises:
        Refused: names the method, and those that learn from single answers.
    """
    for method in methods:
        if not learns_from(method, dataset_id, session=session):
            dataset = datasets.get(dataset_id, session=session)
            raise Refused(
                f"{dataset.name} version {dataset.version} has one answer a row, from which {method.label} "
                "learns nothing; train KTO on it, or SFT if it has good answers."
            )
