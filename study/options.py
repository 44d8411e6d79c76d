"""The options of `python -m study`, which `make study ARGS=...` passes on."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="make study ARGS=...", description="Test HyPO's claim on SmolLM2-135M; start again to go on."
    )
    parser.add_argument("--out", type=Path, help="folder of the files; study in the app's home by default")
    parser.add_argument("--minutes", type=float, help="start no new run after so many minutes")
    parser.add_argument("--quick", action="store_true", help="two steps of two methods: only tries it")
    parser.add_argument("--model", default="demo", help="with --quick: another base model, a folder")
    parser.add_argument("--rates", type=_rates, help="instead, try learning rates on one seed: 1e-4,2e-4")
    parser.add_argument("--report", action="store_true", help="only write the report of the finished runs")
    return parser.parse_args(arguments)


def _rates(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
