"""Token lengths of a dataset as HTML: the distribution, and the pairs that the limits keep."""

from collections.abc import Sequence
from typing import Final

from app.lengths import TokenLengths, quantile
from app.templates import render
from app.ui import formatting, widgets
from app.ui.widgets import Html

BARS: Final = 32
SHARES: Final = ((0.5, "median"), (0.9, "90%"), (1.0, "longest"))


def under_limits(lengths: TokenLengths, max_prompt: int, max_completion: int) -> Html:
    """For the launch form: the effect of the length limits, and the distribution of lengths."""
    kept = lengths.kept(max_completion)
    about = "" if lengths.complete else "about "
    trimmed = lengths.trimmed(max_prompt)
    words = (
        f"{max_completion:,} completion tokens keep {kept / lengths.pairs:.0%}: {about}{kept:,} of "
        f"{formatting.count(lengths.pairs, 'training pair')}. "
        f"{max_prompt:,} prompt tokens trim {trimmed:.0%} of the prompts."
    )
    return _section(lengths, _charts(lengths, max_prompt, max_completion), lead=words)


def distribution(lengths: TokenLengths, model: str) -> Html:
    """For a dataset's page: the distribution of lengths, and the pairs that common limits keep."""
    limits = [64, 128, 256, 512, 1024, 2048]
    longest = max(lengths.completions)
    shown = [limit for limit in limits if limit < longest] + [longest]
    kept = widgets.table(
        ["Completion tokens", "Pairs kept", "Share"],
        [
            (f"{limit:,}", f"{lengths.kept(limit):,}", f"{lengths.kept(limit) / lengths.pairs:.0%}")
            for limit in shown
        ],
        caption="What a limit of completion tokens keeps",
        numeric=(0, 1, 2),
        stack=False,
    )
    note = f"Counted with the tokenizer of {model}; the longer answer of a pair decides whether it is kept."
    return _section(lengths, _charts(lengths), note=note, table=kept)


def _section(
    lengths: TokenLengths,
    charts: Sequence[Html],
    *,
    lead: str = "",
    note: str = "",
    table: Html = widgets.NOTHING,
) -> Html:
    sample = "Prompts are counted without the tokens of a chat template."
    if not lengths.complete:
        sample = f"Measured on a sample of {len(lengths.prompts):,} pairs. {sample}"
    return render("widgets/lengths.html", lead=lead, charts=charts, note=note, table=table, sample=sample)


def _charts(
    lengths: TokenLengths, max_prompt: int | None = None, max_completion: int | None = None
) -> list[Html]:
    return [
        _chart("Prompts", lengths.prompts, max_prompt),
        _chart("Longer answers", lengths.completions, max_completion),
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
    quantiles = ", ".join(f"{name} {quantile(values, share):,}" for share, name in SHARES)
    return render(
        "widgets/length_chart.html",
        title=title,
        quantiles=quantiles,
        label=f"Lengths of {title.lower()}: {quantiles} tokens",
        bars=bars,
        end=f"{BARS * width:,}",
    )
