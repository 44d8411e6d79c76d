"""Detection of a JSON text's layout from the structure of its first value, whatever its size.

Only the first value is surveyed: the first line of a file of lines, the whole of a file with one object. The
rows are read in a second pass.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from app.imports.json_scan import (
    CLOSING,
    LONGEST_NAME,
    OPENING,
    Marks,
    NotClosed,
    NotJson,
    Readable,
    marks,
    name_of,
    skip,
)
from app.imports.unpacked import bad_file

LIST_NAMES = ("data", "rows", "train", "examples", "items", "pairs")
LEVELS = 4
MOST_COLUMNS = 1000
SURVEYED_ELEMENTS = 20
_OF_A_MESSAGE = {"role", "content", "from", "value"}
_OF_A_PAIR = {"chosen", "rejected"}
_OF_A_ROW = _OF_A_PAIR | {"prompt", "question", "instruction", "summaries", "messages", "conversations"}


class Layout(Enum):
    """How the rows are arranged."""

    LINES = "a value a line"
    LIST = "a list of rows, which may stand in an object"
    SEQUENCE = "values one after another"
    COLUMNS = "an object of columns, each a list or an object of cells"
    INDEX = "an object of rows, each under its label"
    SPLIT = "a list of column names beside a list of lists of cells"


@dataclass(frozen=True, slots=True)
class Shape:
    """A layout, the path of names to the rows, and the names of other row lists, which are not read."""

    layout: Layout
    path: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(slots=True)
class _Value:
    """A surveyed value: the number of its elements, and the first of them."""

    kind: bytes
    count: int = 0
    names: list[str] = field(default_factory=list)
    first: list["_Value"] = field(default_factory=list)

    def add(self, name: str, value: "_Value") -> None:
        self.count += 1
        if not self.full:
            self.names.append(name)
            self.first.append(value)

    @property
    def full(self) -> bool:
        return len(self.first) >= (SURVEYED_ELEMENTS if self.kind == b"[" else MOST_COLUMNS)

    @property
    def members(self) -> dict[str, "_Value"]:
        return dict(zip(self.names, self.first, strict=True))

    @property
    def is_message(self) -> bool:
        return self.kind == b"{" and len(_OF_A_MESSAGE & set(self.names)) == 2

    @property
    def holds_rows(self) -> bool:
        """Whether the value is a list of objects other than messages."""
        return self.kind == b"[" and any(value.kind == b"{" and not value.is_message for value in self.first)

    def holds_only(self, kind: bytes) -> bool:
        return self.count > 0 and all(value.kind == kind for value in self.first)


class _Newlines:
    """Passes marks on and records whether there was a line feed between them."""

    def __init__(self, within: Marks) -> None:
        self._within = within
        self.seen = False

    def __iter__(self) -> "_Newlines":
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        span, mark = next(self._within)
        self.seen = self.seen or b"\n" in span
        return span, mark


def shape_of(stream: Readable, *, named_lines: bool) -> Shape:
    """Survey a text that begins with a bracket.

    Args:
        named_lines: whether the file's name indicates lines of JSON.

    Raises:
        InvalidInput: the text is truncated, or is one object without rows.
    """
    within = _Newlines(marks(stream, strict=True))
    opening = next((mark for _, mark in within if mark), b"")
    if opening == b"[" and not named_lines:
        return Shape(Layout.LIST)
    within.seen = False
    try:
        value = _survey(within, opening, LEVELS)
        one_line = not within.seen
        rest = _rest(within)
    except NotJson:
        return Shape(Layout.LINES)
    except NotClosed:
        raise bad_file("The JSON ends early: a bracket is not closed. Copy or download it again.") from None
    if rest.strip(b" \t\r\n,"):
        lines = one_line and b"\n" in rest
        return Shape(Layout.LINES if lines else Layout.LIST if opening == b"[" else Layout.SEQUENCE)
    return Shape(Layout.LIST) if opening == b"[" else _of_object(value, one_line)


def _survey(within: Marks, opening: bytes, levels: int) -> _Value:
    """Survey the value whose opening bracket has been read.

    Raises:
        NotJson, NotClosed: the value is broken.
    """
    value, label, closed = _Value(opening), b"", False
    for span, mark in within:
        label = (label + span)[:LONGEST_NAME]
        if not mark:
            continue
        name, before = _member(label, opening)
        if mark in OPENING:
            if before.strip() or closed or (opening == b"{" and name is None):
                raise NotJson
            value.add(name or "", _inside(within, mark, 0 if value.full else levels - 1))
        elif label.strip() and not closed:
            value.add(name or "", _Value(b""))
        if mark in CLOSING:
            if (opening + mark) not in (b"[]", b"{}"):
                raise NotJson
            return value
        label, closed = b"", mark in OPENING
    raise NotClosed


def _member(label: bytes, opening: bytes) -> tuple[str | None, bytes]:
    """The name before a value, and any other bytes before it."""
    found = name_of(label) if opening == b"{" else None
    return found if found else (None, label)


def _inside(within: Marks, opening: bytes, levels: int) -> _Value:
    if levels:
        return _survey(within, opening, levels)
    skip(within)
    return _Value(opening)


def _rest(within: Marks) -> bytes:
    """The bytes after the first value, up to the next mark other than a comma."""
    rest = b""
    for span, mark in within:
        rest = (rest + span)[:LONGEST_NAME] + mark
        if mark not in (b"", b",") or rest.strip(b" \t\r\n,"):
            break
    return rest


def _of_object(whole: _Value, one_line: bool) -> Shape:
    """The layout of a file that is one object."""
    if _is_task(whole.members):
        return Shape(Layout.SEQUENCE)
    wrapped = _wrapped(whole.members)
    if wrapped:
        return wrapped
    if whole.holds_only(b"[") and whole.count > 1 and not _has_messages(whole):
        return _of_columns(whole)
    if whole.holds_only(b"{") and not any(value.is_message for value in whole.first):
        return _of_objects(whole)
    if one_line or _OF_A_ROW & whole.members.keys():
        return Shape(Layout.SEQUENCE)
    raise bad_file(
        "The JSON holds one object and no list of rows. Make it a list of objects, or write one object a "
        "line."
    )


def _wrapped(members: dict[str, _Value], path: tuple[str, ...] = ()) -> Shape | None:
    """Find the list of rows among an object's members or, recursively, among those of a member."""
    columns, cells = members.get("columns"), members.get("data")
    of_lists = cells is not None and cells.kind == b"[" and (not cells.count or cells.holds_only(b"["))
    if of_lists and columns and columns.holds_only(b""):
        return Shape(Layout.SPLIT, path)
    for name, value in members.items():
        if name in LIST_NAMES and (value.holds_rows or (value.kind == b"[" and not value.count)):
            others = tuple(other for other, beside in members.items() if beside.holds_rows and other != name)
            return Shape(Layout.LIST, (*path, name), others)
    lists = [name for name, value in members.items() if value.holds_rows]
    if not path and lists and not _OF_A_ROW & members.keys():
        if len(lists) > 1:
            named = ", ".join(map(repr, lists[:5]))
            raise bad_file(
                f"The JSON object holds several lists of objects: {named}. Keep only the one to add."
            )
        return Shape(Layout.LIST, (lists[0],))
    inner = [(name, value.members) for name, value in members.items() if value.kind == b"{"]
    if len(path) > 1 or len(inner) > SURVEYED_ELEMENTS:
        return None
    return next((shape for name, value in inner if (shape := _wrapped(value, (*path, name)))), None)


def _has_messages(whole: _Value) -> bool:
    """Whether an object is a row with a list of messages. A column of conversations holds lists instead."""
    return any(
        value.holds_only(b"{") and all(message.is_message for message in value.first) for value in whole.first
    )


def _is_task(members: dict[str, _Value]) -> bool:
    """Whether an object is a Label Studio task."""
    return {"data", "annotations"} <= members.keys() and members["data"].kind == b"{"


def _of_columns(whole: _Value) -> Shape:
    """An object of columns: lists, as from Dataset.to_dict(), or objects, as from DataFrame.to_json()."""
    counts = {name: value.count for name, value in whole.members.items()}
    if whole.count > MOST_COLUMNS:
        raise bad_file(f"The JSON has more than {MOST_COLUMNS} columns.")
    if len(set(counts.values())) > 1:
        named = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:5])
        raise bad_file(
            f"The JSON has columns of different lengths ({named}), which do not form rows. Make "
            "it a list of objects, or write one object a line."
        )
    return Shape(Layout.COLUMNS)


def _of_objects(whole: _Value) -> Shape:
    """An object of objects: columns, as from DataFrame.to_json(), or rows by label."""
    outer, inner = whole.names, whole.first[0].names
    labels_outside, labels_inside = _are_labels(outer), _are_labels(inner)
    if not labels_outside and all(
        value.holds_only(b"[") and not _has_messages(value) for value in whole.first
    ):
        return _of_splits(whole)
    if (labels_inside and not labels_outside) or set(outer) >= _OF_A_PAIR:
        return _of_columns(whole)
    if (labels_outside and not labels_inside) or set(inner) >= _OF_A_PAIR:
        return Shape(Layout.INDEX)
    raise bad_file(
        "The JSON is an object of objects, and its names do not say which are columns. "
        'In pandas, write it with orient="records", lines=True.'
    )


def _of_splits(whole: _Value) -> Shape:
    """An object of tables, each an object of columns, which are the splits of a dataset."""
    if "train" not in whole.members:
        named = ", ".join(map(repr, whole.names[:5]))
        raise bad_file(f"The JSON object holds several tables: {named}. Keep only the one to add.")
    others = tuple(name for name in whole.names if name != "train")
    return replace(_of_columns(whole.members["train"]), path=("train",), beside=others)


def _are_labels(names: list[str]) -> bool:
    """Whether all names are numeric row labels, as pandas writes them. True for an empty column."""
    return all(name.lstrip("-").isdigit() for name in names)
