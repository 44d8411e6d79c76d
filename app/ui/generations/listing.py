"""The list of generations as HTML: the hits marked, the number of matches, links to the next pages."""

import re
from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.i18n import N_, _, _html, _n, in_language
from app.store import generation_origins, generation_search, run_checkpoints, search_backfill, search_words
from app.store.enums import GenerationKind, RunStatus
from app.store.generation_filter import GenerationFilter, GenerationSort, Place
from app.store.generation_origins import Origin
from app.store.generation_search import Found
from app.store.models import Run
from app.templates import render
from app.ui import formatting, widgets
from app.ui.compare.names import contender_name
from app.ui.generations.address import Asked
from app.ui.widgets import Html
from hypo_engine.config import Method

PAGE: Final = 50
EXCERPT_CHARS: Final = 280
KIND_WORDS: Final = {
    GenerationKind.ONLINE: N_("online sample"),
    GenerationKind.EVAL: N_("evaluation sample"),
    GenerationKind.PROBE: N_("probe answer"),
}
SAMPLE: Final = N_("sample")


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
        pages.append(widgets.link_button(_("First page"), "generations", **asked.query()))
    if found.next is not None:
        pages.append(widgets.link_button(_("Next page"), "generations", **asked.query(after=found.next)))
    return render(
        "generations/list.html",
        count=_count(found, only, user, session, first=after is None),
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
        Markup('<span class="hy-sr">{}</span>').format(_("Choose")),
        _("Text") if of_one_prompt else _("Prompt and text"),
        _("From"),
        _("Tokens"),
        _("Log-ratio"),
        _("Per token"),
    ]
    return widgets.table(
        [*heads, *([_("Score")] if scored else []), _("Made")],
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
        caption=_("Generated texts"),
        numeric=range(3, 7 if scored else 6),
    )


def _tick(one: Origin, *, ticked: bool) -> Html:
    key = one.generation.id
    return Markup('<input type="checkbox" class="hy-tick" data-generation="{}" aria-label="{}"{}>').format(
        key, _("Choose text {number}", number=key), Markup(" checked") if ticked else ""
    )


def _text(one: Origin, asked: Asked, pattern: re.Pattern[str] | None, *, title: str) -> Html:
    row = one.generation
    title = title or widgets.prompt_line(row.prompt.content, 90) or _("(no prompt)")
    return render(
        "generations/text.html",
        link=widgets.link(title, "generations", **asked.query(id=row.id)),
        excerpt=excerpt(row.text, pattern),
        note=_ending(one),
    )


def _ending(one: Origin) -> str:
    if one.generation.status.value == "stopped":
        return _("stopped")
    return "" if one.generation.complete else _("cut at the length limit")


def origin(one: Origin) -> Html:
    """Where a text comes from: the run and its step, or the conversation and who answered, unless hidden."""
    return render("generations/origin.html", who=who(one), where=where(one))


def who(one: Origin) -> Html:
    """The run or the contender, with a link; a sentence while the names are hidden."""
    if one.hidden:
        return Markup('<span class="hy-note">{}</span>').format(_("hidden until you vote"))
    if one.contender is not None:
        name = formatting.clip(contender_name(one.contender), 60)
        badge = widgets.method_badge(one.contender.method, name, run=one.contender.run_id)
    elif one.run is not None:
        badge = widgets.method_badge(one.run.method, formatting.clip(one.run.name, 60), run=one.run.id)
    else:
        return widgets.NOTHING
    return badge if one.run_id is None else widgets.link(badge, "run", id=one.run_id)


def where(one: Origin) -> Html:
    """The step and kind of a sample, or a link to the chat or the campaign."""
    if one.comparison is None:
        step = _("step {step}", step=f"{one.generation.step or 0:,}")
        return widgets.join([step, _(KIND_WORDS.get(one.generation.kind, SAMPLE))], " · ")
    if one.comparison.campaign_id is not None:
        number = one.comparison.campaign_id
        return widgets.link(_("campaign {number}", number=number), "campaigns", campaign=number)
    number = one.comparison.conversation_id
    return widgets.link(_("chat {number}", number=number), "compare", conversation=number)


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
        return empty()
    hit = None if pattern is None else pattern.search(line)
    start = 0 if hit is None else max(0, min(hit.start() - length // 3, len(line) - length))
    shown = line[start : start + length]
    before, after = "…" if start else "", "…" if start + length < len(line) else ""
    return widgets.join([before, marked(shown, pattern), after])


def empty() -> Html:
    """In place of an empty text."""
    return Markup('<em class="hy-note">{}</em>').format(_("(empty)"))


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


def _count(page: Found, only: GenerationFilter, user: str, session: Session, *, first: bool) -> str:
    if first and page.next is None:
        return formatting.count(len(page.ids), "text")
    shown = len(page.ids) + (page.next is not None)
    found = generation_search.count(only, session=session, viewer=user, shown=shown)
    if found.more:
        return _n("More than {n} text", "More than {n} texts", found.number)
    return formatting.count(found.number, "text")


def _notes(asked: Asked, only: GenerationFilter, session: Session) -> list[Html]:
    notes = [
        _html("Log-ratio: log π − log π_ref in nats, the text's own estimate of its KL"),
        _html("Not listed: answers that you may still judge blind, and chats of others"),
    ]
    if only.campaign_id is not None:
        all_ = widgets.link(_("all generations"), "generations", **asked.query(campaign=""))
        notes.append(_html("Only campaign {number}; {all}", number=only.campaign_id, all=all_))
    if len(only.run_ids) == 1 and only.first_step and only.first_step == only.last_step:
        notes += _checkpoint(only.run_ids[0], only.first_step, session)
    if asked.text or asked.prompt:
        share = search_backfill.share_filled(session=session)
        if share is not None:
            notes.append(_html("Older texts are still being indexed ({share} done)", share=f"{share:.0%}"))
    return notes


def _checkpoint(run_id: int, step: int, session: Session) -> list[Html]:
    """A link to Compare with the checkpoint of a run's step, or that it was not kept."""
    run = session.get(Run, run_id)
    if run is None or run.status is not RunStatus.FINISHED or not Method(run.method).writes:
        return []
    found = run_checkpoints.of_step(run_id, step, session=session)
    if found is None:
        return [_html("The checkpoint of step {step} was not kept (Checkpoint every)", step=f"{step:,}")]
    words = _("Compare the checkpoint of step {step}", step=f"{step:,}")
    return [widgets.link(words, "compare", checkpoints=found.id)]


def _nothing(asked: Asked, only: GenerationFilter, sort: GenerationSort) -> Html:
    if only.is_empty and sort is GenerationSort.NEWEST:
        return widgets.empty_state(
            _("Nothing was generated yet"),
            _(
                "Runs keep what they sample in training and evaluation, and chats and campaigns their "
                "answers."
            ),
            widgets.link_button(_("Launch a run"), "launch", primary=True),
            widgets.link_button(_("Ask a model"), "compare"),
        )
    words = _("Loosen the filters.")
    search = search_words.parse(asked.text, field="text")
    if search is not None and any(phrase.prefix for phrase in search.wanted):
        words = _(
            "A text without spaces between its words is found by the beginning of a passage: what follows "
            "a space or a punctuation mark."
        )
    elif search is not None:
        words = _("Whole words are searched; end one with * to find longer words too.")
    return widgets.empty_state(
        _("No text matches"), words, widgets.link_button(_("Show all texts"), "generations")
    )


def problem(sentence: str) -> Html:
    """A filter that cannot be searched for."""
    return widgets.notice(formatting.capital(in_language(sentence)), "warning")
