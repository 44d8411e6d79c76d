"""Findings: a run's evaluations on held-out data in plain words.

Pure functions on points. Training batches contain different pairs, so a difference between two of them is
no evidence about the model. Only held-out values are compared, and only differences above two standard
errors are reported. At step 0 the policy is the reference, so its loss, margins and KL are fixed by
construction and excluded. Rewards are already relative to the reference and need no baseline.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.i18n import _
from hypo_engine.measures import ACCURACY, CUT, KL, LENGTH, LOSS, difference_stderr, mean, share

Point = tuple[float, float]
Curves = Mapping[str, Sequence[Point]]

STANDARD_ERRORS: Final = 2.0
"""Threshold for reporting a difference, in standard errors."""

FAR_KL: Final = 20.0
"""KL in nats per response above which samples count as far from the reference."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation about a run: a severity and a sentence."""

    level: Literal["good", "info", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """The mean of a metric in one evaluation, with its step, standard error and count."""

    step: int
    mean: float
    stderr: float
    count: float

    def exceeds(self, other: "Value") -> bool:
        """Whether this mean is significantly larger than another."""
        return self.mean - other.mean > STANDARD_ERRORS * difference_stderr(self.stderr, other.stderr)


def examine(curves: Curves, *, beta: float | None, kept: Collection[int] = ()) -> list[Finding]:
    """The findings on a run's evaluations, most serious first.

    Args:
        curves: points (step, value) by metric; the metrics in EXAMINED are read.
        beta: the run's beta, if its rewards are beta times log-ratios to the reference; otherwise None.
        kept: steps of the existing checkpoints.
    """
    found = [
        None if beta is None else _log_ratios(curves, beta),
        _accuracy(curves),
        _loss(curves, kept),
        _kl(curves),
        _length(curves),
        _cut(curves),
    ]
    order = {"warning": 0, "info": 1, "good": 2}
    return sorted((finding for finding in found if finding), key=lambda finding: order[finding.level])


def _values(curves: Curves, metric: str, count: str, *, since: int = 1) -> list[Value]:
    """The evaluations from a step on that have a finite value and standard error."""
    errors = dict(curves.get(f"{metric}_stderr", ()))
    counts = dict(curves.get(count, ()))
    return [
        Value(int(step), value, errors[step], counts[step])
        for step, value in curves.get(metric, ())
        if step >= since and step in errors and step in counts and math.isfinite(value + errors[step])
    ]


def _log_ratios(curves: Curves, beta: float) -> Finding | None:
    """The change of chosen and rejected log-probabilities against the reference, and their margin."""
    chosen = _last(curves, "eval_rewards/chosen")
    rejected = _last(curves, "eval_rewards/rejected")
    margin = _last(curves, "eval_rewards/margins")
    if chosen is None or rejected is None or margin is None:
        return None
    of = {"n": f"{margin.count:,.0f}", "step": f"{margin.step:,}"}
    if abs(margin.mean) <= STANDARD_ERRORS * margin.stderr:
        words = _(
            "The margin between chosen and rejected answers is {margin} nats on {n} held-out pairs at step "
            "{step}, which is within its error of zero.",
            margin=_nats(margin, beta),
            **of,
        )
        return Finding("info", words)
    moved = _(
        "Against the reference, on {n} held-out pairs at step {step}: chosen answers {chosen}, rejected ones "
        "{rejected} nats.",
        chosen=_nats(chosen, beta),
        rejected=_nats(rejected, beta),
        **of,
    )
    if margin.mean < 0:
        advice = _(
            "Chosen answers lost more: the model learns the opposite of the labels. Check which column is "
            "which."
        )
        return Finding("warning", f"{moved} {advice}")
    if chosen.mean < -STANDARD_ERRORS * chosen.stderr:
        normal = _("Both may fall: the loss only asks for the gap between them.")
        return Finding("info", f"{moved} {normal}")
    return Finding("good", moved)


def _last(curves: Curves, metric: str) -> Value | None:
    values = _values(curves, metric, "eval_num_pairs")
    return values[-1] if values else None


def _nats(value: Value, beta: float) -> str:
    text = mean(value.mean / beta, value.stderr / beta)
    return text if text.startswith("-") else f"+{text}"


def _accuracy(curves: Curves) -> Finding | None:
    counts = dict(curves.get(ACCURACY.count, ()))
    points = [(step, v) for step, v in curves.get(ACCURACY.metric, ()) if step > 0 and counts.get(step)]
    if not points:
        return None
    step, value = points[-1]
    count = counts[step]
    reached = {"share": share(value, count), "step": f"{step:,.0f}"}
    chance = 0.5 / math.sqrt(count)
    if abs(value - 0.5) <= STANDARD_ERRORS * chance:
        words = _(
            "Held-out accuracy is {share} at step {step}; with this many pairs that cannot be told from a "
            "coin toss.",
            **reached,
        )
        return Finding("info", words)
    words = _("Held-out accuracy is {share} at step {step}; a coin toss gives 50%.", **reached)
    return Finding("warning" if value < 0.5 else "good", words)


def _loss(curves: Curves, kept: Collection[int]) -> Finding | None:
    """A warning if the held-out loss rose again after its minimum."""
    values = _values(curves, LOSS.metric, LOSS.count)
    if len(values) < 2:
        return None
    last, best = values[-1], min(values, key=lambda value: value.mean)
    if not last.exceeds(best):
        return None
    rose = _(
        "The held-out loss rose from {least} at step {least_step} to {last} at step {last_step}.",
        least=mean(best.mean, best.stderr),
        least_step=f"{best.step:,}",
        last=mean(last.mean, last.stderr),
        last_step=f"{last.step:,}",
    )
    advice = (
        _("The checkpoint of step {step} was kept and is the better model.", step=f"{best.step:,}")
        if best.step in kept
        else _("Fewer steps or a lower learning rate help.")
    )
    return Finding("warning", f"{rose} {advice}")


def _kl(curves: Curves) -> Finding | None:
    values = _values(curves, KL.metric, KL.count)
    if not values:
        return None
    last, first = values[-1], values[0]
    at = {"kl": mean(last.mean, last.stderr), "n": f"{last.count:,.0f}", "step": f"{last.step:,}"}
    if last.mean - STANDARD_ERRORS * last.stderr <= FAR_KL:
        return Finding(
            "info",
            _("The KL to the reference is {kl} nats a response ({n} responses at step {step}).", **at),
        )
    if not last.exceeds(first):
        words = _(
            "The KL to the reference is {kl} nats a response ({n} responses at step {step}): what the model "
            "says is far from the reference.",
            **at,
        )
    else:
        words = _(
            "The KL to the reference is {kl} nats a response ({n} responses at step {step}), up from {first} "
            "at step {first_step}: what the model says is far from the reference.",
            first=mean(first.mean, first.stderr),
            first_step=f"{first.step:,}",
            **at,
        )
    advice = _("Read the samples; raise beta or kl_coef if they got worse.")
    return Finding("warning", f"{words} {advice}")


def _length(curves: Curves) -> Finding | None:
    """A warning if responses became much longer or shorter than at the first evaluation."""
    values = _values(curves, LENGTH.metric, LENGTH.count, since=0)
    if len(values) < 2 or values[0].mean <= 0:
        return None
    first, last = values[0], values[-1]
    drift = last.mean / first.mean - 1
    if abs(drift) < 0.4 or not (last.exceeds(first) or first.exceeds(last)):
        return None
    told = {
        "share": f"{abs(drift):.0%}",
        "first": mean(first.mean, first.stderr),
        "when": _("at step {n}", n=f"{first.step:,}") if first.step else _("before training"),
        "last": mean(last.mean, last.stderr),
        "step": f"{last.step:,}",
    }
    if drift > 0:
        words = _(
            "Responses to held-out prompts became {share} longer: {first} tokens {when}, {last} "
            "at step {step}.",
            **told,
        )
    else:
        words = _(
            "Responses to held-out prompts became {share} shorter: {first} tokens {when}, {last} "
            "at step {step}.",
            **told,
        )
    advice = _("The pairs may prefer length rather than quality.")
    return Finding("warning", f"{words} {advice}")


def _cut(curves: Curves) -> Finding | None:
    """A warning if most responses of the last evaluation, or else of the last training steps, were cut."""
    counts = dict(curves.get(CUT.count, ()))
    held_out = [(step, v) for step, v in curves.get(CUT.metric, ()) if step > 0 and counts.get(step)]
    if held_out:
        step, value = held_out[-1]
        words = _(
            "{share} of the responses to held-out prompts at step {step} were cut at the length limit.",
            share=share(value, counts[step]),
            step=f"{step:,.0f}",
        )
    else:
        online = list(curves.get("completions/clipped_ratio", ()))
        online = online[-max(1, len(online) // 5) :]
        if not online:
            return None
        value = sum(v for _step, v in online) / len(online)
        words = _cut_online(value, online[0][0], online[-1][0])
    if value < 0.5:
        return None
    return Finding("warning", f"{words} {_('Raise Completion tokens.')}")


def _cut_online(value: float, first: float, last: float) -> str:
    if first == last:
        return _(
            "{share} of the responses sampled at step {step} were cut at the length limit.",
            share=f"{value:.0%}",
            step=f"{last:,.0f}",
        )
    return _(
        "{share} of the responses sampled in steps {first} to {last} were cut at the length limit.",
        share=f"{value:.0%}",
        first=f"{first:,.0f}",
        last=f"{last:,.0f}",
    )


_MEANS = (
    "eval_rewards/chosen",
    "eval_rewards/rejected",
    "eval_rewards/margins",
    LOSS.metric,
    KL.metric,
    LENGTH.metric,
)
EXAMINED: Final = (
    *_MEANS,
    *(f"{metric}_stderr" for metric in _MEANS),
    *(ACCURACY.metric, ACCURACY.count, KL.count, CUT.metric, "completions/clipped_ratio"),
)
