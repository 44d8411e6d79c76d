"""The layouts of an export: their columns, and how votes become their rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa

from app.exports import reading
from app.exports.arena_votes import ARENA_SCHEMA, arena_rows
from app.exports.argilla_votes import ARGILLA_SCHEMA, argilla_rows
from app.exports.counts import Counts
from app.exports.kto_votes import KTO_SCHEMA, kto_rows
from app.exports.merged_votes import MERGED_SCHEMA, merged_rows
from app.exports.options import Options
from app.exports.raw_votes import RAW_SCHEMA, raw_rows
from app.exports.trl_votes import TRL_SCHEMA, trl_rows
from app.store.label_queries import VoteFilter


class LabelFormat(StrEnum):
    """`trl` and `kto` are for training, `arena` and `argilla` for other tools, `raw` has everything."""

    TRL = "trl"
    KTO = "kto"
    ARENA = "arena"
    ARGILLA = "argilla"
    RAW = "raw"


Read = Callable[[VoteFilter | None, str | None], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout: its columns, what is read for it, and its rows.

    Attributes:
        read: votes or groups of votes, for a filter and a reader.
        rows: the rows of what was read; counts them and what is left out.
    """

    schema: pa.Schema
    read: Read
    rows: Callable[[Iterable[Any], Counts, Options], Iterator[dict[str, Any]]]


_MERGED: Final = Layout(MERGED_SCHEMA, reading.verdicts_by_comparison, merged_rows)
_LAYOUTS: Final[dict[LabelFormat, Layout]] = {
    LabelFormat.TRL: Layout(TRL_SCHEMA, reading.verdicts, trl_rows),
    LabelFormat.KTO: Layout(KTO_SCHEMA, reading.nameless_votes, kto_rows),
    LabelFormat.ARENA: Layout(ARENA_SCHEMA, reading.votes, arena_rows),
    LabelFormat.ARGILLA: Layout(ARGILLA_SCHEMA, reading.votes_by_comparison, argilla_rows),
    LabelFormat.RAW: Layout(RAW_SCHEMA, reading.votes, raw_rows),
}


def layout_of(format: LabelFormat, options: Options) -> Layout:
    return _MERGED if format is LabelFormat.TRL and options.merge else _LAYOUTS[format]
