"""The list of generations as HTML: the hits marked, the number of matches, links to the next pages."""

import re
from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.store import generation_origins, generation_search, search_backfill, search_words
from app.store.enums import GenerationKind
from app.store.generation_filter import GenerationFilter, GenerationSort, Place
from app.store.generation_origins import Origin
from app.templates import render
from app.ui import formatting, widgets
from app.ui.generations.address import Asked
from app.ui.widgets import Html

PAGE: Final = 50
EXCERPT_CHARS: Final = 280
KIND_WORDS: Final = {
    GenerationKind.ONLINE: "online sample",
    GenerationKind.EVAL: "evaluation sample",
    GenerationKind.PROBE: "probe answer",
}


def listed(asked: Asked, user: str, *, session: Session, after: Place | None = None) -> Html:
    """A page of the list, with its number of matches and the links to other pages.

    Raises:
        InvalidInput: for a filter that cannot be searched for.
    """
    only, (sort, ascending) = asked.only(), asked.order
    found = generation_search.find(
        only, session=session, viewer=user, sort=sort, ascending=ascending, limit=PAGE, after=after
    )
    shown = generation_origins.of_ids(found.ids, session=session, viewer=user)
    if not shown:
        return _nothing(asked, only, sort)
    pages = []
    if after is not None:
        pages.append(widgets.link_button("First page", "generations", **asked.query()))
    if found.next is not None:
        pages.append(widgets.link_button("Next page", "generations", **asked.query(after=found.next)))
    return render(
        "generations/list.html",
        count=_count(only, user, session),
        notes=_notes(asked, only, session),
        table=table(shown, asked),
        pages=pages,
    )


def table(
    shown: Sequence[Origin], asked: Asked, *, chosen: int | None = None, of_one_prompt: bool = False
) -> Html:
    """Generations as a table with a checkbox for each.

    Args:
        chosen: the generation that is ticked.
        of_one_prompt: whether all have the same prompt, which is not repeated then.
    """
    search = search_words.parse(asked.text, field="text")
    pattern = None if search is None else search.pattern
    scored = any(one.generation.score is not None and not one.hidden for one in shown)
    heads = [
        Markup('<span class="hy-sr">Choose</span>'),
        "Text" if of_one_prompt else "Prompt and text",
        "From",
        "Tokens",
        "Log-ratio",
        "Per token",
    ]
    return widgets.table(
        [*heads, *(["Score"] if scored else []), "Made"],
        [
            (
                _tick(one, ticked=one.generation.id == chosen),
                _text(one, asked, pattern, title=f"#{one.generation.id}" if of_one_prompt else ""),
                origin(one),
                *numbers(one),
                *([_number(one, one.generation.score)] if scored else []),
                formatting.ago(one.generation.created_at),
            )
            for one in shown
        ],
        caption="Generated texts",
        numeric=range(3, 7 if scored else 6),
    )


def _tick(one: Origin, *, ticked: bool) -> Html:
    key = one.generation.id
    return Markup(
        '<input type="checkbox" class="hy-tick" data-generation="{}" aria-label="Choose text {}"{}>'
    ).format(key, key, Markup(" checked") if ticked else "")


def _text(one: Origin, asked: Asked, pattern: re.Pattern[str] | None, *, title: str) -> Html:
    row = one.generation
    title = title or widgets.prompt_line(row.prompt.content, 90) or "(no prompt)"
    return render(
        "generations/text.html",
        link=widgets.link(title, "generations", **asked.query(id=row.id)),
        excerpt=excerpt(row.text, pattern),
        note=_ending(one),
    )


def _ending(one: Origin) -> str:
    if one.generation.status.value == "stopped":
        return "stopped"
    return "" if one.generation.complete else "cut at the length limit"


def origin(one: Origin) -> Html:
    """Where a text comes from: the run and its step, or the conversation and who answered, unless hidden."""
    return render("generations/origin.html", who=who(one), where=where(one))


def who(one: Origin) -> Html:
    """The run or the contender, with a link; a sentence while the names are hidden."""
    if one.hidden:
        return Markup('<span class="hy-note">hidden until you vote</span>')
    if one.contender is not None:
        badge = widgets.method_badge(one.contender.method, formatting.clip(one.contender.name, 60))
    elif one.run is not None:
        badge = widgets.method_badge(one.run.method, formatting.clip(one.run.name, 60))
    else:
        return widgets.NOTHING
    return badge if one.run_id is None else widgets.link(badge, "run", id=one.run_id)


def where(one: Origin) -> Html:
    """The step and kind of a sample, or a link to the chat or the campaign."""
    if one.comparison is None:
        words = f"step {one.generation.step or 0:,} · {KIND_WORDS.get(one.generation.kind, 'sample')}"
        return widgets.join([words])
    if one.comparison.campaign_id is not None:
        number = one.comparison.campaign_id
        return widgets.link(f"campaign {number}", "campaigns", id=number)
    number = one.comparison.conversation_id
    return widgets.link(f"chat {number}", "compare", conversation=number)


def numbers(one: Origin) -> tuple[str, str, str]:
    """Tokens, log-ratio, and log-ratio per token; empty if unknown, or while they would tell who wrote it."""
    tokens = "" if one.hidden or not one.generation.tokens else f"{one.generation.tokens:,}"
    return tokens, _number(one, one.generation.log_ratio, 1), _number(one, one.generation.token_log_ratio)


def _number(one: Origin, value: float | None, digits: int = 2) -> str:
    if one.hidden or value is None:
        return ""
    return f"{value:+,.{digits}f}".replace("-", "−")


def excerpt(text: str, pattern: re.Pattern[str] | None, length: int = EXCERPT_CHARS) -> Html:
    """The part of a text around its first hit, on one line, with the hits marked."""
    line = re.sub(r"\s+", " ", text).strip()
    if not line:
        return Markup('<em class="hy-note">(empty)</em>')
    hit = None if pattern is None else pattern.search(line)
    start = 0 if hit is None else max(0, min(hit.start() - length // 3, len(line) - length))
    shown = line[start : start + length]
    before, after = "…" if start else "", "…" if start + length < len(line) else ""
    return widgets.join([before, marked(shown, pattern), after])


def marked(text: str, pattern: re.Pattern[str] | None) -> Html:
    """A text as HTML with the hits of a search marked."""
    if pattern is None:
        return widgets.escape(text)
    pieces: list[Any] = []
    end = 0
    for hit in pattern.finditer(text):
        pieces += [widgets.escape(text[end : hit.start()]), Markup("<mark>{}</mark>").format(hit[0])]
        end = hit.end()
    return widgets.join([*pieces, widgets.escape(text[end:])])


# --- what stands around the table ------------------------------------------------------------


def _count(only: GenerationFilter, user: str, session: Session) -> str:
    found = generation_search.count(only, session=session, viewer=user)
    words = formatting.count(found.number, "text")
    return f"More than {words}" if found.more else words


def _notes(asked: Asked, only: GenerationFilter, session: Session) -> list[Html]:
    notes = [
        Markup("Log-ratio: log π − log π_ref in nats, the text's own estimate of its KL"),
        Markup("Not listed: answers that you may still judge blind, and chats of others"),
    ]
    if only.campaign_id is not None:
        all_ = widgets.link("all generations", "generations", **asked.query(campaign=""))
        notes.append(Markup("Only campaign {}; {}").format(only.campaign_id, all_))
    if asked.text or asked.prompt:
        share = search_backfill.share_filled(session=session)
        if share is not None:
            notes.append(Markup("Older texts are still being indexed ({:.0%} done)").format(share))
    return notes


def _nothing(asked: Asked, only: GenerationFilter, sort: GenerationSort) -> Html:
    if only.is_empty and sort is GenerationSort.NEWEST:
        return widgets.empty_state(
            "Nothing was generated yet",
            "Runs keep what they sample in training and evaluation, and chats and campaigns their answers.",
            widgets.link_button("Launch a run", "launch", primary=True),
            widgets.link_button("Ask a model", "compare"),
        )
    words = "Loosen the filters."
    search = search_words.parse(asked.text, field="text")
    if search is not None and any(phrase.prefix for phrase in search.wanted):
        words = (
            "A text without spaces between its words is found by the beginning of a passage: what follows "
            "a space or a punctuation mark."
        )
    elif search is not None:
        words = "Whole words are searched; end one with * to find longer words too."
    return widgets.empty_state("No text matches", words, widgets.link_button("Show all texts", "generations"))


def problem(sentence: str) -> Html:
    """A filter that cannot be searched for."""
    return widgets.notice(formatting.capital(sentence), "warning")
