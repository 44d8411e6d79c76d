"""Small HTML pieces shared by all pages.

A `str` is escaped when it is inserted, a `Markup` is not. A prompt that contains `<script>` or `**bold**`
is shown as text: never run, never formatted. Single-element pieces are built here; larger ones are
templates.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlencode

from markupsafe import Markup

from app.i18n import N_, _, in_language
from app.store.enums import RunStatus
from app.store.models import Run
from app.templates import render
from app.ui import formatting
from app.ui.looks import colour, look_of, stroke_of, style_of
from app.ui.theme import role

Html = Markup
"""HTML that is safe to show."""

NOTHING = Markup("")


def loading() -> Markup:
    """Placeholder until the first value arrives."""
    return Markup('<p class="hy-note hy-loading">{}</p>').format(_("Loading…"))


# --- text ------------------------------------------------------------------------------------


def escape(text: object) -> Markup:
    """Text as HTML: escaped, with line breaks preserved."""
    plain = str(text).replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return Markup("<br>").join(plain.split("\n"))


def with_commands(sentence: str) -> Markup:
    """A sentence with the parts in backticks rendered as code."""
    pieces = sentence.split("`")
    if len(pieces) % 2 == 0:  # unbalanced backtick
        return escape(sentence)
    return join(Markup("<code>{}</code>").format(p) if at % 2 else escape(p) for at, p in enumerate(pieces))


def join(pieces: Iterable[object], glue: str = "") -> Markup:
    """Join pieces of HTML; plain text among them is escaped."""
    return Markup(glue).join(Markup.escape(piece) for piece in pieces)


# --- links and badges ------------------------------------------------------------------------


def url(page: str, /, **query: object) -> str:
    """A page's address, relative so that it works under any root path; `home` is the front page."""
    path = "./" if page in ("", "home") else page
    given = {name: value for name, value in query.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(given)}" if given else path


def link(text: object, page: str, /, **query: object) -> Markup:
    return Markup('<a href="{}">{}</a>').format(url(page, **query), text)


def link_button(text: str, page: str, /, *, primary: bool = False, **query: object) -> Markup:
    """A link that looks like a button."""
    kind = "hy-button hy-primary" if primary else "hy-button"
    return Markup('<a class="{}" href="{}">{}</a>').format(kind, url(page, **query), text)


def method_badge(method: str, label: str | None = None, *, run: int | None = None) -> Markup:
    """A badge with the letter and name of a method or of the reference, in its colour or in that of a run."""
    look = role(method)
    css = method if re.fullmatch(r"[a-z_]+", method) else "reference"
    tone = Markup(' style="{}"').format(style) if (style := style_of(method, run)) else ""
    return Markup('<span class="hy-method hy-{}"{}><b aria-hidden="true">{}</b>{}</span>').format(
        css, tone, look.letter, label or _(look.label)
    )


def tag_chips(tags: Sequence[str]) -> Markup:
    """Tags as chips that lead to the runs with the same tag."""
    chips = [Markup('<a class="hy-tag" href="{}">{}</a>').format(url("runs", tag=tag), tag) for tag in tags]
    return Markup('<span class="hy-tags">{}</span>').format(join(chips)) if chips else NOTHING


def run_badge(run: Run) -> Markup:
    """The badge of a run's method, after the line that the run has in charts."""
    look = look_of(run.id)
    key = render("widgets/key.html", colour=colour(run.method, look)[1:], dashes=stroke_of(run.method, look))
    return Markup('<span class="hy-run">{}{}</span>').format(key, method_badge(run.method, run=run.id))


_STATUS_MARKS: Final = {
    N_("queued"): "○",
    N_("running"): "◐",
    N_("finished"): "●",
    N_("failed"): "✕",
    N_("cancelled"): "–",
    N_("open"): "○",
    N_("paused"): "Ⅱ",
    N_("closed"): "–",
    N_("archived"): "•",
    N_("deleted"): "•",
}


def status_badge(status: RunStatus | str, label: str | None = None) -> Markup:
    """The status of a run or an answer: a mark, a colour and a word."""
    name = str(getattr(status, "value", status))
    mark = _STATUS_MARKS.get(name, "•")
    return Markup('<span class="hy-status hy-is-{}"><i aria-hidden="true">{}</i>{}</span>').format(
        name, mark, _(label or name)
    )


# --- pieces ----------------------------------------------------------------------------------


def page_header(title: object, lead: object = "", *actions: Markup, tab: str = "") -> Markup:
    """The top of a page: title, lead sentence and actions. `tab` is the browser tab's title, if another."""
    return render("widgets/page_header.html", title=title, lead=lead, actions=actions, tab=tab)


def section(title: object, body: Markup, note: object = "") -> Markup:
    """A titled part of a page."""
    aside = Markup('<span class="hy-note">{}</span>').format(note) if note else NOTHING
    return Markup('<section class="hy-section"><h2>{}{}</h2>{}</section>').format(title, aside, body)


def empty_state(title: str, body: object, *actions: Markup) -> Markup:
    """A placeholder with the next action, shown when there is no content yet."""
    return render("widgets/empty_state.html", title=title, body=body, actions=actions)


def notice(text: object, kind: Literal["info", "good", "warning", "error"] = "info") -> Markup:
    """A highlighted sentence."""
    word = {"info": "note", "good": "status", "warning": "note", "error": "alert"}[kind]
    return Markup('<div class="hy-notice hy-{}" role="{}">{}</div>').format(kind, word, _sentence(text))


def error_banner(sentence: object, traceback: str | None = None) -> Markup:
    """An error in one sentence; the traceback is collapsed."""
    return render("widgets/error_banner.html", sentence=_sentence(sentence), traceback=traceback)


def _sentence(text: object) -> Markup:
    return text if isinstance(text, Markup) else with_commands(in_language(str(text)))


def field_error(sentence: str) -> Markup:
    """A message below a field; empty when the field is valid."""
    return (
        Markup('<p class="hy-field-error" role="alert">{}</p>').format(with_commands(in_language(sentence)))
        if sentence
        else NOTHING
    )


def progress_bar(
    step: int, total: int, *, seconds_left: float | None = None, phase: str = "", live: bool = True
) -> Markup:
    """A run's progress, phase and remaining time."""
    at = _("step {step} of {total}", step=f"{step:,}", total=f"{total:,}")
    words = at if total > 0 else phase or _("starting")
    extra = [phase] if phase and total > 0 else []
    if seconds_left is not None:
        extra.append(_("about {time} left", time=formatting.duration(seconds_left)))
    return bar(step / total if total > 0 else 0.0, words, " · ".join(extra), live=live)


def bar(share: float, words: str, extra: str = "", *, live: bool = True) -> Markup:
    """A progress bar filled to a share, with words below it; a live one has the accent's colour."""
    percent = 100 * min(1.0, share)
    return render("widgets/progress_bar.html", live=live, percent=percent, words=words, extra=extra)


@dataclass(frozen=True, slots=True)
class Head:
    """The title of a column by which a table can be sorted, and how the table is sorted by it now."""

    title: str
    button: Markup
    sorted: Literal["ascending", "descending", "none"] = "none"


def table(
    headers: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    caption: str = "",
    numeric: Iterable[int] = (),
    stack: bool = True,
) -> Markup:
    """A table. Cells may be text (escaped) or HTML; `numeric` columns are right-aligned.

    A column without a title holds links and buttons; screen readers announce it as "Actions". On a narrow
    screen each row becomes a small card unless `stack` is False.
    """
    right = set(numeric)
    actions = Markup('<span class="hy-sr">{}</span>').format(_("Actions"))
    columns = [
        {
            "css": "hy-num" if index in right else "",
            "title": header.button if isinstance(header, Head) else header or actions,
            "label": _label(header),
            "sort": header.sorted if isinstance(header, Head) else "",
        }
        for index, header in enumerate(headers)
    ]
    cells = [list(zip(columns, row, strict=True)) for row in rows]
    return render("widgets/table.html", stack=stack, caption=caption, columns=columns, rows=cells)


def _label(header: object) -> object:
    """The title of a cell on a narrow screen."""
    if isinstance(header, Head):
        return header.title
    return "" if isinstance(header, Markup) else header


def facts(pairs: Mapping[str, object] | Sequence[tuple[str, object]]) -> Markup:
    """A short list of names and values."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return render("widgets/facts.html", pairs=items)


def code(text: str, label: str = "") -> Markup:
    """Verbatim text to copy."""
    head = Markup("<figcaption>{}</figcaption>").format(label) if label else NOTHING
    return Markup('<figure class="hy-code">{}<pre><code>{}</code></pre></figure>').format(head, text)


def messages(prompt: Any) -> Markup:
    """A readable prompt: plain text, or the turns of a conversation."""
    if isinstance(prompt, str):
        return Markup('<div class="hy-text" translate="no">{}</div>').format(escape(prompt))
    turns = [
        (message.get("role", ""), escape(message.get("content", "")))
        if isinstance(message, Mapping)
        else ("", escape(message))
        for message in prompt or []
    ]
    return render("widgets/messages.html", turns=turns)


def written(text: str, length: int) -> Markup:
    """The beginning of what a person or a model wrote, which no browser is to translate."""
    return Markup('<span translate="no">{}</span>').format(formatting.clip(text, length))


def stored_answer(text: Any) -> Markup:
    """A stored answer, or a dash and a word for the one that a row with a single answer lacks."""
    return escape(text) if text else Markup('<span class="hy-note">\u2014 {}</span>').format(_("no answer"))


def prompt_line(prompt: Any, length: int = 100) -> str:
    """A prompt on one line: its last message."""
    if isinstance(prompt, str):
        return formatting.clip(prompt, length)
    said = [str(m.get("content", "")) for m in prompt or [] if isinstance(m, Mapping)]
    return formatting.clip(said[-1] if said else "", length)


def answer(text: str | Markup, *, note: object = "") -> Markup:
    """A model's answer, verbatim."""
    shown = text if isinstance(text, Markup) else escape(text)
    body = shown or Markup('<em class="hy-note">{}</em>').format(_("(empty)"))
    return render("widgets/answer.html", text=body, note=note)
