"""The weights and margins of pairs in words."""

from collections.abc import Sequence

from app.i18n import _, _n
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Account, Pair
from hypo_engine.data.weights import Mean


def of_pair(pair: Pair) -> list[str]:
    """A pair's weight and margin, as far as it has them."""
    weight = [_("weight {number}", number=_number(pair.weight))] if pair.weight != 1 else []
    margin = [_("margin {number}", number=_number(pair.margin))] if pair.margin else []
    return [*weight, *margin]


def facts(account: Account, rows: int) -> dict[str, str]:
    """The weights and the margins of a dataset, by name; nothing without."""
    found = {_("Weights of pairs"): account.weights, _("Margins of pairs"): account.margins}
    return {
        name: _(
            "{n} of {rows}, {mean} on average", n=f"{said.pairs:,}", rows=f"{rows:,}", mean=_number(said.mean)
        )
        for name, said in found.items()
        if said.pairs
    }


def sentences(account: Account) -> list[str]:
    """A sentence on the weights of an import, and one on its margins."""
    weights, margins = account.weights, account.margins
    return [
        *([_weights(weights)] if weights.pairs else []),
        *([_margins(margins)] if margins.pairs else []),
    ]


def _weights(said: Mean) -> str:
    return _n(
        "{n} pair has a weight, {mean}.",
        "{n} pairs have weights, {mean} on average.",
        said.pairs,
        mean=_number(said.mean),
    )


def _margins(said: Mean) -> str:
    return _n(
        "{n} pair has a margin, {mean}.",
        "{n} pairs have margins, {mean} on average.",
        said.pairs,
        mean=_number(said.mean),
    )


def on_launch(account: Account, rows: int, configs: Sequence[TrainConfig]) -> list[str]:
    """What some runs make of the weights and margins of a dataset."""
    said: list[str] = []
    if account.weights.pairs:
        words = _n(
            "{n} of {rows} pairs has a weight of {mean}.",
            "{n} of {rows} pairs have weights, of mean {mean}.",
            account.weights.pairs,
            rows=f"{rows:,}",
            mean=_number(account.weights.mean),
        )
        ignored = [config.method.label for config in configs if not config.reads_weights]
        said.append(f"{words} {_ignored(ignored)}".strip())
    if account.margins.pairs and any(config.reads_margins for config in configs):
        said.append(
            _n(
                "{n} of {rows} pairs has a margin of {mean}; the reward model subtracts it.",
                "{n} of {rows} pairs have margins, of mean {mean}; the reward model subtracts them.",
                account.margins.pairs,
                rows=f"{rows:,}",
                mean=_number(account.margins.mean),
            )
        )
    return said


def _ignored(methods: Sequence[str]) -> str:
    if not methods:
        return ""
    return _("Not read by: {methods}.", methods=", ".join(_(method) for method in methods))


def _number(value: float) -> str:
    return f"{value:.4g}"
