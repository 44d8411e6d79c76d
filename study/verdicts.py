"""The four hypotheses, each with a verdict computed from the files of the runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from app.ui.study.words import HYPOTHESES
from study.compare import Array, Curve, Estimate, Verdict, bootstrap, drop, kl_gap, overvalued
from study.curves import alone, array, grouped, of_families, seeds_of
from study.measure import Result
from study.regimes import Regime

NARROW_REGIMES: Final = (Regime.PARTIAL, Regime.OFF_POLICY)
_NONE: Final = Estimate(np.nan, np.nan, np.nan)


@dataclass(frozen=True, slots=True)
class Part:
    """The number of one regime, and of each seed alone."""

    regime: str
    estimate: Estimate
    seeds: Sequence[float]


@dataclass(frozen=True, slots=True)
class Judged:
    """A hypothesis with its verdict; `unit` is that of the estimates."""

    key: str
    text: str
    verdict: Verdict
    estimate: Estimate
    unit: str
    parts: Sequence[Part]

    def told(self) -> dict[str, Any]:
        """As JSON: numbers that are not defined are None."""
        told: dict[str, Any] = _plain(asdict(self))
        return told


def judge(results: Sequence[Result]) -> list[Judged]:
    """All hypotheses. One whose runs are not there is `not measured`."""
    gaps = {regime: of_families(results, regime, ("DPO", "HyPO")) for regime in Regime}
    return [_h1(gaps), _h2(gaps), _h3(results), _h4(results)]


Gaps = dict[Regime, dict[str, list[Curve]]]


def _h1(gaps: Gaps) -> Judged:
    known = [regime for regime in NARROW_REGIMES if gaps[regime]]
    parts = [_part(regime, gaps[regime]["DPO"], gaps[regime]["HyPO"]) for regime in known]
    if len(known) < len(NARROW_REGIMES):
        return _judged("H1", _NONE, "nats", parts, "not_measured")

    def mean_gap(weights: Array) -> float:
        return float(np.mean([_gap(gaps, regime, weights) for regime in known]))

    estimate = bootstrap(mean_gap, _prompts(gaps[known[0]]["DPO"]))
    return _judged("H1", estimate, "nats", parts, _together([part.estimate for part in parts]))


def _together(estimates: Sequence[Estimate]) -> Verdict:
    """The verdict of a sentence about several regimes: what all of them show."""
    verdicts = {one.verdict for one in estimates}
    return verdicts.pop() if len(verdicts) == 1 else "undecided"


def _h2(gaps: Gaps) -> Judged:
    if not all(gaps.values()):
        return _judged("H2", _NONE, "nats", [], "not_measured")

    def closing(weights: Array) -> float:
        narrow = np.mean([_gap(gaps, regime, weights) for regime in NARROW_REGIMES])
        return float(narrow - _gap(gaps, Regime.FULL, weights))

    full = _part(Regime.FULL, gaps[Regime.FULL]["DPO"], gaps[Regime.FULL]["HyPO"])
    estimate = bootstrap(closing, _prompts(gaps[Regime.FULL]["DPO"]))
    verdict = estimate.verdict
    if verdict == "supported" and full.estimate.verdict == "supported":
        verdict = "undecided"  # the gap is smaller there, and still a gap
    return _judged("H2", estimate, "nats", [full], verdict)


def _h3(results: Sequence[Result]) -> Judged:
    found = {regime: of_families(results, regime, ("DPO",)).get("DPO", []) for regime in Regime}
    known = {regime: curves for regime, curves in found.items() if curves}
    parts = [
        Part(
            regime.value,
            bootstrap(lambda weights, of=curves: drop(of, weights), _prompts(curves)),  # type: ignore[misc]
            [drop(alone(curves, seed), _equal(_prompts(curves))) for seed in seeds_of(curves)],
        )
        for regime, curves in known.items()
    ]
    if not known:
        return _judged("H3", _NONE, "gold", [], "not_measured")

    def mean_drop(weights: Array) -> float:
        return float(np.mean([drop(curves, weights) for curves in known.values()]))

    estimate = bootstrap(mean_drop, _prompts(next(iter(known.values()))))
    return _judged("H3", estimate, "gold", parts, estimate.verdict)


def _h4(results: Sequence[Result]) -> Judged:
    found = {key[1]: runs for key, runs in grouped(results).items() if runs[0]["family"] == "RLOO"}
    scores = {
        regime: (array(runs, "proxy"), array(runs, "gold"))
        for regime, runs in found.items()
        if all(run["steps"][0]["proxy"] for run in runs)
    }
    if not scores:
        return _judged("H4", _NONE, "deviations", [], "not_measured")
    prompts = next(iter(scores.values()))[0].shape[2]
    equal = _equal(prompts)

    def mean_gap(weights: Array, regimes: Sequence[str] = tuple(scores)) -> float:
        return float(np.mean([overvalued(*scores[regime], weights) for regime in regimes]))

    parts = [
        Part(
            regime,
            bootstrap(partial(mean_gap, regimes=[regime]), prompts),
            [overvalued(proxy[[at]], gold[[at]], equal) for at in range(len(proxy))],
        )
        for regime, (proxy, gold) in scores.items()
    ]
    estimate = bootstrap(mean_gap, prompts)
    return _judged("H4", estimate, "deviations", parts, estimate.verdict)


def _gap(gaps: Gaps, regime: Regime, weights: Array) -> float:
    return kl_gap(gaps[regime]["DPO"], gaps[regime]["HyPO"], weights)


def _part(regime: Regime, dear: Sequence[Curve], cheap: Sequence[Curve]) -> Part:
    prompts = _prompts(dear)
    estimate = bootstrap(lambda weights: kl_gap(dear, cheap, weights), prompts)
    shared = set(seeds_of(dear)) & set(seeds_of(cheap))
    seeds = [kl_gap(alone(dear, seed), alone(cheap, seed), _equal(prompts)) for seed in sorted(shared)]
    return Part(regime.value, estimate, seeds)


def _prompts(curves: Sequence[Curve]) -> int:
    return int(curves[0].gold.shape[2])


def _equal(prompts: int) -> Array:
    return np.full(prompts, 1 / prompts)


def _judged(key: str, estimate: Estimate, unit: str, parts: Sequence[Part], verdict: Verdict) -> Judged:
    return Judged(key, HYPOTHESES[key], verdict, estimate, unit, parts)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
