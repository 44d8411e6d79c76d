"""A dataset of two dozen short pairs in the configured store."""

import json
from pathlib import Path

from app.imports import add_dataset


def add_tiny_dataset(folder: Path) -> int:
    """Write the pairs to a folder, import them with 30% held out, and return the dataset's id."""
    rows = [{"prompt": f"Say {n}.", "chosen": f" yes {n}", "rejected": f" no {n}"} for n in range(24)]
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return add_dataset(path=path, name="tiny", held_out=0.3).id
