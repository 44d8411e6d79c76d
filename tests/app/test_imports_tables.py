"""Excel, Parquet and Arrow: cells, damaged files, and resource limits."""

import base64
import io
import random
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from app.errors import InvalidInput
from app.imports.readers import Limits, open_rows
from app.imports.table_process import MOST_BYTES
from hypo_engine.data.formats import BadCell, RowError

LIMITS = Limits(max_bytes=2**24, max_rows=1000, longest_row=2**20)
NAMES = ["prompt", "chosen", "rejected"]
XLS = zlib.decompress(
    base64.b64decode(
        "eNrtWE1oE0EU/maTbX5s0qSmQiuEELBqzaHixUu7KmhPluhFEUHTZMHaNgnbXPSg1ZqjIHhSvBR68VL14g960JsHoaIHQRQS"
        "e+xBBIUe2qxvXnZjWgs2oEVlvmXevHkz38zszpu3O/t6PlqZedBTxRoMwoOaHUBbk01QCriFCKjetqXq5n5KtsI/hYCfFrJN"
        "x9PQK59cQ7neVWi4731BEvhE6TSKGC7kzcQm4hDPISPkHAZICtwhSxjdPKtOllmWW1ne45bPWB5gy3WWA9S2Ik5h3hju2+94"
        "8UktyXVhyH4fMec9W/aiCy+lF1++IeptdRy0RjPjf2dF3NuOWdC6DZl508qMVxCjBZzFNzsBfHV36vOEsm+uXYDsS6vtvnXs"
        "NzUvMAX7LDt4GSEseGSNjnRm1JpchsH70UlFqzBRLJGSPVeYNPMUbS3zvJktmTkd+JD/nOjfAmRSiWR/MjhRsEzylZGgDNm8"
        "xSOrtniIXb+dZA4drEd5A0QoiC/f/fLm6EjaOMOWKQ7r9eC/Q84XNq5IBpHDXONpyD5m7GF5lXvdznoPyxjdF+W96S5HOTLN"
        "ba5xbS+Ns4/x1tjZpO8ivbx47HG8vGDsJn1uqHoxNvfOmEGSXkY54strGimRErdvSTwx3Fw4geIjy+6fgoZfizhzt503XAdW"
        "EGQ1yrJekk9HNEqa86wkW6zDFsz2OO0Fs72NkmTrDltbw76kBdkWRVx6geZ3VkY4NZK7SB0Pap14KBtSqPuBIBQUFBQUFBQU"
        "FBR+AcEftPXPdy8fPeoHBJ/zX2eFUk39JvlvcRwFukp0MD2MPOUWLrTkP9ugC7cvsUGO+79Q4gSNbmEMIzyPsZb9lw54ovl+"
        "NkyM/L4t1Or4tVbm+YfH/w65dNBV"
    )
)
"""An Excel 97 workbook with three rows, written by xlwt."""


def read(content: bytes, folder: Path) -> tuple[list[tuple[int, Any]], list[str]]:
    path = folder / "file"
    path.write_bytes(content)
    with open_rows(path, LIMITS) as rows:
        return list(rows), rows.remarks


def sheet(rows: list[list[str]]) -> str:
    """A sheet's XML. Cells are given as XML; an empty string is a missing cell."""
    lines = []
    for number, cells in enumerate(rows, start=1):
        inside = "".join(
            cell.replace("<c", f'<c r="{chr(65 + column)}{number}"', 1)
            for column, cell in enumerate(cells)
            if cell
        )
        lines.append(f'<row r="{number}">{inside}</row>')
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<worksheet xmlns="{space}"><sheetData>{"".join(lines)}</sheetData></worksheet>'


def words(*texts: str) -> list[str]:
    return [
        f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>' if text else "" for text in texts
    ]


def workbook(*sheets: tuple[str, list[list[str]]], state: str = "") -> bytes:
    """A minimal .xlsx file; `state` is the visibility of the first sheet."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    listed = "".join(
        f'<sheet name="{name}" sheetId="{i}" {state if i == 1 else ""} r:id="rId{i}"/>'
        for i, (name, _) in enumerate(sheets, start=1)
    )
    targets = "".join(
        f'<Relationship Id="rId{i}" Type="{relations}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{relations}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>{listed}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}">{targets}</Relationships>'
        )
        for i, (_, rows) in enumerate(sheets, start=1):
            archive.writestr(f"xl/worksheets/sheet{i}.xml", sheet(rows))
    return buffer.getvalue()


def test_cells_of_a_workbook_are_the_texts_that_it_shows(tmp_path: Path) -> None:
    rows = [
        [],
        words(" prompt ", "chosen", "rejected"),
        words("Ünï &lt;b&gt;", "two\nlines", " spaces "),
        [],
        ["<c><v>7</v></c>", '<c t="b"><v>1</v></c>', "<c><v>2.5</v></c>"],
        words("a", "b", "", "beyond"),
        words("only one"),
    ]
    read_rows, remarks = read(workbook(("Pairs", rows)), tmp_path)
    assert read_rows[:2] == [
        (1, {"prompt": "Ünï <b>", "chosen": "two\nlines", "rejected": " spaces "}),
        (3, {"prompt": "7", "chosen": "TRUE", "rejected": "2.5"}),
    ]
    assert str(read_rows[2][1]) == "4 columns where the header has 3"
    assert read_rows[3] == (5, {"prompt": "only one", "chosen": "", "rejected": ""})
    assert remarks == []


def test_first_visible_sheet_with_rows_is_read_and_named(tmp_path: Path) -> None:
    sheets = [(name, [words(*NAMES), words(name, "a", "b")]) for name in ("hidden", "one", "two")]
    content = workbook(sheets[0], ("blank", []), *sheets[1:], state='state="hidden"')
    rows, remarks = read(content, tmp_path)
    assert rows == [(1, {"prompt": "one", "chosen": "a", "rejected": "b"})]
    assert remarks == ["The sheet 'one' was read, not 'two'."]


def test_old_workbooks_are_read(tmp_path: Path) -> None:
    assert read(XLS, tmp_path)[0] == [
        (1, {"prompt": "Ünï 0", "chosen": 'a, "0"\nmore', "rejected": "b"}),
        (2, {"prompt": "7", "chosen": "TRUE", "rejected": "2.5"}),
    ]


def test_workbook_with_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert read(workbook(("Pairs", [words(*NAMES)])), tmp_path)[0] == []
    with pytest.raises(InvalidInput, match="The file has no rows"):
        read(workbook(("Pairs", [])), tmp_path)


def test_workbook_of_two_far_corners_ends_its_own_process_only(tmp_path: Path) -> None:
    rows = [*[words(*NAMES)], words("a", "b", "c")]
    content = workbook(("Pairs", rows))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    corner = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(b"</sheetData>", corner))
    with pytest.raises(InvalidInput, match="too much memory"):
        read(buffer.getvalue(), tmp_path)


def parquet(columns: dict[str, Any], **how: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer, **how)
    return buffer.getvalue()


def arrow(columns: dict[str, Any], compression: str | None = None) -> bytes:
    table = pyarrow.table(columns)
    buffer = io.BytesIO()
    with pyarrow.ipc.new_file(
        buffer, table.schema, options=pyarrow.ipc.IpcWriteOptions(compression=compression)
    ) as writer:
        writer.write_table(table)
    return buffer.getvalue()


GOOD = {name: [f"{name} {i}" for i in range(4)] for name in NAMES}


@pytest.mark.parametrize("write", [parquet, arrow])
def test_values_that_python_cannot_hold_cost_only_who_needs_them(
    tmp_path: Path, write: Callable[[dict[str, Any]], bytes]
) -> None:
    days = pyarrow.array([10**8, None, 0, 1], pyarrow.date32())
    zoned = pyarrow.array([0, 1, None, 3], pyarrow.timestamp("ns", tz="Mars/Base"))
    inside = pyarrow.StructArray.from_arrays([days], ["at"])
    image = pyarrow.array([{"bytes": b"\x89PNG", "path": None}] * 4)
    rows, _ = read(write({**GOOD, "day": days, "zoned": zoned, "inside": inside, "image": image}), tmp_path)
    kept = [{name: row[name] for name in NAMES} for _, row in rows]
    assert kept == [{name: f"{name} {i}" for name in NAMES} for i in range(4)]
    first = rows[0][1]
    assert first["day"] == first["zoned"] == BadCell("a date or time instead of text")
    assert first["inside"].reason.startswith("cannot be read: ")
    assert rows[2][1]["inside"] == {"at": {"date": "1970-01-01"}}
    assert first["image"] == BadCell("binary data instead of text")


def test_damaged_column_costs_the_rows_that_need_it(tmp_path: Path) -> None:
    texts = [random.Random(i).randbytes(300).hex() for i in range(40)]
    content = parquet(
        {**dict.fromkeys(NAMES, texts), "unused": texts}, row_group_size=20, use_dictionary=False
    )
    metadata = pyarrow.parquet.ParquetFile(io.BytesIO(content)).metadata
    damaged = bytearray(content)
    for group, column in ((0, 3), (1, 1)):
        start = metadata.row_group(group).column(column).data_page_offset
        damaged[start : start + 400] = bytes(400)
    rows, _ = read(bytes(damaged), tmp_path)
    assert len(rows) == 40
    assert [row["chosen"] for _, row in rows[:20]] == texts[:20]
    assert all(isinstance(row["unused"], BadCell) for _, row in rows[:20])
    assert all(
        isinstance(row["chosen"], BadCell) and row["prompt"] == text
        for (_, row), text in zip(rows[20:], texts[20:], strict=True)
    )
    assert rows[20][1]["chosen"].reason.startswith("cannot be read: ")


@pytest.mark.parametrize("write", [parquet, arrow])
def test_rows_that_are_too_long_are_left_out_by_number(
    tmp_path: Path, write: Callable[[dict[str, Any]], bytes]
) -> None:
    rows, _ = read(write({"prompt": ["a", "x" * 2**21, "c"]}), tmp_path)
    assert rows[0] == (1, {"prompt": "a"})
    assert isinstance(rows[1][1], RowError)
    assert (rows[1][0], str(rows[1][1]), rows[2]) == (2, "longer than 1024 KiB", (3, {"prompt": "c"}))


def test_small_table_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    text = "x" * 900_000
    for content in (
        parquet({"prompt": [text] * 40}),
        parquet({"prompt": [[{"role": "user", "content": text}]] * 40}),
        arrow({"prompt": pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 40), [text])}),
        arrow({"prompt": [text] * 40}, compression="zstd"),
    ):
        assert len(content) < 2**21
        with pytest.raises(InvalidInput, match=r"larger than 16 MiB unpacked.*HYPO_MAX_UPLOAD_MB"):
            read(content, tmp_path)


def test_compressed_buffer_that_asks_for_much_memory_ends_its_own_process_only(tmp_path: Path) -> None:
    content = bytearray(arrow({"prompt": ["x" * 100_000]}, compression="zstd"))
    at = content.rfind((100_000).to_bytes(8, "little"))
    assert at > 0
    content[at : at + 8] = (2 * MOST_BYTES).to_bytes(8, "little")
    with pytest.raises(InvalidInput, match=r"too much memory|cannot be read"):
        read(bytes(content), tmp_path)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, ["prompt", "prompt"])
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    with pytest.raises(InvalidInput, match="names a column twice: 'prompt'"):
        read(buffer.getvalue(), tmp_path)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "xlsx", "xls"])
def test_no_damage_whatever_raises_anything_but_a_refusal(tmp_path: Path, kind: str) -> None:
    whole = {
        "parquet": parquet(GOOD),
        "arrow": arrow(GOOD, compression="zstd"),
        "xlsx": workbook(("Pairs", [words(*NAMES), words("a", "b", "c")])),
        "xls": XLS,
    }[kind]
    for seed in range(4):
        chance = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(8, len(damaged))] = chance.randrange(256)
        if seed == 3:
            damaged.pop()
        with suppress(InvalidInput):
            rows, _ = read(bytes(damaged), tmp_path)
            assert all(isinstance(row, RowError | dict) for _, row in rows)


POLARS = zlib.decompress(
    base64.b64decode(
        "eNrVUzFuAjEQnAMLIWIhBygoeUAaohSUxwtQaNIGjpMQEgERHsAzeAAPocgj8oJUVDRJEekya1sKWikIyvhkr2dmd+3Trvv"
        "D4eCpCxgAx6IoWpB9wrWGG1S5GnyRt2Sq/EQtc33mfECI21Jv0zrvAyQCIi94lc/ybJ1PhHv7w1f4Cm02XbzmL8CB+I64w9"
        "mOfg4Nnudw6yOtj/umnyErscvVYr5ch3yFnJ2E+0mufaDRin9g0fT5LNEH9VLUd5y96AfUebahj/NMGedH5YzWiTZVfKr0j"
        "dI3Spch9ygpv0vwY1fhe1w8pCNGCo9xXXym8OSKeKkn8FvP9KROxndDg1Uy7Azrc7/HOJcEu1f5/llPf3Lb90/1ByplcD4="
    )
)
"""An Arrow file with two rows, written by polars, with its schema only in the footer."""


def test_arrow_file_of_polars_is_read(tmp_path: Path) -> None:
    rows, _ = read(POLARS, tmp_path)
    assert rows == [
        (1, {"prompt": "Q1", "chosen": "a", "rejected": "c"}),
        (2, {"prompt": "Q2", "chosen": "b", "rejected": "d"}),
    ]


@pytest.mark.parametrize(
    "above", [[words("Title")], [words("Title"), []], [words("Title"), words("by", "me")]]
)
def test_header_below_a_title_is_found_and_told(tmp_path: Path, above: list[list[str]]) -> None:
    rows, remarks = read(workbook(("Pairs", [*above, words(*NAMES), words("Q", "a", "b")])), tmp_path)
    assert rows == [(1, {"prompt": "Q", "chosen": "a", "rejected": "b"})]
    assert remarks == [
        f"Row {len(above) + 1} of the sheet names the columns; the rows above it were not read."
    ]


def test_sheet_with_the_columns_of_pairs_is_found_behind_others(tmp_path: Path) -> None:
    book = workbook(
        ("README", [words("Field", "Meaning"), words("chosen", "better")]),
        ("Pairs", [words(*NAMES), words("Q", "a", "b")]),
    )
    rows, remarks = read(book, tmp_path)
    assert rows == [(1, {"prompt": "Q", "chosen": "a", "rejected": "b"})]
    assert remarks == ["The sheet 'Pairs' was read, not 'README'."]


def test_title_above_unknown_columns_is_refused_with_its_sheet(tmp_path: Path) -> None:
    book = workbook(("Mine", [words("Title"), words("ask", "good", "bad"), words("Q", "a", "b")]))
    with pytest.raises(InvalidInput, match="Row 1 of the sheet 'Mine' is not a header: it has one cell"):
        read(book, tmp_path)
