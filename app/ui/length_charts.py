"""Token lengths of a dataset as HTML: the distribution, and the pairs that the limits keep."""

from collections.abc import Sequence
from typing import Final

from app.i18n import N_, _, _n
from app.lengths import TokenLengths, quantile
from app.templates import render
from app.ui import widgets
from app.ui.widgets import Html

BARS: Final = 32
SHARES: Final = ((0.5, N_("median")), (0.9, "90%"), (1.0, N_("longest")))


def under_limits(lengths: TokenLengths, max_prompt: int, max_completion: int) -> Html:
    """For the launch form: the effect of the length limits, and the distribution of lengths."""
    kept = lengths.kept(max_completion)
    words = _n(
        "{limit} completion tokens keep {share}: {kept} of {n} training pair. "
        "{prompt_limit} prompt tokens trim {trimmed} of the prompts.",
        "{limit} completion tokens keep {share}: {kept} of {n} training pairs. "
        "{prompt_limit} prompt tokens trim {trimmed} of the prompts.",
        lengths.pairs,
        limit=f"{max_completion:,}",
        share=f"{kept / lengths.pairs:.0%}",
        kept=f"{kept:,}" if lengths.complete else _("about {n}", n=f"{kept:,}"),
        prompt_limit=f"{max_prompt:,}",
        trimmed=f"{lengths.trimmed(max_prompt):.0%}",
    )
    return _section(lengths, _charts(lengths, max_prompt, max_completion), lead=words)


def distribution(lengths: TokenLengths, model: str) -> Html:
    """For a dataset's page: the distribution of lengths, and the pairs that common limits keep."""
    limits = [64, 128, 256, 512, 1024, 2048]
    longest = max(lengths.completions)
    shown = [limit for limit in limits if limit < longest] + [longest]
    kept = widgets.table(
        [_("Completion tokens"), _("Pairs kept"), _("Share")],
        [
            (f"{limit:,}", f"{lengths.kept(limit):,}", f"{lengths.kept(limit) / lengths.pairs:.0%}")
            for limit in shown
        ],
        caption=_("What a limit of completion tokens keeps"),
        numeric=(0, 1, 2),
        stack=False,
    )
    note = _(
        "Counted with the tokenizer of {model}; the longer answer of a pair decides whether it is kept.",
        model=model,
    )
    return _section(lengths, _charts(lengths), note=note, table=kept)


def _section(
    lengths: TokenLengths,
    charts: Sequence[Html],
    *,
    lead: str = "",
    note: str = "",
    table: Html = widgets.NOTHING,
) -> Html:
    sample = _("Prompts are counted without the tokens of a chat template.")
    if not lengths.complete:
        measured = _("Measured on a sample of {n} pairs.", n=f"{len(lengths.prompts):,}")
        sample = f"{measured} {sample}"
    return render("widgets/lengths.html", lead=lead, charts=charts, note=note, table=table, sample=sample)


def _charts(
    lengths: TokenLengths, max_prompt: int | None = None, max_completion: int | None = None
) -> list[Html]:
    return [
        _chart(_("Prompts"), lengths.prompts, max_prompt),
        _chart(_("Longer answers"), lengths.completions, max_completion),
    ]


def _chart(title: str, values: Sequence[int], limit: int | None) -> Html:
    """A histogram with pale bars beyond the limit; the last bar collects the longest 1%."""
    end = max(quantile(values, 0.99), 1)
    width = -(-end // BARS) or 1
    counts = [0] * BARS
    for value in values:
        counts[min(max(value - 1, 0) // width, BARS - 1)] += 1
    most = max(counts)
    bars = [
        {
            "css": "hy-beyond" if limit is not None and bar * width >= limit else "hy-within",
            "height": 50 * count / most,
        }
        for bar, count in enumerate(counts)
    ]
    quantiles = ", ".join(f"{_(name)} {quantile(values, share):,}" for share, name in SHARES)
    return render(
        "widgets/length_chart.html",
        title=title,
        quantiles=quantiles,
        label=_("Lengths of {what}: {quantiles} tokens", what=title.lower(), quantiles=quantiles),
        bars=bars,
        end=f"{BARS * width:,}",
    )
