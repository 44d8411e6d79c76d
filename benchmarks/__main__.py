"""``python -m benchmarks``: measure, print the tables and, on request, update docs/performance.md."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.children import ChildFailed, run_job
from benchmarks.jobs import Job
from benchmarks.machine import machine
from benchmarks.options import SECTIONS, BadOption, Options, parse
from benchmarks.report import write_page
from benchmarks.results import Results
from benchmarks.sections import Bench, Disagreement
from benchmarks.tables import section_text

_BASE = "SmolLM2-135M"
_LLAMAS = ("llama-1b", "llama-8b")


def main(arguments: list[str]) -> int:
    """Run the benchmark and return the exit status."""
    try:
        options = parse(arguments)
        if options.write and options.quick:
            raise BadOption("--write: what --quick measures is not worth keeping; leave one of the two out.")
        results = Results.load(*options.read) if options.read else measure(options)
        for section in SECTIONS:
            if text := section_text(results, section):
                print(f"\n## {section}\n\n{text}")
        if options.write:
            print(f"Written to docs/performance.md: {', '.join(write_page(results))}.", file=sys.stderr)
    except (BadOption, ChildFailed, Disagreement, OSError, ValueError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def measure(options: Options) -> Results:
    """Measure the requested sections with the base model and, on a GPU, with the random Llamas too."""
    device = run_job(Job("device", str(options.model)))
    options = replace(options, precisions=options.precisions or tuple(device["precisions"]))
    results = Results([options.command], machine(device, options.threads), quick=options.quick)
    _measure_model(options, results, options.model, _name(options), options.sections)
    if results.on_gpu and not options.quick:
        small = replace(options, tunings=("lora",))
        for size in _LLAMAS:
            with _random_llama(options, size) as folder:
                wanted = [name for name in options.sections if name in ("steps", "decode")]
                _measure_model(small, results, folder, size, tuple(wanted))
    return results


def _name(options: Options) -> str:
    """A model's name without a path: that of the demo model, or else of its folder."""
    return _BASE if options.model.name == "smollm2-135m-instruct" else options.model.name


def _measure_model(
    options: Options, results: Results, folder: Path, name: str, sections: tuple[str, ...]
) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    results.models[name] = {k: v for k, v in config.items() if not k.startswith("_")}
    Bench(options, results, folder, name).run(sections)


@contextmanager
def _random_llama(options: Options, size: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run_job(Job("random_llama", str(options.model), settings={"size": size, "folder": folder}))
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
