"""A new version of a dataset without some of its pairs. The old version stays, so nothing is lost."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app import leaks
from app.errors import InvalidInput, Refused
from app.imports.spool import KEPT_LEFT_OUT
from app.leaks import find_leak
from app.store import dataset_writing, datasets, pair_scorings, scored_pairs
from app.store.dataset_writing import Placed
from app.store.db import read_session, write_session
from app.store.enums import Split
from app.store.models import Dataset, DatasetPair, PairScoring
from app.store.scored_pairs import STRONGLY, Filter, Show
from app.text import clean_text
from hypo_engine.data.formats import Account, Kept, LeftOut

ROWS: Final = 500
MAX_REASON_CHARS: Final = 200
MAX_POSITIONS: Final = 100_000
DEFAULT_REASON: Final = "Left out by hand."


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What `leave_out` made."""

    id: int
    name: str
    version: int
    rows: int
    left_out: int


def leave_out(dataset_id: int, positions: Collection[int], *, reason: str = "") -> NewVersion:
    """Make the next version of a dataset without the pairs at some positions.

    The other pairs keep their rows, their order and their side of the split.

    Args:
        reason: why, for the account of the new version.

    Raises:
        NotFound: when the dataset does not exist.
        InvalidInput: for no position, a position beyond the dataset, or a reason that is too long.
        Refused: when the dataset was deleted, or when no pair or no training pair would remain.
    """
    reason = clean_text(reason).strip() or DEFAULT_REASON
    if len(reason) > MAX_REASON_CHARS:
        raise InvalidInput(f"reason: write at most {MAX_REASON_CHARS} characters.", field="reason")
    gone = frozenset(positions)
    with read_session() as session:
        old = datasets.get(dataset_id, session=session)
    _check(old, gone)
    account = _account(old, len(gone), reason)
    left_out, digest, train = _survey(old, gone, reason, account)
    if not train:
        raise Refused(
            f"No training pair would remain of {old.name} version {old.version}; leave out fewer pairs."
        )
    made = dataset_writing.create(
        write=write_session,
        name=old.name,
        sha256=digest,
        format=old.format,
        source=_source(old, len(gone)),
        held_out=old.held_out,
        pairs=_remaining(old.id, gone),
        left_out=left_out,
        left_out_count=len(gone),
        account=account,
        parent_id=old.id,
    )
    return NewVersion(made.id, made.name, made.version, made.rows, len(gone))


def leave_out_filtered(dataset_id: int, wanted: Filter, *, expected: int | None = None) -> NewVersion:
    """Make a new version without all pairs that a filter selects.

    Args:
        expected: the number of pairs that the person was shown; another number is refused.

    Raises:
        InvalidInput: when the filter selects no pair.
        NotFound, Refused: as `leave_out`.
        Refused: when the filter selects another number of pairs than expected.
    """
    with read_session() as session:
        found = scored_pairs.positions(dataset_id, wanted, session=session)
        scorings = [pair_scorings.get(one, session=session) for one in wanted.scorings]
    if not found:
        raise InvalidInput("No pair matches; choose another order, side or search.", field="sort")
    if expected is not None and expected != len(found):
        raise Refused(f"By now {len(found):,} pairs match instead of {expected:,}; look again, then repeat.")
    return leave_out(dataset_id, found, reason=why(wanted, scorings))


def leave_out_leaks(dataset_id: int, evaluated_on: int | None = None) -> NewVersion:
    """Make a new version without the training pairs whose prompts an evaluation uses.

    Args:
        evaluated_on: the dataset that holds the prompts out; by default the same.

    Raises:
        InvalidInput: when there is no such pair.
        NotFound, Refused: as `leave_out`.
    """
    into = dataset_id if evaluated_on is None else evaluated_on
    with read_session() as session:
        leak = find_leak(dataset_id, into, session=session)
        name = leaks.name_of(datasets.get(into, session=session))
    if leak is None:
        raise InvalidInput(f"No training pair has a prompt that {name} holds out.", field="leaks")
    reason = "Its prompt is held out too." if into == dataset_id else f"Its prompt is held out by {name}."
    return leave_out(dataset_id, [pair.position for pair in leak.pairs], reason=reason)


def positions_of_rows(dataset_id: int, rows: Sequence[int]) -> list[int]:
    """The positions of the pairs that source rows became.

    Raises:
        InvalidInput: a row became no pair of this dataset; it is named.
    """
    with read_session() as session:
        datasets.get(dataset_id, session=session)
        found = scored_pairs.positions_of_rows(dataset_id, rows, session=session)
    missing = [row for row, places in found.items() if not places]
    if missing:
        raise InvalidInput(f"rows: row {missing[0]} is no pair of dataset {dataset_id}.", field="rows")
    return [place for places in found.values() for place in places]


def why(wanted: Filter, scorings: Sequence[PairScoring]) -> str:
    """The reason of pairs that a filter selected, in words."""
    names = " and ".join(f"{one.run_name[:40]} (step {one.step})" for one in scorings)
    under = names if wanted.show is Show.MISLABELLED else names.split(" and ")[0]
    if wanted.split:
        under = {
            Split.TRAIN: f"{under}, training side",
            Split.HELD_OUT: f"{under}, held out",
            Split.VOTED: f"{under}, voted on",
        }[Split(wanted.split)]
    if wanted.search:
        under = f"{under}, contains {wanted.search[:40]!r}"
    said = {
        Show.ALL: f"Scored under {under}.",
        Show.WRONG: f"Margin below 0 under {under}.",
        Show.SURE: f"Margin above 0 under {under}.",
        Show.NEAR: f"Scored under {under}.",
        Show.MISLABELLED: f"Margin below 0 under both {under}."
        if len(scorings) > 1
        else f"Training pair with a margin below -{STRONGLY:g} under {under}.",
        Show.UNSCORED: f"Not scored under {under}.",
    }[wanted.show]
    return said[:MAX_REASON_CHARS]


def _check(old: Dataset, gone: Collection[int]) -> None:
    if old.deleted_at is not None:
        raise Refused(f"{old.name} version {old.version} was deleted; use another version.")
    if not gone:
        raise InvalidInput("rows: choose at least one pair to leave out.", field="rows")
    if min(gone) < 0 or max(gone) >= old.rows:
        raise InvalidInput(f"positions: a pair has a position from 0 to {old.rows - 1}.", field="positions")
    if len(gone) == old.rows:
        raise Refused(f"No pair would remain of {old.name} version {old.version}; leave out fewer pairs.")


def _survey(
    old: Dataset, gone: Collection[int], reason: str, account: Account
) -> tuple[list[LeftOut], str, int]:
    """The rows left out, as far as they are kept; a digest of the others; how many of these train.

    Args:
        account: counts the weights and margins of the others.
    """
    left_out: list[LeftOut] = []
    digest, train = hashlib.sha256(), 0
    for pair in _pairs(old.id):
        if pair.position in gone:
            if len(left_out) < KEPT_LEFT_OUT:
                left_out.append(LeftOut(pair.row, reason))
            continue
        train += pair.split is Split.TRAIN
        found = datasets.pair_of(pair)
        account.weigh(found)
        line = json.dumps([pair.row, found.prompt, found.chosen, found.rejected, *found.extras])
        digest.update(line.encode() + b"\n")
    return left_out, digest.hexdigest(), train


def _remaining(dataset_id: int, gone: Collection[int]) -> Iterator[Placed]:
    for pair in _pairs(dataset_id):
        if pair.position not in gone:
            yield Placed(Kept(pair.row, datasets.pair_of(pair)), pair.split)


def _pairs(dataset_id: int) -> Iterator[DatasetPair]:
    """All pairs in source order, a transaction for each batch, since writes go on in between."""
    place = 0
    while True:
        with read_session() as session:
            found = datasets.page_of_pairs(dataset_id, session=session, limit=ROWS, from_position=place)
        if not found:
            return
        yield from found
        place = found[-1].position + 1


def _source(old: Dataset, number: int) -> str:
    pairs = "1 pair" if number == 1 else f"{number:,} pairs"
    return f"{old.name} version {old.version} without {pairs}"


def _account(old: Dataset, number: int, reason: str) -> Account:
    account = Account.of(old.account)
    lineage = (
        f"Made from {_source(old, number)}, which is from {old.source}. Row numbers are those of that source."
    )
    made = Account(remarks=(lineage, *account.remarks))
    made.left_out[reason] = number
    return made
