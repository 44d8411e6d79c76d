"""The file of endpoints: what is accepted, and what is refused with its entry and field."""

import json
from pathlib import Path
from typing import Any

import pytest

from app import endpoints
from app.errors import NotFound, Refused
from app.settings import get_settings
from tests.endpoint_server import write_config

ENTRY = {"name": "GPT", "base_url": "https://api.example.org/v1/", "model": "gpt-large"}


def use(monkeypatch: pytest.MonkeyPatch, path: Path, content: str) -> None:
    path.write_text(content)
    monkeypatch.setenv("HYPO_ENDPOINTS", str(path))
    get_settings.cache_clear()


@pytest.fixture
def file(settings: Any, tmp_path: Path) -> Path:
    return tmp_path / "endpoints.yaml"


def test_without_a_file_there_are_none(settings: Any) -> None:
    assert endpoints.configured() == []
    with pytest.raises(NotFound, match="There is no endpoint GPT; HYPO_ENDPOINTS names none"):
        endpoints.get("GPT")


def test_yaml_and_json_are_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(file, ENTRY, {**ENTRY, "name": "Other", "api_key_env": "OTHER_KEY"})
    use(monkeypatch, file, file.read_text())
    assert [found.name for found in endpoints.configured()] == ["GPT", "Other"]
    assert endpoints.get("GPT").base_url == "https://api.example.org/v1"
    assert endpoints.key_names() == ["OTHER_KEY"]
    as_json = file.with_suffix(".json")
    use(monkeypatch, as_json, json.dumps([ENTRY]))
    assert endpoints.get("GPT").host == "api.example.org"
    empty = file.with_name("empty.yaml")
    use(monkeypatch, empty, "")
    assert endpoints.configured() == []


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([{"name": "GPT", "model": "m"}], "entry 1, base_url: Field required"),
        (
            [ENTRY, {**ENTRY, "name": "B", "base_url": "ftp://x"}],
            "entry 2, base_url: it must start with http",
        ),
        ([{**ENTRY, "base_url": "https://user:pw@host/v1"}], "entry 1, base_url: it must hold no user"),
        ([{**ENTRY, "base_url": "https://host:99999/v1"}], "entry 1, base_url: Port out of range"),
        ([{**ENTRY, "api_key": "sk-1"}], "entry 1, api_key: Extra inputs"),
        ([{**ENTRY, "api_key_env": "sk-1"}], "entry 1, api_key_env: String should match"),
        ([{**ENTRY, "api_key_env": "HYPO_KEY"}], "entry 1, api_key_env: a variable that starts with HYPO_"),
        ([{**ENTRY, "max_concurrency": 0}], "entry 1, max_concurrency"),
        ([{**ENTRY, "input_price": -1}], "entry 1, input_price"),
        ([{**ENTRY, "output_price": float("inf")}], "entry 1, output_price: Input should be a finite number"),
        ([ENTRY, ENTRY], "two entries are named GPT"),
        (["GPT"], "entry 1, the entry: Input should be"),
        ({"endpoints": [ENTRY]}, "must hold a list of entries"),
    ],
)
def test_a_bad_entry_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, entries: Any, sentence: str
) -> None:
    use(monkeypatch, file, json.dumps(entries))
    with pytest.raises(Refused, match=f"^HYPO_ENDPOINTS: .*{sentence}") as caught:
        endpoints.configured()
    assert "sk-1" not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("content", ["[", "\tx: 1", "!!python/object:os.system {}"])
def test_what_is_not_yaml_is_told(file: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    use(monkeypatch, file, content)
    with pytest.raises(Refused, match="is not YAML or JSON"):
        endpoints.configured()


def test_a_missing_file_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPO_ENDPOINTS", str(file))
    get_settings.cache_clear()
    with pytest.raises(Refused, match="cannot be read: No such file"):
        endpoints.configured()


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = endpoints.Endpoint(**ENTRY, api_key_env="GPT_KEY")
    with pytest.raises(Refused, match="GPT_KEY is not set"):
        endpoint.key()
    monkeypatch.setenv("GPT_KEY", " sk-1\n")
    assert endpoint.key() == "sk-1"
    assert "sk-1" not in repr(endpoint)
    monkeypatch.setenv("GPT_KEY", "sk\n1")
    with pytest.raises(Refused, match="GPT_KEY holds no key"):
        endpoint.key()


def test_the_cost_is_known_with_prices_and_counts_alone() -> None:
    priced = endpoints.Endpoint(**ENTRY, input_price=2.0, output_price=8.0)
    assert priced.cost(1_000_000, 500_000) == pytest.approx(6.0)
    assert priced.cost(None, 5) is None
    assert endpoints.Endpoint(**ENTRY, input_price=2.0).cost(5, 5) is None
