"""CSV and JSON as written by spreadsheets and pandas: encodings, damaged cells, layouts of any size."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.csv_text import FORMULA_STARTS, escaped, original
from app.errors import InvalidInput
from app.exports.raw_votes import RAW_SCHEMA
from app.exports.writers import FileType, encoded, write_file
from app.imports import Limits, add_dataset, look_into
from app.imports.readers import SNIFFED_BYTES, open_rows
from app.imports.text_encoding import Encoding, encoding_of
from app.imports.unpacked import PEEK_BYTES
from hypo_engine.data.formats import BadCell, RowError
from hypo_engine.data.written import read_literal

LIMITS = Limits(max_bytes=2**24, max_rows=10_000, longest_row=2**20)
ROWS = [{"prompt": f"Q{i}", "chosen": "yes", "rejected": "no"} for i in range(6)]

unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def read(content: bytes, folder: Path, name: str = "file") -> tuple[list[tuple[int, Any]], list[str]]:
    path = folder / name
    path.write_bytes(content)
    with open_rows(path, LIMITS) as rows:
        return list(rows), rows.remarks


def table(*cells: str, count: int = 5) -> str:
    return "prompt,chosen,rejected\n" + (",".join(cells) + "\n") * count


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_text_is_read_whatever_its_encoding(tmp_path: Path, kind: str, encoding: str) -> None:
    row = {"prompt": "Où est le café ?", "chosen": "“Là” – à 3 €", "rejected": "naïve"}
    text = {
        "csv": table(*(f'"{cell}"' for cell in row.values())),
        "jsonl": (json.dumps(row, ensure_ascii=False) + "\n") * 5,
        "json": json.dumps([row] * 5, ensure_ascii=False),
    }[kind]
    rows, remarks = read(text.encode(encoding), tmp_path)
    assert rows == [(number, row) for number in range(1, 6)]
    if encoding == "cp1252":
        assert remarks == [
            "The file is not UTF-8 and was read as Windows-1252 (“Où”). "
            "If letters look wrong, save it as UTF-8 and add it again."
        ]
    else:
        assert remarks == []


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Где находится кафе?", "cp1251"),
        ("カフェはどこですか", "shift_jis"),
        ("咖啡馆在哪里", "gb18030"),
        ("που είναι το καφέ", "cp1253"),
        ("Gdzie są źródła i żółć", "cp1250"),
        ("où est le café déjà", "mac_roman"),
        ("la canción", "mac_roman"),
        ("más información: ¿dónde está el café?", "mac_roman"),
    ],
)
def test_other_encodings_are_not_taken_for_windows_1252(tmp_path: Path, text: str, encoding: str) -> None:
    rows, remarks = read(table(text, "yes", "no").encode(encoding), tmp_path)
    assert all(row["prompt"] == BadCell("not UTF-8") for _, row in rows)
    assert remarks == [
        "Some text is not UTF-8; rows that need it are left out. Save the file as UTF-8 to keep them."
    ]


def test_few_bad_bytes_cost_their_rows_and_change_no_encoding(tmp_path: Path) -> None:
    text = table("Où est le café ?", "là", "ici", count=50).encode() + b"o\xf9,l\xe0,ici\n"
    rows, _ = read(text, tmp_path)
    assert rows[0][1]["prompt"] == "Où est le café ?"
    assert rows[50][1] == {"prompt": BadCell("not UTF-8"), "chosen": BadCell("not UTF-8"), "rejected": "ici"}


def test_encoding_is_found_however_late_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(table("a", "b", "c", count=500_000).encode() + "café,b,c\n".encode("cp1252"))
    assert encoding_of(path, 2**24).codec == "cp1252"


@pytest.mark.parametrize("size", [10, 9000])
@pytest.mark.parametrize("newline", ["\n", " "], ids=["lines", "one line"])
def test_one_row_in_another_encoding_changes_no_other_row_at_any_size(
    tmp_path: Path, size: int, newline: str
) -> None:
    row = {"prompt": "Where is it?", "chosen": "a" * 100, "rejected": "b"}
    japanese = {**row, "chosen": "カフェはどこですか"}
    text = newline.join(json.dumps(each, ensure_ascii=False) for each in [*[row] * size, japanese])
    bad = b'{"prompt": "Where was the caf\xe9?", "chosen": "a", "rejected": "b"}' + newline.encode()
    rows, remarks = read(bad + text.encode(), tmp_path)
    assert isinstance(rows[0][1], RowError)
    assert rows[-1] == (size + 2, japanese)
    assert remarks == [
        "Some text is not UTF-8; rows that need it are left out. Save the file as UTF-8 to keep them."
    ]


@pytest.mark.parametrize("cell", ["caf\xe9s", "カフェ"])
@pytest.mark.parametrize("shift", range(4))
def test_character_over_the_end_of_a_chunk_is_one_character(tmp_path: Path, cell: str, shift: int) -> None:
    text = '[{"prompt": "' + "a" * (PEEK_BYTES - 15 - shift) + cell + '", "chosen": "a", "rejected": "b"}]'
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    assert encoding_of(path, 2**24) == Encoding()


@pytest.mark.parametrize(
    "cell",
    [
        "agents—entities act",
        "It’s fine",
        "a—b—c",
        "20 °C",
        "20°C",
        "or £5",
        "1990–1995",
        "5 € off",
        "Acme™ did",
    ],
)
def test_windows_1252_is_known_by_its_dashes_and_signs_alone(tmp_path: Path, cell: str) -> None:
    rows, remarks = read(table("Q", cell, "no").encode("cp1252"), tmp_path)
    assert rows[0] == (1, {"prompt": "Q", "chosen": cell, "rejected": "no"})
    assert "read as Windows-1252" in remarks[0]


def test_utf16_that_breaks_inside_a_character_costs_its_row(tmp_path: Path) -> None:
    half = '{"prompt": "a \ud83d b"}\n'.encode("utf-16-le", "surrogatepass")
    whole = (json.dumps(ROWS[0]) + "\n").encode("utf-16-le")
    rows, _ = read(b"\xff\xfe" + whole + half + whole, tmp_path)
    assert [isinstance(row, RowError) for _, row in rows] == [False, True, False]


@pytest.mark.parametrize("control", ["\x1b[0m", "\x00", "\x07"])
@pytest.mark.parametrize("before", [0, 2 * SNIFFED_BYTES])
def test_one_control_character_costs_its_row_at_most(tmp_path: Path, control: str, before: int) -> None:
    filler = ",".join(["x" * 1000] * 3) + "\n"
    text = "prompt,chosen,rejected\n" + filler * (before // 3000) + f"a,b{control},c\nd,e,f\n"
    rows, _ = read(text.encode(), tmp_path)
    assert rows[-2][1] == {"prompt": "a", "chosen": f"b{control}", "rejected": "c"}
    assert rows[-1][1] == {"prompt": "d", "chosen": "e", "rejected": "f"}


@pytest.mark.parametrize("content", [b"prompt,chosen,rejected\n", b"[]", b'{"version": 1, "data": []}',
                                     b'{"prompt": [], "chosen": [], "rejected": []}',
                                     b'{"prompt":{},"chosen":{},"rejected":{}}',
                                     b"sep=;\r\nprompt;chosen;rejected\r\n;;\r\n"])  # fmt: skip
def test_file_with_names_and_no_rows_says_so(session: Session, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"^The file has no rows\. Nothing was added\.$"):
        add_dataset(path=path, name="sky")


@pytest.mark.parametrize("size", [1, 2 * SNIFFED_BYTES])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda rows: {"version": "1.0", "meta": {"n": 1, "tags": ["a"]}, "data": rows},
        lambda rows: {"info": [{"about": "x"}], "rows": rows},
        lambda rows: {"n": 3, "records": rows},
        lambda rows: {"result": {"page": 1, "items": rows}},
        lambda rows: {str(number): row for number, row in enumerate(rows)},
        lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
        lambda rows: rows,
    ],
)
def test_layout_is_read_alike_at_any_size(tmp_path: Path, wrap: Any, size: int) -> None:
    rows = [{**row, "chosen": "x" * size} for row in ROWS]
    for indent in (None, 2):
        found, _ = read(json.dumps(wrap(rows), indent=indent).encode(), tmp_path)
        assert found == list(enumerate(rows, start=1))


@pytest.mark.parametrize("split", [ROWS[:1], {"prompt": ["a?"], "chosen": ["b"], "rejected": ["c"]}])
def test_splits_of_a_json_that_are_not_read_are_named(tmp_path: Path, split: Any) -> None:
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"test": split, "train": split}))
    look = look_into(file)
    assert len(look.preview) == 1
    assert look.remarks == ("Of the JSON, train was read, not test.",)


def test_what_pandas_and_datasets_write_is_read(tmp_path: Path) -> None:
    frame = pandas.DataFrame(ROWS)
    for orient in ("columns", "index", "records", "split"):
        assert read(frame.to_json(orient=orient).encode(), tmp_path)[0] == list(enumerate(ROWS, start=1))
    with_index = [{"index": i, **row} for i, row in enumerate(ROWS)]
    assert read(frame.to_json(orient="table").encode(), tmp_path)[0] == list(enumerate(with_index, start=1))
    lines = frame.to_json(orient="records", lines=True)
    assert read(lines.encode(), tmp_path)[0] == list(enumerate(ROWS, start=1))
    as_dict = json.dumps(Dataset.from_list(ROWS).to_dict())
    assert read(as_dict.encode(), tmp_path)[0] == list(enumerate(ROWS, start=1))
    splits = {name: frame.to_dict(orient="list") for name in ("test", "train")}
    assert read(json.dumps(splits).encode(), tmp_path)[0] == list(enumerate(ROWS, start=1))
    named, _ = read(frame.to_csv().encode(), tmp_path)
    assert named[0] == (1, {"column 1": "0", **ROWS[0]})


def test_values_without_names_say_what_to_write(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(pandas.DataFrame(ROWS).to_json(orient="values"))
    with pytest.raises(InvalidInput, match="lists of values without column names"):
        add_dataset(path=path, name="sky")


def test_conversational_row_is_a_row_and_its_columns_are_columns(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    row = {"prompt": said[:1], "chosen": said[1:], "rejected": said[1:]}
    assert read(json.dumps(row).encode(), tmp_path)[0] == [(1, row)]
    assert read(json.dumps(row, indent=1).encode(), tmp_path)[0] == [(1, row)]
    columns = {name: [value] * 3 for name, value in row.items()}
    assert read(json.dumps(columns).encode(), tmp_path)[0] == [(number, row) for number in (1, 2, 3)]
    tldr = {"info": {"post": "x"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0}
    assert read(json.dumps(tldr).encode(), tmp_path)[0] == [(1, tldr)]


@pytest.mark.parametrize(
    "row",
    [
        {
            "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
            "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No"}],
            "tags": ["t"],
        },
        {"id": 1, "data": {"prompt": "Q", "answer1": "a"}, "annotations": [{"result": [{"value": 1}]}]},
    ],
    ids=["messages and tags", "Label Studio"],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_one_row_is_read_as_two_are(tmp_path: Path, row: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(row, indent=indent) + "\n"
    assert read(text.encode(), tmp_path)[0] == [(1, row)]
    assert read((text * 2).encode(), tmp_path)[0] == [(1, row), (2, row)]


def test_bad_cell_of_a_column_costs_its_row(tmp_path: Path) -> None:
    content = b'{"prompt": ["a", "b\xff"], "chosen": [nul, "d"], "rejected": ["e", "f"]}'
    rows, _ = read(content, tmp_path)
    assert rows[0][1]["prompt"] == "a"
    assert rows[0][1]["chosen"].reason.startswith("not JSON")
    assert rows[1][1] == {"prompt": BadCell("not UTF-8 at byte 3"), "chosen": "d", "rejected": "f"}


cells = st.text(
    st.sampled_from(["a", '"', ",", ";", "|", "\t", "\n", "\r", " ", "é", "=", "'", "“"]), max_size=6
)


@unhurried
@given(
    st.lists(st.tuples(cells, cells, cells).filter(any), max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_csv_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[str, str, str]],
    delimiter: str,
    end: str,
    named: bool,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("prompt", "chosen", "rejected"), *records])
    content = (f"sep={delimiter}{end}" if named else "") + text.getvalue()
    rows, remarks = read(content.encode(), tmp_path_factory.getbasetemp())
    assert [tuple(row.values()) for _, row in rows] == records
    assert remarks == []


@unhurried
@given(st.lists(st.tuples(cells, cells, cells).filter(any), max_size=5))
def test_line_feeds_in_cells_without_quotes_are_text_where_lines_end_in_carriage_returns(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str, str]]
) -> None:
    records = [tuple(cell.strip("\n") for cell in record) for record in records]  # type: ignore[misc]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r")  # quotes cells with a carriage return, not a line feed
    writer.writerows([("prompt", "chosen", "rejected"), *filter(any, records)])
    rows, _ = read(text.getvalue().encode(), tmp_path_factory.getbasetemp())
    assert [tuple(row.values()) for _, row in rows] == list(filter(any, records))


def test_answer_of_two_lines_is_not_cut_where_lines_end_in_carriage_returns(tmp_path: Path) -> None:
    content = b"prompt,chosen,rejected\rQ one please,Good,Bad\nand on and on\rQ two please,g,b\r"
    rows, _ = read(content, tmp_path)
    assert rows == [
        (1, {"prompt": "Q one please", "chosen": "Good", "rejected": "Bad\nand on and on"}),
        (2, {"prompt": "Q two please", "chosen": "g", "rejected": "b"}),
    ]


@pytest.mark.parametrize("header", ["prompt, chosen, rejected", '"prompt", "chosen", "rejected"'])
def test_spaces_between_delimiter_and_quote_are_no_text(tmp_path: Path, header: str) -> None:
    content = f'{header}\n"Q one please", "Good, ""one""", "Bad\none"\nQ two, "a",  b\n'
    rows, _ = read(content.encode(), tmp_path)
    assert rows == [
        (1, {"prompt": "Q one please", "chosen": 'Good, "one"', "rejected": "Bad\none"}),
        (2, {"prompt": "Q two", "chosen": "a", "rejected": "b"}),
    ]


def test_spaces_that_begin_a_cell_without_quotes_are_text(tmp_path: Path) -> None:
    rows, _ = read(b'prompt,chosen,rejected\nQ, a,"say, ""b"""\n', tmp_path)
    assert rows == [(1, {"prompt": "Q", "chosen": " a", "rejected": 'say, "b"'})]


def test_separator_may_be_named_in_quotes(tmp_path: Path) -> None:
    rows, _ = read(b'"sep=;"\r\nprompt;chosen;rejected\r\nQ;a,b;c\r\n', tmp_path)
    assert rows == [(1, {"prompt": "Q", "chosen": "a,b", "rejected": "c"})]


def added(content: bytes, folder: Path, name: str = "file") -> Any:
    (folder / name).write_bytes(content)
    return add_dataset(path=folder / name, name="sky", limits=LIMITS)


def test_cells_missing_at_the_end_cost_only_the_rows_that_need_them(session: Session, tmp_path: Path) -> None:
    content = b"prompt,chosen,rejected,notes,more\nQ one,a,b,n,m\nQ two,c,d\nQ three,e\n"
    found = added(content, tmp_path)
    assert found.rows == 2
    assert [(left.row, left.reason) for left in found.left_out] == [
        (3, "rejected: not there; the row has 2 columns where the header has 5")
    ]


def test_column_named_twice_costs_only_what_needs_it(session: Session, tmp_path: Path) -> None:
    found = added(b"prompt,chosen,rejected,notes,notes\nQ one,a,b,n,m\n", tmp_path)
    assert found.rows == 1
    assert any("names a column twice: 'notes'" in remark for remark in found.remarks)
    with pytest.raises(InvalidInput, match="the header names this column twice"):
        added(b"prompt,chosen,rejected,chosen\nQ one,a,b,n\n", tmp_path)


# CSV of our own exports.


@given(st.text(st.sampled_from([*FORMULA_STARTS, "'", "a", "1"]), max_size=5))
def test_escaped_text_is_no_formula_and_comes_back(text: str) -> None:
    assert original(escaped(text)) == text
    assert not escaped(text).startswith(FORMULA_STARTS)


def test_votes_as_csv_hold_no_formula_and_are_read_back(tmp_path: Path) -> None:
    texts = ["=1+1", "+a", "-b", "@x", "\tt", "\rr", "'q", "''", "plain", "a=b", ""]
    rows = [
        {**dict.fromkeys(RAW_SCHEMA.names), "label_id": 1, "seconds": -1.5, "reason": text, "question": text}
        for text in texts
    ]
    path = tmp_path / "raw.csv"
    write_file(path, encoded(rows, FileType.CSV, RAW_SCHEMA))
    with path.open(newline="") as file:
        stored = list(csv.DictReader(file))
    assert [row["reason"] for row in stored[:7]] == ["'" + text for text in texts[:7]]
    assert [row["reason"] for row in stored[7:]] == ["'''", "plain", "a=b", ""]
    assert {row["seconds"] for row in stored} == {"-1.5"}
    with open_rows(path, LIMITS) as found:
        assert [row["question"] for _, row in found] == texts
    for file_type in (FileType.JSONL, FileType.PARQUET):
        path = tmp_path / f"raw.{file_type}"
        write_file(path, encoded(rows, file_type, RAW_SCHEMA))
        with open_rows(path, LIMITS) as found:
            assert [row["question"] for _, row in found] == texts


def test_apostrophes_of_other_files_belong_to_the_text(tmp_path: Path) -> None:
    rows, _ = read(table("'=1+1", "''a''", "'b").encode(), tmp_path)
    assert rows[0][1] == {"prompt": "'=1+1", "chosen": "''a''", "rejected": "'b"}


def test_long_text_that_is_no_literal_is_not_parsed_at_length() -> None:
    with pytest.raises(ValueError, match="too long"):
        read_literal("[" + "1<" * 300_000 + "1]")
