"""One generation as HTML: the whole text, its numbers, its origin, and the other answers to its prompt."""

from typing import Final

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.i18n import _
from app.store import generation_origins, generation_search, generations, search_words
from app.store.generation_filter import GenerationFilter
from app.store.generation_origins import Origin
from app.store.promotion import decoding
from app.templates import render
from app.ui import formatting, widgets
from app.ui.answer.address import answer_url
from app.ui.generations import listing
from app.ui.generations.address import Asked
from app.ui.widgets import Html

OTHERS: Final = 20


def shown(generation_id: int, asked: Asked, user: str, *, session: Session) -> Html:
    """A generation, and other answers to its prompt to compare it with.

    Raises:
        NotFound: when there is none with this id that the person may see.
    """
    one = generation_origins.get(generation_id, session=session, viewer=user)
    return widgets.join([_one(one, asked, session), _others(one, user, session)])


def _one(one: Origin, asked: Asked, session: Session) -> Html:
    row = one.generation
    search = search_words.parse(asked.text, field="text")
    text = listing.marked(row.text, None if search is None else search.pattern)
    return render(
        "generations/one.html",
        links=_links(one, asked, session),
        prompt=widgets.messages(row.prompt.content),
        text=text if row.text else listing.empty(),
        note=_note(one),
        facts=widgets.facts(_facts(one)),
    )


def _links(one: Origin, asked: Asked, session: Session) -> list[Html]:
    """Links back to the list, and to where the text was generated."""
    row = one.generation
    links = [widgets.link_button(_("All texts"), "generations", **asked.query())]
    if one.comparison is not None and one.comparison.campaign_id is None:
        links.append(
            widgets.link_button(_("Its chat"), "compare", conversation=one.comparison.conversation_id)
        )
    if one.run is not None and (
        probes := generations.probe_answers(one.run.id, row.prompt_id, session=session)
    ):
        place = next((at for at, probe in enumerate(probes, start=1) if probe.id == row.id), None)
        links.append(
            widgets.link_button(_("Through training"), "run", id=one.run.id, prompt=row.prompt_id, at=place)
        )
    if not one.hidden and row.text:
        links.append(
            Markup('<a class="hy-button" href="{}">{}</a>').format(answer_url(row.id), _("Token by token"))
        )
    return links


def _note(one: Origin) -> str:
    if one.generation.status.value == "stopped":
        return _("Stopped before its end.")
    return "" if one.generation.complete else _("Cut at the length limit.")


def _facts(one: Origin) -> list[tuple[str, object]]:
    row = one.generation
    found: list[tuple[str, object]] = [(_("From"), listing.origin(one))]
    if not one.hidden:
        tokens, ratio, per_token = listing.numbers(one)
        found += [
            (_("Tokens"), tokens or "–"),
            (_("log π"), formatting.number(row.policy_logp, 1).replace("-", "−")),
            (_("log π_ref"), formatting.number(row.reference_logp, 1).replace("-", "−")),
            (_("Log-ratio, nats"), ratio or "–"),
            (_("Per token"), per_token or "–"),
        ]
        if row.score is not None:
            found.append((_("Score"), formatting.number(row.score, 2)))
        if row.seconds is not None:
            found.append((_("Seconds"), f"{row.seconds:.1f}"))
        found += [(_("Decoding"), words) for words in [_decoding(one)] if words]
    found += [(_("Seed"), row.seed), (_("Made"), formatting.ago(row.created_at)), (_("Number"), f"#{row.id}")]
    return found


def _decoding(one: Origin) -> str:
    """The decoding parameters in words; empty if they are not known."""
    known = decoding(one)
    if not known:
        return ""
    return _(
        "up to {tokens} tokens, temperature {temperature}, top-p {top_p}",
        tokens=f"{known['max_new_tokens']:,}",
        temperature=f"{known['temperature']:g}",
        top_p=f"{known['top_p']:g}",
    )


def _others(one: Origin, user: str, session: Session) -> Html:
    """The answers to the same prompt, of which one can be compared with this one.

    Beside an answer whose name is hidden, one with the same text would tell it.
    """
    if one.hidden:
        return widgets.NOTHING
    prompt = f"#{one.generation.prompt_id}"
    only = GenerationFilter(prompt_id=one.generation.prompt_id)
    found = generation_search.find(only, session=session, viewer=user, limit=OTHERS + 1)
    ids = [key for key in found.ids if key != one.generation.id][:OTHERS]
    if not ids:
        return widgets.NOTHING
    rows = [one, *generation_origins.of_ids(ids, session=session, viewer=user)]
    more = widgets.link(_("all of them"), "generations", prompt=prompt) if found.next is not None else ""
    return widgets.section(
        _("Answers to this prompt"),
        listing.table(rows, Asked(), chosen=one.generation.id, of_one_prompt=True),
        widgets.join([_("Tick one more to compare the two."), " ", more]),
    )
