"""docs/api.md: its examples run unchanged, and its lists match the code."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.rest.errors import KINDS
from app.rest.moved import MOVED
from app.store import tokens
from app.store.db import write_session

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.parametrize("engine", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def example(language: str, address: str) -> str:
    """The page's example in a language, adapted to the app's address."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert "http://127.0.0.1:7860" in code
    return str(code).replace("http://127.0.0.1:7860", address)


def run(command: list[str], folder: Path) -> str:
    rows = [{"prompt": f"Q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(20)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with write_session() as session:
        token = tokens.create("ada", session=session)[1]
    environment = {**os.environ, "TOKEN": token}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_runs(engine: Engine, address: str, tmp_path: Path) -> None:
    said = run([sys.executable, "-c", example("python", address)], tmp_path).splitlines()
    assert said == ["20 pairs, 0 rows left out", "1 queued 1", "['queued']", "[1]"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_example_runs(engine: Engine, address: str, tmp_path: Path) -> None:
    said = run(["bash", "-euc", example("bash", address)], tmp_path)
    assert '"name":"mine"' in said
    assert '"status":"cancelled"' in said
    assert (tmp_path / "votes.jsonl").read_text() == ""


def test_the_lists_of_the_page_are_those_of_the_code(engine: Engine) -> None:
    for name, call in MOVED.items():
        assert f"| `{name}` | `{call.replace('/api/v1', '')}`" in PAGE
    for status, kind in re.findall(r"\| (\d{3}) \| `(\w+)`", PAGE):
        assert KINDS[int(status)] == kind
