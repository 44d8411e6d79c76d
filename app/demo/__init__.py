"""The demo: preference pairs and prompts written for this project, and the experiment on them."""

import json
from functools import lru_cache
from importlib.resources import as_file, files

from sqlalchemy import select

from app.imports import add_dataset
from app.launch import launch
from app.launch_methods import DEFAULT
from app.presets import PRESETS
from app.store import datasets
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run

DATASET = "demo-summaries"
EXPERIMENT = "Demo"


@lru_cache(maxsize=1)
def held_out_questions() -> list[str]:
    """Prompts for the compare page on which no run trains."""
    lines = (files(__name__) / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prompt"][-1]["content"] for line in lines]


def ensure_dataset() -> int:
    """The id of the demo dataset, which is added if missing."""
    with read_session() as session:
        known = datasets.versions_of(DATASET, session=session)
    if known:
        return known[0].id
    with as_file(files(__name__) / "pairs.jsonl") as path:
        added = add_dataset(path=path, name=DATASET, source="demo", held_out=0.1)
    return added.id


def ensure_experiment() -> list[int]:
    """Ids of the demo's DPO and HyPO run, which are queued unless a usable pair of twins exists."""
    dataset_id = ensure_dataset()
    with read_session() as session:
        query = (
            select(Run)
            .where(
                Run.dataset_id == dataset_id,
                Run.name.startswith(f"{EXPERIMENT} · "),
                Run.status.not_in([RunStatus.FAILED, RunStatus.CANCELLED]),
            )
            .order_by(Run.id.desc())
        )
        known = session.scalars(query).all()
    for run in known:
        twins = [twin.id for twin in known if twin.twin_group == run.twin_group]
        if len(twins) == 2:
            return sorted(twins)
    queued = launch(DEFAULT, dataset_id, PRESETS["demo"].values, name=EXPERIMENT)
    return [run.id for run in queued]
