"""A fixed random sample of answers: a hash chooses the prompts, so reading a report again shows the same."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.reports.reading import CampaignPart, Experiment
from app.store import comparisons, generations
from app.store.db import read_session
from app.store.enums import GenerationKind, GenerationStatus
from app.store.models import Comparison, Generation, Run
from app.store.prompts import canonical

PROMPTS: Final = 4
"""Prompts of a sample."""
MOST_PROBES: Final = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a model. `step` is that of the run, for an answer to a probe prompt."""

    name: str
    method: str
    run_id: int | None
    step: int | None
    answer: Generation


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt with the models' answers."""

    prompt: Any
    replies: Sequence[Reply]


@dataclass(frozen=True, slots=True)
class Sample:
    """Some prompts of many, with their answers.

    Attributes:
        campaign_id: the campaign that they are of; None for the probe prompts of the runs.
        of: the number of prompts from which they were drawn.
    """

    campaign_id: int | None
    of: int
    exchanges: Sequence[Exchange]


def draw(found: Experiment) -> list[Sample]:
    """Samples of the runs' probe answers, and of the campaigns whose names the reader has seen."""
    with read_session() as session:
        probes = _probes(found.report.id, found.runs, session)
        asked = [
            _of_campaign(found.report.id, part, session) for part in found.campaigns if part.board is not None
        ]
    return [sample for sample in [probes, *asked] if sample.exchanges]


def _place(report_id: int, key: object) -> str:
    """Orders the prompts of a report at random, the same way each time."""
    return hashlib.sha256(f"{report_id}:{key}".encode()).hexdigest()


def _probes(report_id: int, found: Sequence[Run], session: Session) -> Sample:
    """Answers to probe prompts at each run's last evaluation; prompts that more runs answered come first."""
    replies: dict[str, list[Reply]] = {}
    prompts: dict[str, Any] = {}
    for run in found:
        for row in _last_probes(run, session):
            key = canonical(row.prompt.content)
            prompts[key] = row.prompt.content
            replies.setdefault(key, []).append(Reply(run.name, run.method, run.id, row.step, row))
    chosen = sorted(replies, key=lambda key: (-len(replies[key]), _place(report_id, key)))[:PROMPTS]
    return Sample(None, len(replies), [Exchange(prompts[key], replies[key]) for key in chosen])


def _last_probes(run: Run, session: Session) -> Iterable[Generation]:
    kind = GenerationKind.PROBE
    steps = generations.steps_of_run(run.id, session=session, kind=kind)
    if not steps:
        return []
    return generations.of_run(run.id, session=session, kind=kind, step=steps[-1], limit=MOST_PROBES)


def _of_campaign(report_id: int, part: CampaignPart, session: Session) -> Sample:
    query = select(Comparison.id).where(Comparison.campaign_id == part.id, Comparison.source_id.is_(None))
    sources = session.scalars(query).all()
    chosen = sorted(sources, key=lambda source: _place(report_id, source))[:PROMPTS]
    exchanges = [_exchange(source, session) for source in chosen]
    return Sample(part.id, len(sources), [one for one in exchanges if one.replies])


def _exchange(source: int, session: Session) -> Exchange:
    """A campaign's prompt, with the answers that are finished, in the order of the contenders."""
    comparison = comparisons.get(source, session=session)
    contenders = {one.position: one for one in comparison.conversation.contenders}
    rows = sorted(comparisons.answers(source, session=session), key=lambda row: row.position or 0)
    replies = [
        Reply(contender.name, contender.method, contender.run_id, None, row)
        for row in rows
        if row.status is GenerationStatus.FINISHED and (contender := contenders[row.position or 0])
    ]
    prompt = [*(comparison.conversation.opening or []), {"role": "user", "content": comparison.question}]
    return Exchange(prompt, replies)
