"""The columns of a list of runs: what each shows, and how a list is sorted by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import InvalidInput
from app.i18n import N_
from app.store.run_order import COLUMNS as ROW_COLUMNS
from app.store.run_order import Order
from hypo_engine.measures import ACCURACY, KL, LENGTH, LOSS, MARGIN, SCORE, Measure


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key in addresses and options, its title, and the metric that it shows, if any."""

    key: str
    title: str
    measure: Measure | None = None
    descends: bool = False
    """Whether a first click sorts it from the largest value down."""

    @property
    def sortable(self) -> bool:
        return self.measure is not None or self.key in ROW_COLUMNS


COLUMNS: Final = (
    Column("name", N_("Run")),
    Column("method", N_("Method")),
    Column("state", N_("State")),
    Column("progress", N_("Progress")),
    Column("accuracy", N_("Held-out accuracy"), ACCURACY, descends=True),
    Column("margin", N_("Held-out margin"), MARGIN, descends=True),
    Column("loss", N_("Held-out loss"), LOSS),
    Column("kl", N_("KL to the reference"), KL),
    Column("score", N_("Score of samples"), SCORE, descends=True),
    Column("length", N_("Length of samples"), LENGTH),
    Column("steps", N_("Steps"), descends=True),
    Column("seconds", N_("Time"), descends=True),
    Column("dataset", N_("Dataset")),
    Column("model", N_("Base model")),
    Column("seed", N_("Seed")),
    Column("tags", N_("Tags")),
    Column("launched", N_("Launched"), descends=True),
)
BY_KEY: Final = {column.key: column for column in COLUMNS}
SHOWN: Final = ("method", "state", "progress", "accuracy", "kl", "dataset", "tags", "launched")
"""The columns of a list whose reader chose none; the run's name is always the first."""
CHOICES: Final = tuple(column for column in COLUMNS if column.key != "name")
SORTABLE: Final = tuple(column.key for column in COLUMNS if column.sortable)
NEWEST: Final = "-launched"


def chosen(keys: Sequence[str]) -> list[Column]:
    """The columns of these keys in the table's order; unknown keys are passed over."""
    return [BY_KEY["name"], *(column for column in CHOICES if column.key in keys)]


def is_order(text: str) -> bool:
    """Whether a text names a sortable column, with or without a minus."""
    return text.removeprefix("-") in SORTABLE


def order_of(text: str) -> Order:
    """How to sort: `kl` from the smallest value up, `-kl` from the largest down.

    Raises:
        InvalidInput: no such column can be sorted.
    """
    key = text.removeprefix("-")
    if not is_order(text):
        raise InvalidInput(
            f"Runs cannot be sorted by {key!r}; choose one of {', '.join(SORTABLE)}, with a minus before it "
            "for the largest first.",
            field="sort",
        )
    measure, descending = BY_KEY[key].measure, text.startswith("-")
    if measure is not None:
        return Order(key, measure.metric, descending)
    return Order(key, None, descending)
