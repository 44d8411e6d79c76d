"""Display of metrics: every headline number with its count or its standard error. No torch here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """One headline number: its metric, its title, and the metric of its standard error or count.

    Attributes:
        kind: ``share`` of ``count`` things, or a ``mean`` with a standard error.
        counted: Noun for what is counted, in the plural.
        least: Smallest count for which the number is meaningful.
    """

    metric: str
    label: str
    kind: Literal["share", "mean"]
    count: str
    counted: str
    unit: str = ""
    least: int = 1

    @property
    def stderr(self) -> str:
        """The metric that holds the standard error."""
        return f"{self.metric}_stderr"

    def text(self, metrics: Metrics) -> str:
        """The formatted number: ``92% (11/12)`` or ``8.8 ± 0.6``; a dash if there is none."""
        value = metrics.get(self.metric)
        if value is None or not math.isfinite(value):
            return "–"
        count = metrics.get(self.count)
        if count is not None and count < self.least:
            return f"– (n = {count:.0f})"
        if self.kind == "share":
            return share(value, count)
        return mean(value, metrics.get(self.stderr), count)


ACCURACY: Final = Measure(
    "eval_rewards/accuracies",
    label="Held-out accuracy",
    kind="share",
    count="eval_num_pairs",
    counted="held-out pairs",
)
MARGIN: Final = Measure(
    "eval_rewards/margins",
    label="Held-out margin",
    kind="mean",
    count="eval_num_pairs",
    counted="held-out pairs",
)
KL: Final = Measure(
    "eval_objective/kl",
    label="KL to the reference",
    kind="mean",
    count="eval_num_prompts",
    counted="sampled responses",
    unit="nats",
    least=2,
)
SCORE: Final = Measure(
    "eval_objective/scores",
    label="Score of held-out samples",
    kind="mean",
    count="eval_num_prompts",
    counted="sampled responses",
    least=2,
)
LOSS: Final = Measure(
    "eval_loss",
    label="Held-out loss",
    kind="mean",
    count="eval_num_pairs",
    counted="held-out pairs",
    unit="nats",
)
LENGTH: Final = Measure(
    "eval_completions/mean_length",
    label="Length of held-out samples",
    kind="mean",
    count="eval_num_prompts",
    counted="sampled responses",
    unit="tokens",
)
CUT: Final = Measure(
    "eval_completions/clipped_ratio",
    label="Held-out samples cut at the length limit",
    kind="share",
    count="eval_num_prompts",
    counted="sampled responses",
)
HEADLINES: Final = (ACCURACY, MARGIN, KL)
"""The numbers that lists and tables show for a run."""

MEASURES: Final = (*HEADLINES, SCORE, LOSS, LENGTH, CUT)


def pairs_left_out(metrics: Metrics) -> str:
    """A sentence on training pairs that were left out; "" if none were, or if it is unknown."""
    refused = int(metrics.get("num_train_pairs_refused", 0))
    long = int(metrics.get("num_train_pairs_too_long", 0))
    single = int(metrics.get("num_train_pairs_single", 0))
    without = refused + long + single
    if not without:
        return ""
    given = int(metrics.get("num_train_pairs", 0)) + without
    reasons = {
        "an answer is longer than the limit": long,
        "the chat template refuses the prompt": refused,
        "the row has one answer": single,
    }
    met = {reason: number for reason, number in reasons.items() if number}
    counted = [reason if len(met) == 1 else f"{reason} ({number:,})" for reason, number in met.items()]
    said = " or ".join(counted)
    if without == 1:
        return f"1 of {given:,} training pairs was left out: {said}."
    return f"{without:,} of {given:,} training pairs were left out: {said}."


def share(value: float, count: float | None) -> str:
    """A share with its counts: ``92% (11/12)``. A tie counts half, so halves occur."""
    if not count:
        return f"{value:.0%} (count unknown)"
    return f"{value:.0%} ({value * count:,.6g}/{count:,.0f})"


def mean(value: float, stderr: float | None, count: float | None = None) -> str:
    """A mean with its standard error, rounded to the error's digits: ``8.8 ± 0.6``."""
    if stderr is None or not math.isfinite(stderr):
        unknown = f"n = {count:.0f}" if count else "error unknown"
        return f"{value:,.2f} ({unknown})"
    digits = digits_of(stderr) if stderr else digits_of(abs(value) / 100)
    return f"{rounded(value, digits)} ± {rounded(stderr, digits)}"


def rounded(value: float, digits: int) -> str:
    """A number with a fixed number of decimals, and never minus zero."""
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def digits_of(stderr: float) -> int:
    """Decimals of a standard error: one significant digit, or two if the first is a 1."""
    if not stderr or not math.isfinite(stderr):
        return 0
    exponent = math.floor(math.log10(abs(stderr)))
    first = abs(stderr) * 10.0**-exponent
    return min(6, max(0, -exponent + int(first < 1.95)))


def difference_stderr(first: float, second: float) -> float:
    """Standard error of a difference of two independent means; too large if both are of the same pairs."""
    return math.hypot(first, second)
