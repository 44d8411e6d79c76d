"""Folders and zip archives: file selection, and protection against malicious archives."""

import io
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.imports import Limits, add_dataset, look_into
from app.imports.sources import source_files
from app.imports.splits import training_files
from app.store import datasets

LIMITS = Limits(max_bytes=2**20, max_rows=1000)


def rows(split: str, count: int = 3) -> list[dict[str, Any]]:
    return [{"prompt": f"{split} {i}", "chosen": "a", "rejected": "b"} for i in range(count)]


def lines(split: str) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows(split))


def saved(folder: Path, *splits: str) -> Path:
    """A folder written by `save_to_disk`."""
    DatasetDict({split: Dataset.from_list(rows(split)) for split in splits}).save_to_disk(str(folder))
    return folder


def zipped(path: Path, files: dict[str | zipfile.ZipInfo, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def zip_of(folder: Path) -> Path:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in files}
    return zipped(folder.with_suffix(".zip"), {**names, "__MACOSX/saved/._train": b"x"})


def prompts(session: Session, path: Path, **how: Any) -> list[str]:
    added = add_dataset(path=path, name="sky", limits=LIMITS, **how)
    found = [str(pair.prompt) for pair in datasets.iter_pairs(added.id, session=session)]
    session.commit()
    return found


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_training_split_of_a_saved_dataset_is_read(session: Session, tmp_path: Path, packed: bool) -> None:
    folder = saved(tmp_path / "saved", "train", "test")
    (folder / "train" / "cache-12.arrow").write_bytes(
        (folder / "test" / "data-00000-of-00001.arrow").read_bytes()
    )
    path = zip_of(folder) if packed else folder
    assert prompts(session, path) == ["train 0", "train 1", "train 2"]
    assert prompts(session, path, split="test") == ["test 0", "test 1", "test 2"]
    look = look_into(path, limits=LIMITS)
    assert look.splits == ("test", "train")
    assert look.remarks == (
        f"Of the {'zip archive' if packed else 'folder'}, train/data-00000-of-00001.arrow was read "
        "(split train), not test/data-00000-of-00001.arrow.",
    )
    assert prompts(session, folder / "test") == ["test 0", "test 1", "test 2"]


def test_split_must_be_named_where_none_is_for_training(session: Session, tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved", "clean", "noisy")
    with pytest.raises(InvalidInput, match="holds the splits clean, noisy and no training split") as refused:
        prompts(session, folder)
    assert refused.value.field == "split"
    assert prompts(session, folder, split="noisy") == ["noisy 0", "noisy 1", "noisy 2"]
    with pytest.raises(InvalidInput, match="no split 'test'"):
        prompts(session, folder, split="test")
    with pytest.raises(InvalidInput, match="A single file has no splits"):
        prompts(session, folder / "noisy" / "data-00000-of-00001.arrow", split="noisy")


def test_folder_of_parquet_files_is_one_dataset(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        Dataset.from_list(rows(f"s{number}", 2)).to_parquet(folder / f"part-{number}.parquet")
    (folder / "README.md").write_text("# about")
    (folder / "part-0.jsonl").write_text(lines("again"))
    assert prompts(session, folder) == [f"s{number} {i}" for number in range(3) for i in range(2)]


def test_errors_name_the_file_of_several(session: Session, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines("a"))
    (tmp_path / "b.csv").write_bytes(b"prompt,\xff\n")
    with pytest.raises(InvalidInput, match=r"^b\.csv: .*header is not UTF-8"):
        prompts(session, tmp_path)


@pytest.mark.parametrize(
    ("files", "split", "taken"),
    [
        (["training.jsonl", "testing.jsonl", "evaluation.jsonl"], "", ["training.jsonl"]),
        (["split=train/0.parquet", "split=test/0.parquet"], "", ["split=train/0.parquet"]),
        (["split=train/0.parquet", "split=test/0.parquet"], "test", ["split=test/0.parquet"]),
        (["training set.csv", "test set.csv"], "", ["training set.csv"]),
        (["pairs.csv", "holdout.csv", "pairs_testing.csv"], "", ["pairs.csv"]),
        (["train.jsonl", "train.csv", "dev.csv"], "", ["train.jsonl"]),
        (["a.csv", "b.jsonl"], "", ["a.csv", "b.jsonl"]),
        (["train/0.parquet", "validation/0.parquet"], "validation", ["validation/0.parquet"]),
        (["data/TRAIN.CSV", "data/TEST.CSV"], "", ["data/TRAIN.CSV"]),
    ],
)
def test_files_are_picked_by_split(files: list[str], split: str, taken: list[str]) -> None:
    assert training_files(files, split) == taken


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("train.jsonl")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"../train.jsonl": lines("a")}, "a path that leads out of it: '../train.jsonl'"),
        ({"/etc/train.jsonl": lines("a")}, "a path that leads out of it"),
        ({"a\\..\\..\\train.jsonl": lines("a")}, "a path that leads out of it"),
        ({"C:\\train.jsonl": lines("a")}, "a path that leads out of it"),
        ({link(): "/etc/passwd"}, "holds a link: 'train.jsonl'"),
        ({"train.jsonl": lines("a"), "more.zip": b"PK"}, "holds another archive: 'more.zip'"),
        ({"train.jsonl": b"PK\x03\x04" + bytes(40)}, "zip archive"),
        ({"README.md": "nothing"}, "holds no JSON, JSONL, CSV, Excel, Parquet or Arrow file"),
        ({}, "holds no JSON"),
        ({"train.jsonl": " " * 2**21}, r"larger than 1 MiB unpacked.*HYPO_MAX_UPLOAD_MB"),
        (
            {f"{number}.jsonl": " " * 400_000 + lines("a") for number in range(4)},
            "larger than 1 MiB unpacked",
        ),
        ({f"{number}.txt": "" for number in range(10_001)}, "more than 10,000 files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "files",
)
def test_archive_that_is_unsafe_or_useless_is_refused_in_a_sentence(
    session: Session, tmp_path: Path, files: dict[str | zipfile.ZipInfo, str | bytes], sentence: str
) -> None:
    path = zipped(tmp_path / "file.zip", files)
    with pytest.raises(InvalidInput, match=sentence) as refused:
        prompts(session, path)
    assert refused.value.field == "file"
    assert {entry.name for entry in tmp_path.iterdir()} <= {"file.zip", "home"}


def test_size_that_an_archive_states_is_not_believed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "file.zip", {"train.jsonl": " " * 2**21})
    content = path.read_bytes().replace((2**21).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"damaged|larger"), source_files(path, limit=2**20):
        pass


def test_archive_with_a_huge_list_of_files_is_not_opened(tmp_path: Path) -> None:
    path = zipped(tmp_path / "file.zip", {"train.jsonl": lines("a")})
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x05\x06")
    content[at + 12 : at + 16] = (2**30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="more than 10,000 files"), source_files(path, limit=2**20):
        pass


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.jsonl", lines("a") * 50)
    whole = buffer.getvalue()
    path = tmp_path / "file.zip"
    for content in (whole[:60], whole[:-10], whole[:50] + b"\xff" * 20 + whole[70:]):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match="damaged"), source_files(path, limit=2**20):
            pass


@pytest.mark.parametrize("pack", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archive_with_bytes_missing_anywhere_is_refused(tmp_path: Path, pack: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", pack) as archive:
        archive.writestr("a.jsonl", lines("a") * 3)
    whole = buffer.getvalue()
    path = tmp_path / "file.zip"
    for start in range(4, len(whole) - 20):
        path.write_bytes(whole[:start] + whole[start + 20 :])
        with pytest.raises(InvalidInput), source_files(path, limit=2**20):
            pass
