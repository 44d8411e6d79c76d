"""``python -m benchmarks.app``: what the app promises of its speed, measured.

Sections: `calls` fills a database with many rows and times what pages, commands, the API and keepers do;
`votes` lets a hundred people vote on it at once; `label` is the time from a key to the next comparison on the
Label page, in a real Chromium; `batches` is a campaign answered by a generate worker against one comparison
after the other. The exit status is 1 if a limit was exceeded or a section could not be measured.
"""

import argparse
import os
import sys
from pathlib import Path

SECTIONS = ("calls", "votes", "label", "batches")
ON_DATABASES = {"calls", "votes"}


def main(arguments: list[str]) -> int:
    """Measure the wanted sections and return the exit status."""
    options = _parse(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as a worker does, before torch is imported
    models = Path(os.environ.get("HYPO_HOME") or ".hypo").absolute() / "models"
    kept = True
    if ON_DATABASES & set(options.only):
        from benchmarks.app import databases

        for kind in options.databases:
            kept &= databases.run(kind, options)
    if "label" in options.only:
        kept &= _label(options)
    if "batches" in options.only:
        kept &= _batches(options, models)
    return 0 if kept else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.app",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections")
    rows = parser.add_argument_group("calls and votes")
    known = ["sqlite", "postgresql"]
    rows.add_argument("--databases", nargs="+", choices=known, default=known)
    rows.add_argument("--share", type=float, default=1.0, help="how much of the rows to fill in")
    rows.add_argument("--rounds", type=int, default=20, help="how often each thing is called")
    rows.add_argument("--case", default="", help="only calls that have this in their name")
    rows.add_argument("--voting", type=float, default=60.0, help="seconds that people vote; 0: none")
    rows.add_argument("--url", default="", help="a PostgreSQL database to use, empty; else one is started")
    rows.add_argument(
        "--home", default="", help="a folder to keep; a database that is there is used as it is"
    )
    label = parser.add_argument_group("label")
    label.add_argument("--keys", type=int, default=40, help="comparisons that are judged")
    batches = parser.add_argument_group("batches")
    batches.add_argument("--model", type=Path, help="folder of the base model; else the demo model")
    batches.add_argument("--prompts", type=int, default=100, help="prompts of the campaign")
    batches.add_argument("--contenders", type=int, default=3, choices=[2, 3, 4], help="of the campaign")
    batches.add_argument("--tokens", type=int, default=64, help="tokens of an answer")
    return parser.parse_args(arguments)


def _label(options: argparse.Namespace) -> bool:
    from benchmarks.app import label
    from benchmarks.app.chromium import NoChromium
    from benchmarks.app.home import new_home

    try:
        with new_home():
            return label.run(keys=options.keys)
    except NoChromium as error:
        print(f"\nLabel page: not measured. {error}")
        return False


def _batches(options: argparse.Namespace, models: Path) -> bool:
    from benchmarks.answering import section
    from benchmarks.app.home import new_home
    from hypo_engine.errors import EngineError

    try:
        model = (options.model or section.demo_model(models)).absolute()
        with new_home():
            return section.run(
                model, prompts=options.prompts, contenders=options.contenders, tokens=options.tokens
            )
    except EngineError as error:
        print(f"\nBatches: not measured. {error}")
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
