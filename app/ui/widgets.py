"""Small pieces of HTML that every page shares, and the way pages load and poll.

Everything is built with markupsafe: a `str` put into a piece is escaped, a `Markup` is not. So a prompt with
`<script>` or `**bold**` in it is shown as text, never run and never formatted.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

import gradio as gr
from gradio.context import Context
from markupsafe import Markup

from app.store import clock
from app.store.enums import RunStatus
from app.text import read_id
from app.ui.theme import role

Html = Markup
"""HTML that is safe to show."""

NOTHING = Markup("")
LOADING = Markup('<p class="hy-note hy-loading">Loading…</p>')
"""What stands in a place until its first value comes."""


# --- text ------------------------------------------------------------------------------------


def escape(text: object) -> Markup:
    """Text as HTML: escaped, with its line breaks kept."""
    plain = str(text).replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return Markup("<br>").join(plain.split("\n"))


def join(pieces: Iterable[object], glue: str = "") -> Markup:
    """Pieces of HTML (or text, which is escaped) in one."""
    return Markup(glue).join(Markup.escape(piece) for piece in pieces)


def clip(text: str, length: int = 120) -> str:
    """One line of text, cut at a length."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 run`, `2 runs`, `1,000 votes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def number(value: float | None, digits: int = 3) -> str:
    """A measured number for people: `0.693`, `1.2e-05`, and a dash where there is none."""
    if value is None or value != value:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.{digits}f}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:.1e}"


def duration(seconds: float | None) -> str:
    """A length of time for people: `4.2 s`, `3 min 10 s`, `2 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    if total < 86_400:
        return f"{total // 3600} h {total % 3600 // 60:02d} min"
    return f"{total // 86_400} d {total % 86_400 // 3600} h"


def ago(then: datetime | None, *, now: datetime | None = None) -> Markup:
    """How long ago a moment was, with the exact time in the tooltip."""
    if then is None:
        return Markup("–")
    seconds = ((now or clock.present()) - then).total_seconds()
    if seconds < 10:
        words = "just now"
    elif seconds < 60:
        words = f"{int(seconds)} s ago"
    elif seconds < 3600:
        words = f"{int(seconds // 60)} min ago"
    elif seconds < 86_400:
        words = f"{int(seconds // 3600)} h ago"
    elif seconds < 30 * 86_400:
        words = f"{int(seconds // 86_400)} d ago"
    else:
        words = then.strftime("%Y-%m-%d")
    stamp = then.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(then.isoformat(), stamp, words)


# --- links and badges ------------------------------------------------------------------------


def url(page: str, **query: object) -> str:
    """A page's address, relative so that it holds below any root path; `home` is the first page."""
    path = "./" if page in ("", "home") else page
    given = {name: value for name, value in query.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(given)}" if given else path


def link(text: object, page: str, **query: object) -> Markup:
    return Markup('<a href="{}">{}</a>').format(url(page, **query), text)


def link_button(text: str, page: str, *, primary: bool = False, **query: object) -> Markup:
    """A link that looks like a button."""
    kind = "hy-button hy-primary" if primary else "hy-button"
    return Markup('<a class="{}" href="{}">{}</a>').format(kind, url(page, **query), text)


def method_badge(method: str, label: str | None = None) -> Markup:
    """Who: colour, letter and name of reference, DPO or HyPO."""
    look = role(method)
    css = method if re.fullmatch(r"[a-z]+", method) else "reference"
    return Markup('<span class="hy-method hy-{}"><b aria-hidden="true">{}</b>{}</span>').format(
        css, look.letter, label or look.label
    )


_STATUS_MARKS = {"queued": "○", "running": "◐", "finished": "●", "failed": "✕", "cancelled": "–"}


def status_badge(status: RunStatus | str, label: str | None = None) -> Markup:
    """A run's or an answer's state: a mark, a colour and the word."""
    name = str(getattr(status, "value", status))
    mark = _STATUS_MARKS.get(name, "•")
    return Markup('<span class="hy-status hy-is-{}"><i aria-hidden="true">{}</i>{}</span>').format(
        name, mark, label or name
    )


# --- pieces ----------------------------------------------------------------------------------


def page_header(title: object, lead: object = "", *actions: Markup) -> Markup:
    """The top of a page: what it is, a sentence, and what can be done."""
    below = Markup('<p class="hy-lead">{}</p>').format(lead) if lead else NOTHING
    right = Markup('<div class="hy-actions">{}</div>').format(join(actions)) if actions else NOTHING
    return Markup('<header class="hy-header"><div><h1>{}</h1>{}</div>{}</header>').format(title, below, right)


def section(title: object, body: Markup, note: object = "") -> Markup:
    """A titled part of a page."""
    aside = Markup('<span class="hy-note">{}</span>').format(note) if note else NOTHING
    return Markup('<section class="hy-section"><h2>{}{}</h2>{}</section>').format(title, aside, body)


def empty_state(title: str, body: object, *actions: Markup) -> Markup:
    """What to do next where there is nothing to show yet."""
    return Markup('<div class="hy-empty"><h2>{}</h2><p>{}</p><div class="hy-actions">{}</div></div>').format(
        title, body, join(actions)
    )


def notice(text: object, kind: Literal["info", "good", "warning", "error"] = "info") -> Markup:
    """A sentence that stands out."""
    word = {"info": "note", "good": "status", "warning": "note", "error": "alert"}[kind]
    return Markup('<div class="hy-notice hy-{}" role="{}">{}</div>').format(kind, word, text)


def error_banner(sentence: object, traceback: str | None = None) -> Markup:
    """What went wrong in a sentence; the traceback is folded away."""
    folded = NOTHING
    if traceback:
        folded = Markup("<details><summary>Traceback</summary><pre>{}</pre></details>").format(traceback)
    return Markup('<div class="hy-notice hy-error" role="alert"><p>{}</p>{}</div>').format(
        escape(sentence) if not isinstance(sentence, Markup) else sentence, folded
    )


def field_error(sentence: str) -> Markup:
    """A message right under the field it is about; nothing when all is well."""
    return Markup('<p class="hy-field-error" role="alert">{}</p>').format(sentence) if sentence else NOTHING


def progress_bar(
    step: int, total: int, *, seconds_left: float | None = None, phase: str = "", live: bool = True
) -> Markup:
    """How far a run is, what it does now and how long it has left."""
    share = min(1.0, step / total) if total > 0 else 0.0
    words = f"step {step:,} of {total:,}" if total > 0 else phase or "starting"
    extra = [phase] if phase and total > 0 else []
    if seconds_left is not None:
        extra.append(f"about {duration(seconds_left)} left")
    return Markup(
        '<div class="hy-progress{}"><div class="hy-track" role="progressbar" aria-valuemin="0" '
        'aria-valuemax="100" aria-valuenow="{:.0f}" aria-label="{}"><div style="width:{:.1f}%"></div></div>'
        "<small><span>{}</span><span>{}</span></small></div>"
    ).format(" hy-live" if live else "", share * 100, words, share * 100, words, " · ".join(extra))


_ACTIONS = Markup('<span class="hy-sr">Actions</span>')


def table(
    headers: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    caption: str = "",
    numeric: Iterable[int] = (),
    stack: bool = True,
) -> Markup:
    """A table. Cells may be text (escaped) or HTML; `numeric` columns align right.

    A column without a title is one of links and buttons, and is called so for screen readers.
    On a narrow screen each row becomes a small card unless `stack` is False.
    """
    right = set(numeric)

    def css(index: int) -> str:
        return "hy-num" if index in right else ""

    head = join(
        Markup('<th scope="col" class="{}">{}</th>').format(css(i), cell or _ACTIONS)
        for i, cell in enumerate(headers)
    )
    body = join(
        Markup("<tr>{}</tr>").format(
            join(
                Markup('<td class="{}" data-label="{}"><div>{}</div></td>').format(
                    css(i), headers[i] if not isinstance(headers[i], Markup) else "", cell
                )
                for i, cell in enumerate(row)
            )
        )
        for row in rows
    )
    title = Markup('<caption class="hy-sr">{}</caption>').format(caption) if caption else NOTHING
    return Markup(
        '<div class="hy-table-wrap"><table class="hy-table{}">{}<thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(" hy-stack" if stack else "", title, head, body)


def facts(pairs: Mapping[str, object] | Sequence[tuple[str, object]]) -> Markup:
    """A short list of names and values."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    rows = join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, value) for name, value in items)
    return Markup('<dl class="hy-facts">{}</dl>').format(rows)


def code(text: str, label: str = "") -> Markup:
    """Text to copy, as it stands."""
    head = Markup("<figcaption>{}</figcaption>").format(label) if label else NOTHING
    return Markup('<figure class="hy-code">{}<pre><code>{}</code></pre></figure>').format(head, text)


def messages(prompt: Any) -> Markup:
    """A prompt as people read it: a plain text, or the turns of a conversation."""
    if isinstance(prompt, str):
        return Markup('<div class="hy-text">{}</div>').format(escape(prompt))
    turns = []
    for message in prompt or []:
        speaker = message.get("role", "") if isinstance(message, Mapping) else ""
        content = message.get("content", "") if isinstance(message, Mapping) else message
        turns.append(
            Markup(
                '<div class="hy-turn"><span class="hy-role">{}</span><div class="hy-text">{}</div></div>'
            ).format(speaker, escape(content))
        )
    return Markup('<div class="hy-turns">{}</div>').format(join(turns))


def prompt_line(prompt: Any, length: int = 100) -> str:
    """A prompt in one line: the last thing said."""
    if isinstance(prompt, str):
        return clip(prompt, length)
    said = [str(m.get("content", "")) for m in prompt or [] if isinstance(m, Mapping)]
    return clip(said[-1] if said else "", length)


def answer(text: str, *, note: object = "") -> Markup:
    """What a model wrote, as it wrote it."""
    below = Markup('<footer class="hy-note">{}</footer>').format(note) if note else NOTHING
    body = escape(text) if text else Markup('<em class="hy-note">(empty)</em>')
    return Markup('<div class="hy-answer"><div class="hy-text">{}</div>{}</div>').format(body, below)


# --- loading and polling ---------------------------------------------------------------------

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Options of events that belong to the page alone: no spinner, no place in the API."""


CLICK_DOWNLOAD = """() => setTimeout(() => {
    const place = document.getElementById("hy-download");
    const target = place?.matches("a, button") ? place : place?.querySelector("a, button");
    target?.click();
}, 250)"""
"""What a page does when the file of its hidden download button is there."""


def on_load(fn: Callable[..., Any], inputs: Any = None, outputs: Any = None, **options: Any) -> Any:
    """Call a function when the page being built is opened; it may take a `gr.Request`."""
    if Context.root_block is None:
        raise RuntimeError("on_load() belongs inside the build() of a page.")
    return Context.root_block.load(
        fn, inputs, outputs, **{**QUIET, "queue": True, "concurrency_limit": None, **options}
    )


def poll(
    seconds: float, fn: Callable[..., Any], inputs: Any = None, outputs: Any = None, **options: Any
) -> gr.Timer:
    """Call a function every so often while the page is open; it returns `gr.skip()` where nothing changed."""
    timer = gr.Timer(seconds)
    tick(timer, fn, inputs, outputs, **options)
    return timer


BUSY_SECONDS, IDLE_SECONDS = 2.0, 10.0


def pace(*, busy: bool) -> gr.Timer:
    """How often a list asks what is new, as an update of its timer: seldom where nothing waits or runs."""
    return gr.Timer(BUSY_SECONDS if busy else IDLE_SECONDS)


def tick(
    timer: gr.Timer, fn: Callable[..., Any], inputs: Any = None, outputs: Any = None, **options: Any
) -> None:
    """Call a function at every tick of a timer, which the function's outputs may stop."""
    timer.tick(fn, inputs, outputs, **{**QUIET, "concurrency_limit": None, "trigger_mode": "once", **options})


def query(request: gr.Request | None, name: str, default: str = "") -> str:
    """A value of the page's address."""
    found = dict(request.query_params) if request is not None else {}
    return str(found.get(name, default))


def query_ids(request: gr.Request | None, name: str) -> list[int]:
    """Ids of the page's address, as in `runs?compare=3,4`; what can be no id is left out."""
    return to_ids(query(request, name))[:32]


def to_ids(text: str) -> list[int]:
    """Ids with commas or spaces between; what can be no id is left out."""
    found = (read_id(part) for part in re.split(r"[,\s]+", text))
    return [number for number in found if number is not None]


def username(request: gr.Request | None) -> str:
    """Who is asking; without a login everybody is `local`."""
    return (getattr(request, "username", None) or "local") if request is not None else "local"
