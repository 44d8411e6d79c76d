"""Import of datasets: read and check a file first, then store it in short transactions.

Rows are converted into a temporary file before the database is touched. A slow upload therefore never holds
SQLite's write lock, and a file that fails halfway leaves no changes.
"""

import hashlib
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from app.errors import InvalidInput
from app.held_out_share import MOST_HELD_OUT as MOST_HELD_OUT
from app.held_out_share import one_sided
from app.imports import voted_remarks
from app.imports.mappings import GivenMapping, UnknownFormat, how_to_read, rows_of, what_is_meant
from app.imports.readers import Limits, NumberedRow, open_rows
from app.imports.sources import source_files
from app.imports.spool import Spool, spooled
from app.imports.unpacked import Budget, bad_file
from app.settings import get_settings
from app.store import dataset_writing, voted_prompts
from app.store.dataset_writing import NOT_VOTED
from app.store.db import read_session, write_session
from app.text import clean_text
from hypo_engine.data.formats import (
    ROWS_TO_DETECT,
    Account,
    AnyMapping,
    Format,
    Kept,
    LeftOut,
    Pair,
    RowError,
    account_of,
    checked_pair,
    convert,
    prompt_key,
)
from hypo_engine.data.proposal import column_names

DEFAULT_HELD_OUT = 0.1
MOST_FILES_NAMED = 20
_NAME = re.compile(r"[^\W_][\w.\- ]{0,99}")


@dataclass(frozen=True, slots=True)
class AddedDataset:
    """The result of an import. `left_out` holds the first rows left out, `left_out_count` counts all of them.

    `one_sided` is a sentence if no pair or every pair is held out.
    """

    id: int
    name: str
    version: int
    format: str
    rows: int
    left_out: list[LeftOut]
    left_out_count: int
    account: Account
    one_sided: str | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on how the file was read, and `one_sided` if it is set."""
        missing = [self.one_sided] if self.one_sided else []
        return (*self.account.remarks, *missing)


@dataclass(frozen=True, slots=True)
class FileLook:
    """A preview of a file: its format if known, its columns, and its first rows converted.

    `proposal` is a suggested mapping for an unknown format. `account` covers the first rows. `splits` are the
    splits of a folder or archive, of which one was read.
    """

    format: Format | AnyMapping | None
    columns: list[str]
    proposal: dict[str, Any]
    preview: list[Kept | LeftOut]
    account: Account
    splits: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on how the file was read."""
        return self.account.remarks


def look_into(
    path: Path, *, mapping: GivenMapping | None = None, split: str = "", limits: Limits | None = None
) -> FileLook:
    """Read the first rows of a file, folder or zip archive and store nothing.

    Args:
        mapping: which columns to use; without one the format is detected.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file as a whole is unusable, its rows cannot become pairs, or the mapping does not
            fit it.
    """
    limits = limits or Limits.of(get_settings())
    with source_files(path, split=split, limit=limits.max_bytes) as found:
        remarks = list(found.remarks)
        with closing(_rows_of_files(found.paths, limits, remarks)) as rows:
            head = list(islice(rows, ROWS_TO_DETECT))
    columns, proposal = column_names(rows_of(head)), {}
    try:
        how = how_to_read(head, mapping)
    except UnknownFormat as unknown:
        how, proposal = None, unknown.proposal
    preview = list(convert(head, how)) if how else []
    account = account_of(preview)
    account.remarks = (*remarks, *(what_is_meant(how) if how else ()))
    return FileLook(how, columns, proposal, preview, account, tuple(found.splits))


def add_dataset(
    *,
    path: Path,
    name: str,
    source: str = "",
    mapping: GivenMapping | None = None,
    held_out: float = DEFAULT_HELD_OUT,
    split: str = "",
    limits: Limits | None = None,
) -> AddedDataset:
    """Add a file, folder or zip archive as the next version of a name.

    Args:
        source: description of the file's origin; its name when empty.
        mapping: which columns to use; without one the format is detected.
        held_out: share of the prompts kept for evaluation, 0 to 0.9.
        split: which split of a folder or archive to read; the training split when empty.

    Raises:
        NotFound: there is no such file.
        UnknownFormat: no mapping was given and no format is recognised.
        InvalidInput: an invalid name, share, mapping or file, or no row became a pair. Nothing is stored.
    """
    name, held_out = checked_name(name), checked_held_out(held_out)
    limits = limits or Limits.of(get_settings())
    with source_files(path, split=split, limit=limits.max_bytes) as found:
        return add_files(
            paths=found.paths,
            name=name,
            source=source or path.name,
            mapping=mapping,
            held_out=held_out,
            limits=limits,
            digested=None if path.is_dir() else [path],
            remarks=found.remarks,
        )


def add_files(
    *,
    paths: Sequence[Path],
    name: str,
    source: str,
    mapping: GivenMapping | None = None,
    held_out: float = DEFAULT_HELD_OUT,
    limits: Limits | None = None,
    digested: Sequence[Path] | None = None,
    remarks: Sequence[str] = (),
) -> AddedDataset:
    """Add several files as one dataset, as `add_dataset` does. Rows are numbered across the files.

    Args:
        digested: the files whose SHA-256 is stored; `paths` when None.
        remarks: remarks on the choice of files.
    """
    name, held_out = checked_name(name), checked_held_out(held_out)
    said = list(remarks)
    with closing(_rows_of_files(paths, limits or Limits.of(get_settings()), said)) as rows:
        head = list(islice(rows, ROWS_TO_DETECT))
        how = how_to_read(head, mapping)
        with spooled(convert(chain(head, rows), how)) as spool:
            spool.account.remarks = (*said, *what_is_meant(how))
            return _store(
                spool=spool,
                name=name,
                sha256=_sha256(digested or paths),
                format=how.name,
                source=_storable(source),
                held_out=held_out,
            )


def add_pairs(
    *,
    pairs: Iterable[Pair],
    name: str,
    source: str,
    format: str = "pairs",
    held_out: float = DEFAULT_HELD_OUT,
    voted_on: Mapping[int, int] = NOT_VOTED,
) -> AddedDataset:
    """Add existing pairs, such as votes, as the next version of a name.

    The dataset's sha256 is computed from the pairs as lines of JSON.

    Args:
        voted_on: the comparisons whose votes became pairs, and how many; read once all pairs are.

    Raises:
        InvalidInput: an invalid name or share, or no usable pair.
    """
    name, held_out = checked_name(name), checked_held_out(held_out)
    with spooled(_checked(pairs)) as spool:
        return _store(
            spool=spool,
            name=name,
            sha256=hashlib.file_digest(spool.rewound(), "sha256").hexdigest(),
            format=format,
            source=_storable(source),
            held_out=held_out,
            voted_on=voted_on,
        )


def checked_name(name: str) -> str:
    """Validate a dataset's name and strip white space around it.

    Raises:
        InvalidInput: the name is empty, too long, or could be mistaken for an id or a version.
    """
    name = clean_text(name).strip()
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "A dataset's name has 1 to 100 letters, digits, spaces and . _ - "
            "and begins with a letter or digit.",
            field="name",
        )
    if name.isdigit():
        raise InvalidInput("A name of digits only could be mistaken for an id. Add a letter.", field="name")
    return name


def checked_held_out(share: float) -> float:
    """Validate a share of prompts to hold out.

    Raises:
        InvalidInput: the share is not a number from 0 to 0.9.
    """
    if not 0 <= share <= MOST_HELD_OUT:
        raise InvalidInput(
            f"The held-out share must lie between 0 and {MOST_HELD_OUT} (given: {share}).", field="held_out"
        )
    return float(share)


def _rows_of_files(
    paths: Sequence[Path], limits: Limits, remarks: list[str]
) -> Generator[NumberedRow, None, None]:
    """Yield the rows of all files, numbered across the files. The limits apply to all files together.

    Args:
        remarks: receives the remarks on how each file was read.
    """
    count = last = 0
    places: list[str] = []
    budget = Budget(limits.max_bytes)
    for path in paths:
        with _naming(path, len(paths) > 1), open_rows(path, limits, budget) as rows:
            remarks += [remark for remark in rows.remarks if remark not in remarks]
            offset = last
            for number, row in rows:
                last, count = offset + number, count + 1
                if count > limits.max_rows:
                    raise bad_file(
                        f"There are more than {limits.max_rows} rows. Split them, or raise "
                        "HYPO_MAX_DATASET_ROWS."
                    )
                yield last, row
        if last > offset:
            places.append(f"{path.name} {offset + 1:,} to {last:,}")
    if len(places) > 1:
        named = "; ".join([*places[:MOST_FILES_NAMED], *(["..."] if len(places) > MOST_FILES_NAMED else [])])
        remarks.append(f"Rows are numbered across the files: {named}.")


@contextmanager
def _naming(path: Path, among_others: bool) -> Iterator[None]:
    """Prefix errors with the file's name, if there are several files."""
    try:
        yield
    except InvalidInput as error:
        if among_others and error.field == "file":
            raise bad_file(f"{path.name}: {error}") from error
        raise


def _checked(pairs: Iterable[Pair]) -> Iterator[Kept | LeftOut]:
    for number, pair in enumerate(pairs, start=1):
        try:
            made = checked_pair(pair)
            yield Kept(number, replace(made, weight=pair.weight, margin=pair.margin))
        except RowError as error:
            yield LeftOut(number, str(error))


def _sha256(paths: Sequence[Path]) -> str:
    """The digest of a single file, or of the lines of the digests of several files."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _storable(source: str) -> str:
    return clean_text(source)[:500]


def _store(
    *,
    spool: Spool,
    name: str,
    sha256: str,
    format: str,
    source: str,
    held_out: float,
    voted_on: Mapping[int, int] = NOT_VOTED,
) -> AddedDataset:
    if spool.kept == 0:
        raise bad_file(spool.why_nothing_was_kept())
    voted = _keep_from_evaluation(spool, are_votes=format == "votes")
    if format != "votes":
        spool.account.remarks = (*spool.account.remarks, *voted_remarks.of(spool, voted, held_out))
    dataset = dataset_writing.create(
        write=write_session,
        name=name,
        sha256=sha256,
        format=format,
        source=source,
        held_out=held_out,
        pairs=spool.pairs(),
        left_out=spool.left_out,
        left_out_count=spool.left_out_count,
        account=spool.account,
        voted_on=voted_on,
    )
    with read_session() as session:
        missing = one_sided(dataset, session=session)
    return AddedDataset(
        id=dataset.id,
        name=dataset.name,
        version=dataset.version,
        format=dataset.format,
        rows=dataset.rows,
        left_out=spool.left_out,
        left_out_count=spool.left_out_count,
        account=spool.account,
        one_sided=missing,
    )


def _keep_from_evaluation(spool: Spool, *, are_votes: bool) -> set[str]:
    """Exclude the prompts that were voted on from the evaluations of all present and future datasets.

    Returns:
        The keys of these prompts.
    """
    pairs = (kept.pair for kept in spool.pairs())
    with read_session() as session:
        if are_votes:
            voted = {prompt_key(pair.prompt) for pair in pairs}
        else:
            voted = voted_prompts.voted_on(pairs, session=session)
        held_out = voted_prompts.held_out_pairs_of(voted, session=session) if voted else []
    dataset_writing.keep_from_evaluation(voted, held_out, write=write_session)
    return voted
