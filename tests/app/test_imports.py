"""Files of every kind become rows; damage from bad files and rows is contained."""

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput, NotFound
from app.imports.json_rows import list_rows
from app.imports.readers import Limits, open_rows
from hypo_engine.data.formats import BadCell, RowError

LIMITS = Limits(max_bytes=2**20, max_rows=1000, longest_row=4096)
ROWS = [{"prompt": f"Ünï {i}", "chosen": f'a, "{i}"\nmore', "rejected": "b"} for i in range(5)]
TOO_LONG = b'"' + b"x" * 9000 + b'"'
THREE_REASONS = ["not UTF-8 at byte 13", "nested too deeply", "longer than 4 KiB"]

unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def as_arrow(rows: list[dict[str, Any]], *, stream: bool) -> bytes:
    table = pyarrow.Table.from_pylist(rows)
    buffer = io.BytesIO()
    kind = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with kind(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return buffer.getvalue()


def as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def as_labelled(values: list[Any]) -> dict[str, Any]:
    return {str(label): value for label, value in enumerate(values)}


def as_split(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """DataFrame.to_json(orient="split")."""
    cells = [list(row.values()) for row in rows]
    return {"columns": list(rows[0]), "index": list(range(len(rows))), "data": cells}


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


KINDS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "list": lambda rows: json.dumps(rows).encode(),
    "indented list": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False).encode(),
    "list in an object": lambda rows: json.dumps({"version": [1, {"a": [2]}], "data": rows}).encode(),
    "indented object": lambda rows: json.dumps({"about": "x", "train": rows, "test": []}, indent=1).encode(),
    "lines": as_jsonl,
    "csv": as_csv,
    "semicolons": lambda rows: as_csv(rows, ";"),
    "tabs": lambda rows: as_csv(rows, "\t"),
    "pipes": lambda rows: as_csv(rows, "|"),
    "delimiter named": lambda rows: b"sep=|\r\n" + as_csv(rows, "|"),
    "blank lines first": lambda rows: b"\r\n;;\r\n" + as_csv(rows, ";"),
    "empty columns": lambda rows: as_csv([{**row, "": "", " ": ""} for row in rows]),
    "carriage returns": lambda rows: as_csv(rows).replace(b"\r\n", b"\r"),
    "lines with commas": lambda rows: b",\n".join(as_jsonl(rows).splitlines()) + b",\n",
    "objects with commas": lambda rows: b",".join(as_jsonl(rows).splitlines()),
    "objects one after another": lambda rows: b"".join(json.dumps(row, indent=2).encode() for row in rows),
    "deep in an object": lambda rows: json.dumps({"a": {"n": 1}, "b": {"rows": rows}}).encode(),
    "under any name": lambda rows: json.dumps({"n": 5, "mine": rows, "tags": ["a"]}).encode(),
    "columns": lambda rows: json.dumps(as_columns(rows)).encode(),
    "indented columns": lambda rows: json.dumps(as_columns(rows), indent=1, ensure_ascii=False).encode(),
    "labelled columns": lambda rows: json.dumps(
        {name: as_labelled(cells) for name, cells in as_columns(rows).items()}
    ).encode(),
    "labelled rows": lambda rows: json.dumps(as_labelled(rows), indent=1).encode(),
    "split": lambda rows: json.dumps(as_split(rows)).encode(),
    "split backwards": lambda rows: json.dumps(dict(reversed(as_split(rows).items()))).encode(),
    "parquet": as_parquet,
    "arrow file": lambda rows: as_arrow(rows, stream=False),
    "arrow stream": lambda rows: as_arrow(rows, stream=True),
}
BINARY = ("parquet", "arrow file", "arrow stream")


def read(content: bytes, folder: Path, name: str = "file", limits: Limits = LIMITS) -> list[tuple[int, Any]]:
    path = folder / name
    path.write_bytes(content)
    with open_rows(path, limits) as rows:
        return list(rows)


def bad_rows(rows: list[tuple[int, Any]]) -> dict[int, str]:
    return {number: str(row) for number, row in rows if isinstance(row, RowError)}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_told_by_content(
    kind: str, pack: Callable[[bytes], bytes], bom: bytes, tmp_path: Path
) -> None:
    content = KINDS[kind](ROWS)
    start = b"" if kind in BINARY else bom
    assert read(pack(start + content), tmp_path) == list(enumerate(ROWS, start=1))


def test_no_file_is_said_plainly(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(NotFound, match="There is no file"), open_rows(path, LIMITS):
            pass


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (gzip.compress(b""), "empty"),
        (bytes(range(256)) * 10, "binary"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "binary"),
        (b"PK\x03\x04abc", "zip archive"),
        (b"BZh91AY", "bzip2"),
        (gzip.compress(gzip.compress(b"{}")), "gzip twice"),
        (b"just a text without columns\n", "begins with 'just a text without columns'"),
        (b"gr\xff\xf5\xf6,b\n1,2\n", "header is not UTF-8"),
        (b'"a,b\n1,2\n', "header cannot be read"),
        (b'{\n "about": "x"\n}\n', "one object and no list"),
        (b'{"a": {"x": 1}, "b": {"x": 2}}', "do not say which are columns"),
        (b'{"prompt": ["a", "b"], "chosen": ["c"]}', "different lengths"),
        (b'{"prompt": {"0": "a"}, "chosen": {"1": "c"}}', "different row labels"),
        (b'{"one": [{"a": 1}], "two": [{"a": 2}]}', "several lists of objects: 'one', 'two'"),
        (b'{"data": [{"a": 1}, {"a": 2}', "a bracket is not closed"),
        (b"plain text\0" * 200 + bytes(1000), "binary"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16 text without a byte-order mark"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "damaged"),
        (b"FEA1" + bytes(40), "Feather of version 1"),
        (as_arrow(ROWS, stream=True)[:-300], "cannot be read"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "cannot be read"),
        (b'[{"a": 1}, {"a": 2', "ends early"),
        (b'[{"a": 1}, {"a": "2', "ends early, in or after row 2"),
        (b'[{"a": 1}', "ends early"),
        (b'[{"a": 1}] [{"a": 2}]', "more text after the end of the list, after row 1"),
        (b"PAR1 and then no Parquet", "file cannot be read"),
        (as_parquet(ROWS)[:-30], "file cannot be read"),
        (gzip.compress(as_jsonl(ROWS))[:-9], "gzip file ends early"),
        (gzip.compress(as_jsonl(ROWS))[:-6] + b"abcdef", "gzip file is damaged"),
        (gzip.compress(as_parquet(ROWS))[:-9], "gzip file ends early"),
        (b"\x1f\x8b not gzip at all", "gzip file is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # gzip headers contain the time
)
def test_file_that_cannot_be_used_is_refused_in_a_sentence(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        read(content, tmp_path)
    assert refused.value.field == "file"


@pytest.mark.parametrize("kind", KINDS)
def test_unpacked_size_is_limited(kind: str, tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 3000, "chosen": "a", "rejected": str(i)} for i in range(1000)]
    bomb = gzip.compress(KINDS[kind](rows))
    assert len(bomb) < LIMITS.max_bytes / 20
    with pytest.raises(InvalidInput, match=r"larger than 1 MiB unpacked.*HYPO_MAX_UPLOAD_MB"):
        read(bomb, tmp_path)


def test_bad_lines_are_left_out_by_number(tmp_path: Path) -> None:
    good = json.dumps(ROWS[0]).encode()
    lines = [good, b"{broken", b'{"prompt": "\xe9"}', b"", b"[" * 3000, TOO_LONG, good, b'{"cut']
    rows = read(b"\n".join(lines), tmp_path)
    assert [number for number, _ in rows] == [1, 2, 3, 5, 6, 7, 8]
    reasons = bad_rows(rows)
    assert list(reasons) == [2, 3, 5, 6, 8]
    assert [reasons[3], reasons[5], reasons[6]] == THREE_REASONS


def test_first_line_may_be_the_bad_one(tmp_path: Path) -> None:
    for first in (b'{"prompt": "cut', b"no json", b"[1]"):
        rows = read(first + b"\n" + as_jsonl(ROWS), tmp_path, "file.jsonl")
        assert [number for number, row in rows if isinstance(row, dict)] == [2, 3, 4, 5, 6]
    assert len(read(b'{"prompt": "cut\n' + as_jsonl(ROWS), tmp_path)) == 6


def test_bad_elements_of_a_list_are_left_out_by_number(tmp_path: Path) -> None:
    good = json.dumps(ROWS[0]).encode()
    elements = [good, b'{"prompt": "\xe9"}', b"[" * 2000 + b"]" * 2000, TOO_LONG, b"nul", good]
    rows = read(b"[" + b", ".join(elements) + b"]", tmp_path)
    assert [number for number, _ in rows] == [1, 2, 3, 4, 5, 6]
    reasons = bad_rows(rows)
    assert [reasons[2], reasons[3], reasons[4]] == THREE_REASONS
    assert reasons[5].startswith("not JSON")
    assert rows[5][1] == ROWS[0]


def test_bad_records_of_a_csv_are_left_out_by_number(tmp_path: Path) -> None:
    lines = [
        b"prompt,chosen,rejected",
        b'p,"two\nlines",r',
        b"only,two",
        b"one,too,many,cells",
        b"not utf-8 \xff,\xe9,r",
        b'p,a "quote" inside,r',
        b'p,"closed" badly,r',
        b"p," + b"x" * 9000 + b",r",
        b'p,"never closed,r',
        b"p,c,last",
    ]
    rows = read(b"\r\n".join(lines), tmp_path)
    reasons = bad_rows(rows)
    assert reasons == {
        3: "4 columns where the header has 3",
        6: "not CSV: ',' expected after '\"'",
        7: "a line is too long",
        8: "not CSV: an opening quote is not closed",
    }
    assert rows[3][1] == {"prompt": BadCell("not UTF-8"), "chosen": BadCell("not UTF-8"), "rejected": "r"}
    assert rows[1][1]["rejected"] == BadCell("not there; the row has 2 columns where the header has 3")
    assert rows[0][1] == {"prompt": "p", "chosen": "two\nlines", "rejected": "r"}
    assert rows[4][1]["chosen"] == 'a "quote" inside'
    assert rows[-1] == (9, {"prompt": "p", "chosen": "c", "rejected": "last"})


def test_parquet_text_that_is_not_utf8_is_left_out_by_number(tmp_path: Path) -> None:
    raw = pyarrow.array([b"good", b"bad \xff", b"good"])
    broken = pyarrow.StringArray.from_buffers(3, *raw.buffers()[1:])
    path = tmp_path / "file.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": broken}), path)
    prompts = [row["prompt"] for _, row in read(path.read_bytes(), tmp_path)]
    assert prompts == ["good", BadCell("not UTF-8"), "good"]


def test_reading_does_not_hold_the_file(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i} " * 500, "chosen": "a" * 1000, "rejected": "b"} for i in range(10_000)]
    path = tmp_path / "big.json.gz"
    content = json.dumps(rows).encode()
    path.write_bytes(gzip.compress(content, 1))
    size = len(content)
    del rows, content
    tracemalloc.start()
    with open_rows(path, Limits(max_bytes=2**30, max_rows=10**6)) as numbered:
        count = sum(1 for _ in numbered)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert size > 20 * 2**20
    assert peak < 8 * 2**20


class _Trickle:
    """A stream that returns a few bytes per read, so that every token crosses a chunk boundary somewhere."""

    def __init__(self, content: bytes, size: int) -> None:
        self._stream = io.BytesIO(content)
        self._size = size

    def read(self, _size: int = -1, /) -> bytes:
        return self._stream.read(self._size)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.sampled_from('ab\\"[]{},: \n\u00e9\U0001f600'), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.sampled_from('ab"\\['), max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@unhurried
@given(st.lists(values, max_size=6), st.integers(1, 40), st.booleans(), st.sampled_from([None, 2]))
def test_list_is_cut_into_the_elements_that_json_sees(
    elements: list[Any], size: int, wrapped: bool, indent: int | None
) -> None:
    whole = {"other": elements, "data": elements} if wrapped else elements
    content = json.dumps(whole, ensure_ascii=size % 2 == 0, indent=indent).encode()
    assert list(list_rows(_Trickle(content, size), 4096, ("data",) if wrapped else ())) == list(
        enumerate(elements, start=1)
    )


@unhurried
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"[", b'{"data": [', b'{"a":', b"a,b\n", b"sep=;", b"\x1f\x8b", b"\xff\xfe"]),
)
def test_no_bytes_whatever_raise_anything_but_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with suppress(InvalidInput):
        assert all(number > 0 for number, _ in read(start + content, folder))


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.ndjson", "pairs.jsonl.gz"])
def test_name_of_lines_of_json_is_not_believed(tmp_path: Path, name: str) -> None:
    assert read(as_csv(ROWS), tmp_path, name) == list(enumerate(ROWS, start=1))
    with pytest.raises(InvalidInput, match="binary"):
        read(b"\x89PNG\r\n\x1a\n" + bytes(100), tmp_path, name)
