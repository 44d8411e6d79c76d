"""Token lengths of a dataset as HTML: what the limits keep, and how long the pairs are."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from app.lengths import TokenLengths, quantile
from app.ui import formatting, widgets
from app.ui.widgets import Html

BARS: Final = 32
SHARES: Final = ((0.5, "median"), (0.9, "90%"), (1.0, "longest"))


def under_limits(lengths: TokenLengths, max_prompt: int, max_completion: int) -> Html:
    """Beside the length settings: what they keep and trim, and the lengths they are set against."""
    kept = lengths.kept(max_completion)
    about = "" if lengths.complete else "about "
    trimmed = lengths.trimmed(max_prompt)
    words = (
        f"{max_completion:,} completion tokens keep {kept / lengths.pairs:.0%}: {about}{kept:,} of "
        f"{formatting.count(lengths.pairs, 'training pair')}. "
        f"{max_prompt:,} prompt tokens trim {trimmed:.0%} of the prompts."
    )
    return Markup('<section class="hy-lengths"><p>{}</p>{}{}</section>').format(
        words, _charts(lengths, max_prompt, max_completion), _sample_note(lengths)
    )


def distribution(lengths: TokenLengths, model: str) -> Html:
    """On a dataset's page: lengths alone, with what usual limits would keep."""
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
    return Markup('<section class="hy-lengths">{}<p class="hy-note">{}</p>{}{}</section>').format(
        _charts(lengths), note, kept, _sample_note(lengths)
    )


def _sample_note(lengths: TokenLengths) -> Html:
    words = "Prompts are counted without the tokens of a chat template."
    if not lengths.complete:
        words = f"Measured on a sample of {len(lengths.prompts):,} pairs. {words}"
    return Markup('<p class="hy-note">{}</p>').format(words)


def _charts(lengths: TokenLengths, max_prompt: int | None = None, max_completion: int | None = None) -> Html:
    pieces = [
        _chart("Prompts", lengths.prompts, max_prompt),
        _chart("Longer answers", lengths.completions, max_completion),
    ]
    return Markup('<div class="hy-length-charts">{}</div>').format(widgets.join(pieces))


def _chart(title: str, values: Sequence[int], limit: int | None) -> Html:
    """A histogram whose bars beyond the limit are pale; the last bar holds the longest hundredth."""
    end = max(quantile(values, 0.99), 1)
    width = -(-end // BARS) or 1
    counts = [0] * BARS
    for value in values:
        counts[min(max(value - 1, 0) // width, BARS - 1)] += 1
    most = max(counts)
    bars = widgets.join(
        Markup('<rect class="{}" x="{}" y="{:.1f}" width="8" height="{:.1f}"/>').format(
            "hy-beyond" if limit is not None and bar * width >= limit else "hy-within",
            10 * bar,
            50 - 50 * count / most,
            50 * count / most,
        )
        for bar, count in enumerate(counts)
    )
    quantiles = ", ".join(f"{name} {quantile(values, share):,}" for share, name in SHARES)
    return Markup(
        '<figure><figcaption><b>{}</b> <span>{} tokens</span></figcaption><svg viewBox="0 0 {} 50" '
        'preserveAspectRatio="none" role="img" aria-label="{}">{}</svg><p class="hy-note"><span>1</span>'
        "<span>{:,}</span></p></figure>"
    ).format(
        title, quantiles, 10 * BARS, f"Lengths of {title.lower()}: {quantiles} tokens", bars, BARS * width
    )
