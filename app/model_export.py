"""A run's model as a whole: a folder for transformers, or a GGUF file. A child process loads torch."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from app import artifacts
from app.errors import Refused
from app.model_card import Form, model_card
from app.settings import get_settings
from app.store import datasets, run_checkpoints, runs, starts
from app.store.contenders import REWARD
from app.store.db import read_session
from app.store.enums import Split
from app.store.models import Checkpoint, Run
from app.store.starts import Chain

CANDIDATES: Final = 64
"""Pairs handed to the check, which takes the first few that the run can read."""

_QUIET: Final = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A written and checked export.

    Attributes:
        answers: Stored answers whose log-probabilities were compared with the run's.
        difference: The largest difference, in nats a token.
    """

    folder: Path
    answers: int
    difference: float


def export_model(run_id: int, output: Path, form: Form) -> Exported:
    """Write a run's model with its model card to a new folder, which appears when it is whole and checked.

    What was written is loaded again, and its log-probabilities are compared with the run's own.

    Raises:
        NotFound: for a run that does not exist.
        Refused: for a run without a checkpoint, a reward model, a folder that is in use, a model that cannot
            be written in this form, a full disk, and a result that differs from the run's model.
    """
    artifacts.refuse_used_folder(output)
    output = output.absolute()
    with read_session() as session:
        wanted = _read(run_id, form, session=session)
    with _scratch(output) as scratch:
        checked = _run(_job(wanted, form, scratch), scratch)
        (scratch / "model" / "README.md").write_text(wanted.card, encoding="utf-8")
        if output.exists():
            output.rmdir()  # empty, as checked above
        (scratch / "model").rename(output)
    return Exported(output, checked["answers"], checked["difference"])


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """A folder beside the output, on the same file system, that is deleted at the end."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise Refused(
            f"{output.parent} cannot be written to ({error.strerror}); give another folder."
        ) from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the database holds about a run that is exported."""

    run: Run
    checkpoint: Checkpoint
    chain: Chain
    pairs: list[dict[str, Any]]
    card: str


def _read(run_id: int, form: Form, *, session: Session) -> _Wanted:
    run = runs.get(run_id, session=session)
    if run.method == REWARD:
        raise Refused(
            f"Run {run_id} trained a reward model, which the plain export writes merged; leave --{form} out."
        )
    checkpoint = run_checkpoints.last(run_id, session=session)
    if checkpoint is None:
        raise Refused(f"Run {run_id} has no checkpoint yet; wait for it to finish, then export it.")
    card = model_card(run, runs.final_metrics(run_id, session=session), checkpoint.step, form)
    chain = starts.chain(run.base_model, session=session)
    return _Wanted(run, checkpoint, chain, _pairs(run.dataset_id, session=session), card)


def _job(wanted: _Wanted, form: Form, scratch: Path) -> dict[str, Any]:
    """What the child process is asked for; the files that it needs are fetched."""
    base: str | None = None
    adapters: list[Path] = []
    if wanted.chain.runs:
        base, adapters = artifacts.fetch_chain(wanted.chain, scratch / "base")
    return {
        "config": wanted.run.config,
        "checkpoint": str(artifacts.fetch_policy(wanted.checkpoint.path, scratch / "checkpoint")),
        "base": base,
        "base_adapters": [str(folder) for folder in adapters],
        "pairs": wanted.pairs,
        "output": str(scratch / "model"),
        "gguf": form is Form.GGUF,
        "name": wanted.run.name,
        "models_dir": str(get_settings().models_dir.absolute()),
    }


def _pairs(dataset_id: int, *, session: Session) -> list[dict[str, Any]]:
    """Pairs of a dataset to check an export on, held-out ones first; a single answer stands on both sides."""
    found: list[dict[str, Any]] = []
    for split in (Split.HELD_OUT, Split.TRAIN):
        pairs = datasets.iter_pairs(dataset_id, session=session, split=split)
        found += [
            {"prompt": pair.prompt, "chosen": pair.answers[0], "rejected": pair.answers[-1]}
            for pair in islice(pairs, CANDIDATES - len(found))
        ]
    return found


def _run(job: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Let a child process do a job; returns its check.

    Raises:
        Refused: with the child's sentence.
    """
    file = scratch / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, "-m", "hypo_engine.export_model", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | _QUIET, check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == 1 and lines and not lines[-1].startswith(" ") and "Traceback" not in done.stderr:
        raise Refused(lines[-1])
    if done.returncode != 0:
        last = f" It said: {lines[-1][:300]}" if lines else ""
        raise Refused(
            f"The export stopped unexpectedly (exit status {done.returncode}); nothing was kept.{last}"
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))
