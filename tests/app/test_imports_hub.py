"""Datasets from the hub: file selection and error messages."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.imports import Limits
from app.imports.hub import HuggingFace, add_from_hub, checked_repo_id, fetch_files
from app.imports.splits import training_files
from app.store import datasets

LIMITS = Limits(max_bytes=2**20, max_rows=1000)


class FakeHub:
    """A hub with one dataset whose files are in memory."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self.fetched: list[str] = []

    def file_sizes(self, _repo_id: str) -> Mapping[str, int]:
        return {name: len(content) for name, content in self.files.items()}

    def fetch(self, _repo_id: str, file: str, folder: Path) -> Path:
        self.fetched.append(file)
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.files[file])
        return path


def lines(count: int) -> str:
    rows = ({"prompt": f"p {i}", "chosen": "a", "rejected": "b"} for i in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["README.md", "data/train-00001.parquet", "data/train-00000.parquet", "data/test-00000.parquet"],
         ["data/train-00000.parquet", "data/train-00001.parquet"]),
        (["data/train_sft-0.parquet", "data/train_prefs-0.parquet", "data/test_prefs-0.parquet"],
         ["data/train_prefs-0.parquet"]),
        (["harmless/train.jsonl.gz", "harmless/test.jsonl.gz", "helpful/train.jsonl.gz"],
         ["harmless/train.jsonl.gz", "helpful/train.jsonl.gz"]),
        (["pairs.jsonl", "dataset_infos.json", ".gitattributes", "eval.jsonl"], ["pairs.jsonl"]),
        (["train.csv", "train.parquet"], ["train.parquet"]),
        (["test.json"], ["test.json"]),
        (["constrained.csv", "other.csv"], ["constrained.csv", "other.csv"]),
        (["README.md", "model.safetensors"], []),
    ],
)  # fmt: skip
def test_training_files_are_picked_by_their_names(files: list[str], taken: list[str]) -> None:
    assert training_files(files) == taken


def test_hub_dataset_is_added_under_its_own_name(session: Session) -> None:
    hub = FakeHub({"train-0.jsonl": lines(3), "train-1.jsonl": lines(2), "test.jsonl": lines(9)})
    added = add_from_hub(repo_id="someone/sky", hub=hub, limits=LIMITS)
    dataset = datasets.get(added.id, session=session)
    assert (dataset.name, dataset.rows, dataset.source) == ("sky", 5, "hub: someone/sky")
    assert hub.fetched == ["train-0.jsonl", "train-1.jsonl"]


@pytest.mark.parametrize(
    ("given", "repo_id"),
    [
        (" someone/sky ", "someone/sky"),
        ("imdb", "imdb"),
        ("https://huggingface.co/datasets/someone/sky", "someone/sky"),
        ("huggingface.co/datasets/someone/sky/viewer/default", "someone/sky"),
    ],
)
def test_id_may_be_pasted_as_an_address(given: str, repo_id: str) -> None:
    assert checked_repo_id(given) == repo_id


@pytest.mark.parametrize("given", ["", "/", "a b", "../etc", "https://example.com/x", "a/b?c"])
def test_what_is_no_id_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput, match="is not a hub id") as refused:
        checked_repo_id(given)
    assert refused.value.field == "hub"


def test_dataset_without_readable_files_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no JSON, JSONL, CSV, Excel, Parquet or Arrow"):
        fetch_files("a/b", tmp_path, hub=FakeHub({"README.md": ""}), limits=LIMITS)
    large = FakeHub({"train.jsonl": "x" * (2**20 + 1)})
    with pytest.raises(InvalidInput, match=r"larger than 1 MiB.*HYPO_MAX_UPLOAD_MB"):
        fetch_files("a/b", tmp_path, hub=large, limits=LIMITS)
    assert large.fetched == []


def test_no_network_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match=r"hub cannot be reached.*add the dataset as a file") as refused:
        fetch_files("a/b", tmp_path, hub=HuggingFace(), limits=LIMITS)
    assert refused.value.field == "hub"


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (404, "RepoNotFound", "no dataset a/b, or it is private"),
        (403, "GatedRepo", "accept its terms"),
        (500, "", "answered 500"),
    ],
)
def test_answers_of_the_hub_are_said_plainly(tmp_path: Path, status: int, code: str, sentence: str) -> None:
    from huggingface_hub import errors

    kinds = {"RepoNotFound": errors.RepositoryNotFoundError, "GatedRepo": errors.GatedRepoError}

    class Refusing(FakeHub):
        def file_sizes(self, _repo_id: str) -> Mapping[str, int]:
            error = kinds.get(code, errors.HfHubHTTPError)
            response = SimpleNamespace(status_code=status, headers={}, request=None)
            raise error("no", response=response)  # type: ignore[arg-type]

    with pytest.raises(InvalidInput, match=sentence):
        fetch_files("a/b", tmp_path, hub=Refusing({}), limits=LIMITS)
