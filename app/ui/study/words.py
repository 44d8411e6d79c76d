"""The study's hypotheses and names in words. The hypotheses do not change after the first run."""

from collections.abc import Mapping
from typing import Final

from app.i18n import N_

HYPOTHESES: Final[Mapping[str, str]] = {
    "H1": N_("At equal gold reward, HyPO's KL is lower than DPO's in the partial and the off-policy regime."),
    "H2": N_("That gap closes in the full regime."),
    "H3": N_("DPO's gold reward bends down along KL."),
    "H4": N_("RLOO shows a gap between the proxy reward that it maximises and the gold reward."),
}

VERDICTS: Final[Mapping[str, str]] = {
    "supported": N_("supported"),
    "not_supported": N_("not supported"),
    "undecided": N_("undecided"),
    "not_measured": N_("not measured"),
}

REGIMES: Final[Mapping[str, str]] = {
    "full": N_("full: pairs of the reference's own answers"),
    "partial": N_("partial: pairs of its short answers in one sentence"),
    "off-policy": N_("off-policy: pairs of another writer's answers"),
}

REGIME_NAMES: Final[Mapping[str, str]] = {
    "full": N_("full"),
    "partial": N_("partial"),
    "off-policy": N_("off-policy"),
}

MEASURED: Final[Mapping[str, str]] = {
    "H1": N_("Nats that DPO needs more than HyPO for the same gold reward, between the two frontiers."),
    "H2": N_("Nats by which that gap is larger in the other two regimes than in the full one."),
    "H3": N_("Fall of the gold reward from its peak to DPO's point with the most KL."),
    "H4": N_(
        "How much further the proxy rose than the gold reward, in deviations of the reference's answers."
    ),
}
"""The number by which each hypothesis is judged: it is supported if the 95% interval is above 0."""
