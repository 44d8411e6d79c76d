"""Say how many of the code's lines the tests ran, and fail below the floor. Run by `make test`.

Usage: coverage_floor.py FILE, which `slipcover --json --out FILE` wrote.
"""

import json
import sys
from pathlib import Path

FLOOR = 93.0
"""Percent of the lines of app, hypo_engine and worker; each line of a longer statement counts."""


def main() -> None:
    """Print the sentence, with the emptiest files below the floor."""
    found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    percent = found["summary"]["percent_covered"]
    print(f"Tests ran {percent:.1f}% of the code's lines; at least {FLOOR:g}% are asked for.")
    if percent >= FLOOR:
        return
    missing = {name: len(file["missing_lines"]) for name, file in found["files"].items()}
    for name in sorted(missing, key=missing.__getitem__, reverse=True)[:20]:
        print(f"{missing[name]:6} lines not run: {name}")
    sys.exit(1)


if __name__ == "__main__":
    main()
