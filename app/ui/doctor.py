"""The preference doctor: what the curves mean, in plain words. Pure functions on points, no plotting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Curves = Mapping[str, Sequence[Point]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a run: how serious it is, and a sentence."""

    level: Literal["good", "info", "warning"]
    text: str


def examine(curves: Curves) -> list[Finding]:
    """What stands out in a run's curves, the serious first; curves are keyed by metric."""
    found = [
        finding
        for check in (_loss, _log_probabilities, _held_out, _kl, _length, _cut)
        if (finding := check(curves)) is not None
    ]
    order = {"warning": 0, "info": 1, "good": 2}
    return sorted(found, key=lambda finding: order[finding.level])


def _ends(points: Sequence[Point], share: float = 0.2) -> tuple[float, float] | None:
    """Means of the first and the last fifth of a curve; None for less than eight points."""
    values = [value for _, value in points]
    if len(values) < 8:
        return None
    window = max(1, int(len(values) * share))
    return sum(values[:window]) / window, sum(values[-window:]) / window


def _change(curves: Curves, held_out: str, train: str) -> tuple[float, float] | None:
    """Start and end of the held-out curve where it has two points, of the training curve otherwise."""
    held = curves.get(held_out, ())
    if len(held) >= 2:
        return held[0][1], held[-1][1]
    return _ends(curves.get(train, ()))


def _loss(curves: Curves) -> Finding | None:
    values = [value for _, value in curves.get("loss", ())]
    if any(value != value for value in values):
        return Finding("warning", "The loss is not a number: lower the learning rate and start again.")
    ends = _ends(curves.get("loss", ()))
    if ends and ends[1] > ends[0] + 0.05 and ends[1] > 0.75:
        return Finding(
            "warning",
            f"The loss rose from {ends[0]:.2f} to {ends[1]:.2f}; 0.69 is where an untrained model starts. "
            "The learning rate is probably too high.",
        )
    return None


def _log_probabilities(curves: Curves) -> Finding | None:
    chosen = _change(curves, "eval_logps/chosen", "logps/chosen")
    rejected = _change(curves, "eval_logps/rejected", "logps/rejected")
    if chosen is None or rejected is None:
        return None
    up, other = chosen[1] - chosen[0], rejected[1] - rejected[0]
    if up >= 0:
        return Finding(
            "good", f"Chosen answers became likelier ({up:+.1f} nats), rejected ones {other:+.1f}."
        )
    if up <= other:
        return Finding(
            "warning",
            f"Chosen answers lost more probability ({up:+.1f} nats) than rejected ones ({other:+.1f}): "
            "the model learns the opposite of the labels. Check which column is which.",
        )
    if up < -0.25 * abs(chosen[0]):
        return Finding(
            "warning",
            f"Chosen answers lost {-up:.1f} of {abs(chosen[0]):.1f} nats: the model moves away from the data "
            "altogether. Raise beta, lower the learning rate, or let HyPO's kl_coef hold it.",
        )
    return Finding(
        "info",
        f"Chosen answers became less likely ({up:+.1f} nats), rejected ones more so ({other:+.1f}). "
        "That is normal: the loss only asks for the gap between them.",
    )


def _held_out(curves: Curves) -> Finding | None:
    margins = curves.get("rewards/margins", ())
    # before the first step every margin is zero and none counts as right: that is a coin toss, not 0%
    accuracies = [(at, value if at else 0.5) for at, value in curves.get("eval_rewards/accuracies", ())]
    ends = _ends(margins)
    train = _ends(curves.get("rewards/accuracies", ()))
    if ends is None or len(accuracies) < 2:
        return None
    gained = accuracies[-1][1] - accuracies[0][1]
    best = max(value for _, value in accuracies)
    if train and train[1] > 0.9 and train[1] - accuracies[-1][1] > 0.2:
        return Finding(
            "warning",
            f"Pairs of the training set are told apart in {train[1]:.0%} of cases, held-out ones in "
            f"{accuracies[-1][1]:.0%}: the run memorises. Fewer epochs or a smaller LoRA rank help.",
        )
    if best - accuracies[-1][1] > 0.1:
        return Finding(
            "warning",
            f"Held-out accuracy was {best:.0%} and fell back to {accuracies[-1][1]:.0%}: an earlier "
            "checkpoint is the better model.",
        )
    if ends[1] > ends[0] + 0.1 and gained <= 0.02:
        return Finding(
            "warning",
            "The margin grows while held-out accuracy stays where it was: the run gets surer, not better.",
        )
    reached = accuracies[-1][1]
    level: Literal["good", "info"] = "good" if reached > 0.55 else "info"
    return Finding(level, f"Held-out accuracy is {reached:.0%}; a coin toss gives 50%.")


def _kl(curves: Curves) -> Finding | None:
    points = curves.get("eval_objective/kl", ()) or curves.get("objective/kl", ())
    if len(points) < 2:
        return None
    values = [value for _, value in points]
    last, middle = values[-1], values[len(values) // 2]
    if last > 20 or (last > 5 and last > 2.5 * max(middle, 0.5)):
        return Finding(
            "warning",
            f"The KL to the reference is {last:.1f} nats a response and growing: what the model says is far "
            "from the base model. Read the samples; raise beta or kl_coef if they got worse.",
        )
    return Finding("info", f"The KL to the reference is {last:.1f} nats a response.")


def _length(curves: Curves) -> Finding | None:
    ends = _ends(curves.get("completions/mean_length", ()))
    if ends is None or ends[0] <= 0:
        return None
    drift = ends[1] / ends[0] - 1
    if abs(drift) < 0.4:
        return None
    word = "longer" if drift > 0 else "shorter"
    return Finding(
        "warning",
        f"Sampled responses became {abs(drift):.0%} {word} ({ends[0]:.0f} to {ends[1]:.0f} tokens): "
        "the pairs may prefer length rather than quality.",
    )


def _cut(curves: Curves) -> Finding | None:
    ends = _ends(curves.get("completions/clipped_ratio", ()))
    if ends is None or ends[1] < 0.5:
        return None
    return Finding(
        "warning",
        f"{ends[1]:.0%} of the sampled responses were cut at the length limit; raise Completion tokens.",
    )


DOCTOR_NAMES = (
    "loss",
    "logps/chosen",
    "logps/rejected",
    "eval_logps/chosen",
    "eval_logps/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "eval_rewards/accuracies",
    "objective/kl",
    "eval_objective/kl",
    "completions/mean_length",
    "completions/clipped_ratio",
)
