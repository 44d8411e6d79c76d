"""The documents: their code runs unchanged, and everything they name exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hypo_engine.files.demo import DEMO_FOLDER
from scripts.check_docs import PAGES, ROOT, faults
from tests.tiny_model import write_tiny_model

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_engine_page_runs(tmp_path: Path) -> None:
    page = (DOCS / "engine.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 5
    write_tiny_model(tmp_path / "models" / DEMO_FOLDER)  # the demo model is slow
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.startswith("1 run/")
    assert "eval" in said
    assert "chosen equals rejected" in said
    assert "There are no pairs to train on" in said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_document_names_is_there(page: Path) -> None:
    assert faults(page) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[here](nowhere.md)", "nowhere.md leads to no file"),
        ("[here](#nothing)", "#nothing names no heading of page.md"),
        ("See `app/nothing.py`.", "`app/nothing.py` is no file of the project"),
        ("Run `make nothing`.", "the Makefile has no verb 'nothing'"),
        ("Run `hypo nothing`.", "No such command 'nothing'"),
        ("    hypo runs launch --nothing 1", "No such option: --nothing"),
        ("```sh\nhypo runs \\\n  nothing\n```", "No such command 'nothing'"),
        ("Run `python -m benchmarks --sections nothing`.", "'nothing' is not known"),
        ("Run `python -m benchmarks --nothing 1`.", "`python -m benchmarks --nothing 1`"),
        ("Run `python -m worker.nothing`.", "there is no module 'worker.nothing'"),
        ("Run `python -m nothing.more`.", "No module named 'nothing'"),
        ("Set `HYPO_NOTHING`.", "HYPO_NOTHING is no setting"),
    ],
)
def test_what_is_not_there_is_told(line: str, fault: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{line}\n", encoding="utf-8")
    (found,) = faults(page)
    assert fault in found


def test_what_is_there_is_no_fault(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    said = ["# A page: one, `two`", "[here](#a-page-one-two)", "`README.md`, `make lint types`, `HYPO_HOME`"]
    said += ["    hypo labels export --format trl \\", "        --output FILE   # a remark", "`hypo up`"]
    page.write_text("\n\n".join(said[:3]) + "\n\n" + "\n".join(said[3:]), encoding="utf-8")
    assert faults(page) == []
    assert (ROOT / "README.md") in PAGES
