"""From a finished run to the small file of what it measured.

The engine's evaluations give samples, their log-ratios and scores; here they get gold rewards. The values are
kept for each prompt, so that everything in the report can be computed from the files.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from app.store import generations, metrics, run_events, runs
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind
from app.store.models import Generation, Run
from study.execution import Spent
from study.gold import gold, words_of
from study.plan import PlannedRun
from study.prompts import questions
from study.regimes import is_narrow

GOLD_METRIC: Final = "eval_gold"
MEMORY_METRIC: Final = "process_memory"
PROCESSOR_METRIC: Final = "process_seconds"
SAMPLES_KEPT: Final = 4
DIGITS: Final = 4
_MOST: Final = 100_000
_NAMES: Final = ("eval_logps/chosen", "eval_logps/rejected", "eval_rewards/accuracies")

Result = dict[str, Any]
"""What a run measured; docs/study.md lists the keys."""


def measure(planned: PlannedRun, run_id: int, digest: str, spent: Spent | None) -> Result:
    """Read a finished run from the store, and store the means of its gold rewards as a metric of the run."""
    with read_session() as session:
        run, final = runs.get(run_id, session=session), runs.final_metrics(run_id, session=session)
        steps = [] if run.method == "reward" else _steps(run, session)
        stopped = _was_stopped(run, session)
        processor = spent.processor if spent else final.get(PROCESSOR_METRIC)
        result = {
            "name": planned.name,
            "setting": planned.setting.name,
            "family": planned.setting.family,
            "regime": planned.regime.value,
            "seed": planned.seed,
            "digest": digest,
            "run": run.id,
            "config": run.config,
            "seconds": None if stopped else _seconds(run, session),
            "step_seconds": _step_seconds(run, session),
            "memory": spent.memory if spent else final.get(MEMORY_METRIC),
            "processor_seconds": None if stopped else processor,
            "device": run.device,
            "final": final,
            "steps": [one for one, _ in steps],
            "samples": _examples([samples for _, samples in steps]),
        }
    with write_session() as session:
        if spent:
            cost = {MEMORY_METRIC: float(spent.memory), PROCESSOR_METRIC: spent.processor}
            metrics.record(run_id, session=session, step=run.total_steps, values=cost)
        for one, _ in steps:
            mean = sum(one["gold"]) / len(one["gold"])
            metrics.record(run_id, session=session, step=one["step"], values={GOLD_METRIC: mean})
    return result


def read_result(path: Path) -> Result | None:
    """A file's result; None if there is none or the file is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"name", "digest", "steps"} <= found.keys() else None


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result; the file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, ensure_ascii=False, indent=None) + "\n", encoding="utf-8")
    partial.replace(path)


def of_step(
    step: int,
    topics: Sequence[str],
    samples: Sequence[Generation],
    reference: Sequence[float],
    logged: Mapping[str, float],
) -> Result:
    """The measurements of one evaluation, with a value for each prompt where there is one.

    Args:
        reference: the gold rewards at step 0, for the same prompts in the same order.
        logged: the engine's metrics of the step.
    """
    golds = [gold(topic, one.text).total for topic, one in zip(topics, samples, strict=True)]
    against = reference or golds
    return {
        "step": step,
        "gold": _rounded(golds),
        "kl": _rounded([one.log_ratio or 0.0 for one in samples]),
        "proxy": _rounded([one.score for one in samples if one.score is not None]),
        "win": [_win(own, other) for own, other in zip(golds, against, strict=True)],
        "tokens": [one.tokens or 0 for one in samples],
        "end": [int(bool(one.complete)) for one in samples],
        "outside": [int(not is_narrow(one.text)) for one in samples],
        "distinct2": round(distinct2([one.text for one in samples]), DIGITS),
        **{name.removeprefix("eval_"): round(logged[name], DIGITS) for name in _NAMES if name in logged},
    }


def distinct2(texts: Sequence[str]) -> float:
    """Different pairs of neighbouring words over all pairs, in all texts together."""
    pairs = [pair for text in texts if (words := words_of(text.lower())) for pair in pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def _steps(run: Run, session: Session) -> list[tuple[Result, Sequence[Generation]]]:
    kind = GenerationKind.EVAL
    topics = {one.text: one.topic for one in questions()}
    series = metrics.series([run.id], _NAMES, session=session)
    found: list[tuple[Result, Sequence[Generation]]] = []
    for step in generations.steps_of_run(run.id, session=session, kind=kind):
        samples = generations.of_run(run.id, session=session, kind=kind, step=step, limit=_MOST)
        named = [topics[prompt_of(one)] for one in samples]
        logged = {name: dict(series.get((run.id, name), ())).get(step) for name in _NAMES}
        known = {name: value for name, value in logged.items() if value is not None}
        first = found[0][0]["gold"] if found else []
        found.append((of_step(step, named, samples, first, known), samples))
    return found


def prompt_of(sample: Generation) -> str:
    """The text of a sample's prompt."""
    assert sample.prompt is not None
    content: Any = sample.prompt.content
    return str(content if isinstance(content, str) else content[-1]["content"])


def _examples(by_step: Sequence[Sequence[Generation]]) -> list[dict[str, str]]:
    """The first prompts with the reference's answer and the last one."""
    if not by_step:
        return []
    pairs = zip(by_step[0][:SAMPLES_KEPT], by_step[-1][:SAMPLES_KEPT], strict=True)
    return [{"prompt": prompt_of(a), "reference": a.text, "answer": b.text} for a, b in pairs]


def _was_stopped(run: Run, session: Session) -> bool:
    """Whether a run was stopped and went on later, so that what it took as a whole is not known."""
    return any(
        event.message.startswith("Continuing from") for event in run_events.of_run(run.id, session=session)
    )


def _seconds(run: Run, session: Session) -> float | None:
    """Seconds from a run's last start to its end, with evaluations."""
    events = run_events.of_run(run.id, session=session)
    began = [event.at for event in events if event.message.startswith("Started by")]
    if not began or run.finished_at is None:
        return None
    return round((run.finished_at - began[-1]).total_seconds(), 1)


def _step_seconds(run: Run, session: Session) -> float | None:
    """Mean seconds of an optimiser step, without evaluations."""
    points = metrics.series([run.id], ["step_time"], session=session).get((run.id, "step_time"), [])
    return round(sum(value for _, value in points) / len(points), DIGITS) if points else None


def _win(own: float, other: float) -> float:
    return 0.5 if own == other else float(own > other)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, DIGITS) for value in values]
