"""The documents: code on a page runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_engine_page_runs(tmp_path: Path) -> None:
    page = (DOCS / "engine.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 5
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
