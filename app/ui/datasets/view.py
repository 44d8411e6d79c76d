"""Datasets as HTML: the list, and one version's facts, pairs with differences, and rows left out."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from markupsafe import Markup

from app import weights
from app.i18n import N_, _, _html, _n, in_language
from app.imports import AddedDataset, FileLook
from app.preflight import Preflight
from app.store.datasets import Lengths, SplitCounts, pair_of
from app.store.enums import Split
from app.store.models import Dataset, DatasetLeftOut, DatasetPair
from app.templates import render
from app.tokens import TokenCounter
from app.ui import formatting, widgets
from app.ui.widgets import Html
from hypo_engine.data.formats import FORMATS, Account, Kept, LeftOut, Pair
from hypo_engine.reporting import Prompt

MAX_CHARACTERS = 4000
MAX_WORDS = 500
MIN_SIMILARITY = 0.3
SHOWN_REASONS = 3
_TITLES = {known.name: known.title for known in FORMATS} | {
    "mapped": N_("Mapped columns"),
    "winner": N_("Two answers and the better one"),
    "votes": N_("Votes"),
}
_SPLITS = {Split.TRAIN: N_("training"), Split.HELD_OUT: N_("held out"), Split.VOTED: N_("voted on")}
_COLUMNS = (
    "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(260px,100%),1fr));gap:8px 20px;"
    "padding:14px 0;border-top:1px solid var(--hy-line)"
)
_MARKS = {
    "chosen": "background:var(--hy-good-soft);color:inherit;border-bottom:2px solid var(--hy-good)",
    "rejected": "background:var(--hy-bad-soft);color:inherit;border-bottom:2px dotted var(--hy-bad)",
}


_LONGER = N_(
    "Always taking the longer answer is right in {share} of the pairs, so a model may learn to write longer "
    "answers and little else."
)
_SHORTER = N_(
    "Always taking the shorter answer is right in {share} of the pairs, so a model may learn to write "
    "shorter answers and little else."
)


def format_title(name: str) -> str:
    """A format's display name."""
    return _(_TITLES[name]) if name in _TITLES else name


def dataset_list(found: Sequence[Dataset]) -> Html:
    """All versions, newest first."""
    if not found:
        return widgets.empty_state(
            _("No datasets yet"), _("Add a file above; common formats are recognised.")
        )
    rows = [
        [
            widgets.link(dataset.name, "datasets", id=dataset.id),
            dataset.version,
            f"{dataset.rows:,}",
            f"{dataset.left_out_count:,}",
            format_title(dataset.format),
            formatting.clip(dataset.source, 60),
            formatting.ago(dataset.created_at),
            widgets.link(_("Launch"), "launch", dataset=dataset.id),
        ]
        for dataset in found
    ]
    headers = [
        *(_("Name"), _("Version"), _("Pairs"), _("Left out")),
        *(_("Format"), _("From"), _("Added"), ""),
    ]
    return widgets.table(headers, rows, caption=_("Datasets"), numeric=(1, 2, 3))


def dataset_facts(
    dataset: Dataset, counts: SplitCounts, lengths: Lengths, versions: Sequence[Dataset]
) -> Html:
    """The facts of a version: sizes, format, source."""
    others = widgets.join(
        (
            Markup("<b>{}</b>").format(other.version)
            if other.id == dataset.id
            else widgets.link(other.version, "datasets", id=other.id)
            for other in versions
        ),
        " · ",
    )
    held = f"{counts.held_out:,}"
    if counts.voted:
        held = _(
            "{held} ({voted} more left the evaluation: their prompts were voted on)",
            held=held,
            voted=f"{counts.voted:,}",
        )
    return widgets.facts(
        {
            _("Training pairs"): f"{counts.train:,}",
            _("Held-out pairs"): held,
            _("Rows left out"): f"{dataset.left_out_count:,}",
            _("Chosen answers"): _lengths(lengths.chosen_mean, lengths.chosen_longest),
            _("Rejected answers"): _lengths(lengths.rejected_mean, lengths.rejected_longest),
            **weights.facts(Account.of(dataset.account), dataset.rows),
            _("Format"): format_title(dataset.format),
            _("From"): dataset.source,
            _("Added"): formatting.ago(dataset.created_at),
            "SHA-256": Markup('<code title="{}">{}…</code>').format(dataset.sha256, dataset.sha256[:12]),
            _("Versions"): others,
        }
    )


def _lengths(mean: float, longest: int) -> str:
    return _("on average {mean} characters, at most {longest}", mean=f"{mean:,.0f}", longest=f"{longest:,}")


def pair_list(pairs: Sequence[DatasetPair], counter: TokenCounter | None) -> Html:
    """Prompt, chosen and rejected in three columns; stacked on a narrow screen."""
    if not pairs:
        return widgets.notice(_("No pair matches."))
    note = Markup("")
    if counter is None:
        note = Markup('<p class="hy-note">{}</p>').format(
            _("Token counts appear after the first use of the demo model, which unpacks it.")
        )
    blocks = (
        _pair(
            pair_of(pair),
            f"{_('row {n}', n=pair.row)} · {_(_SPLITS[pair.split])}",
            counter,
        )
        for pair in pairs
    )
    return note + widgets.join(blocks)


def _pair(pair: Pair, label: str, counter: TokenCounter | None) -> Html:
    good, bad = pair.chosen[:MAX_CHARACTERS], pair.rejected[:MAX_CHARACTERS]
    chosen, rejected = map(widgets.stored_answer, (good, bad)) if pair.is_single else differing(good, bad)
    prompt = widgets.messages(_cut(pair.prompt))
    about = " · ".join([label, *weights.of_pair(pair)])
    cells = [
        {"title": _("Prompt"), "body": prompt, "note": _size(pair.prompt, counter, about)},
        {"title": _("Chosen"), "body": chosen, "note": _size(pair.chosen, counter) if pair.chosen else ""},
        {
            "title": _("Rejected"),
            "body": rejected,
            "note": _size(pair.rejected, counter) if pair.rejected else "",
        },
    ]
    return render("datasets/pair.html", style=_COLUMNS, cells=cells)


def _size(whole: Prompt, counter: TokenCounter | None, label: str = "") -> str:
    """The length of a text, and how much of it is shown."""
    size = sum(len(turn["content"]) for turn in whole) if not isinstance(whole, str) else len(whole)
    notes = [label] if label else []
    if counter is not None:
        notes.append(formatting.count(counter.count(whole), "token"))
    if size > MAX_CHARACTERS:
        notes.append(_("{n} of {total} characters shown", n=f"{MAX_CHARACTERS:,}", total=f"{size:,}"))
    return " · ".join(notes)


def _cut(prompt: Prompt) -> Prompt:
    if isinstance(prompt, str):
        return prompt[:MAX_CHARACTERS]
    return [{**turn, "content": turn["content"][:MAX_CHARACTERS]} for turn in prompt]


def differing(chosen: str, rejected: str) -> tuple[Html, Html]:
    """Both answers as HTML, with differing words marked unless the answers share too little."""
    ours, theirs = re.split(r"(\s+)", chosen), re.split(r"(\s+)", rejected)
    if len(ours) + len(theirs) > 4 * MAX_WORDS:
        return widgets.escape(chosen), widgets.escape(rejected)
    steps = SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    same = sum(len("".join(ours[a:b]).split()) for kind, a, b, _, _ in steps if kind == "equal")
    if same < MIN_SIMILARITY * max(len(chosen.split()), len(rejected.split())):
        return widgets.escape(chosen), widgets.escape(rejected)
    left, right = [], []
    for kind, a, b, c, d in steps:
        left.append(_span("".join(ours[a:b]), "" if kind == "equal" else "chosen"))
        right.append(_span("".join(theirs[c:d]), "" if kind == "equal" else "rejected"))
    return widgets.join(left), widgets.join(right)


def _span(text: str, side: str) -> Html:
    if not side or not text.strip():
        return widgets.escape(text)
    return Markup('<mark style="{}">{}</mark>').format(_MARKS[side], widgets.escape(text))


def left_out_list(lines: Iterable[DatasetLeftOut | LeftOut]) -> Html:
    """A table of row numbers and reasons."""
    rows = [[f"{line.row:,}", in_language(line.reason)] for line in lines]
    if not rows:
        return widgets.notice(_("Every row became a pair."), "good")
    headers = [_("Row"), _("Why it was left out")]
    return widgets.table(headers, rows, caption=_("Rows left out"), stack=False)


def look(found: FileLook) -> Html:
    """The preview of a chosen file."""
    if found.format is None:
        words = _("The format is not recognised. Choose the columns of the prompt and the answers above.")
        return notes(found.account) + widgets.notice(words, "warning")
    kept = [row for row in found.preview if isinstance(row, Kept)]
    left_out = [row for row in found.preview if isinstance(row, LeftOut)]
    words = f"{format_title(found.format.name)}. {_became(len(kept), len(found.preview))}"
    shown = widgets.join(_pair(row.pair, _("row {n}", n=row.row), None) for row in kept[:2])
    problems = left_out_list(left_out[:5]) if left_out else Markup("")
    return widgets.notice(words, "good" if kept else "warning") + notes(found.account) + problems + shown


def _became(pairs: int, rows: int) -> str:
    if rows == 1:
        return _("Its only row became a pair.") if pairs else _("Its only row did not become a pair.")
    return _n(
        "Of the first {rows} rows, {n} became a pair.",
        "Of the first {rows} rows, {n} became pairs.",
        pairs,
        rows=f"{rows:,}",
    )


def guessed(found: FileLook) -> Html:
    """The preview of a file of unknown format, read with guessed columns."""
    words = _(
        "The format is not recognised. Check the columns above; they were guessed from the column names."
    )
    return widgets.notice(words, "warning") + look(found)


def notes(account: Account) -> Html:
    """Notices: how a file was read, unused columns, and scores that contradict the pairs."""
    said = [*account.remarks, *_single(account), *weights.sentences(account), *_unused(account)]
    return widgets.join(
        [
            *(widgets.notice(sentence) for sentence in said),
            *(widgets.notice(sentence, "warning") for sentence in account.about_scores()),
        ]
    )


def _single(account: Account) -> list[str]:
    """A sentence on the rows with one answer, and on what trains on them."""
    rows = account.good + account.bad
    if not rows:
        return []
    return [
        _(
            "One answer instead of two: {rows}, {good} judged good and {bad} bad. KTO trains on all of them, "
            "SFT on the good ones, online methods on their prompts; methods that compare two answers leave "
            "them out.",
            rows=formatting.count(rows, "row"),
            good=f"{account.good:,}",
            bad=f"{account.bad:,}",
        )
    ]


def _unused(account: Account) -> list[str]:
    """A sentence on the columns that the pairs do not use."""
    named = [f"{name} ({formatting.count(rows, 'row')})" for name, rows in account.unused.most_common()]
    return [_("Not used: {columns}.", columns=", ".join(named))] if named else []


def _why_left_out(account: Account) -> str:
    reasons = account.left_out.most_common(SHOWN_REASONS)
    return "; ".join(f"{in_language(reason)} ({formatting.count(rows, 'row')})" for reason, rows in reasons)


def added(dataset: AddedDataset) -> Html:
    """The result of an import."""
    words = _html(
        "Added {name} version {version}: {pairs}.",
        name=widgets.link(dataset.name, "datasets", id=dataset.id),
        version=dataset.version,
        pairs=formatting.count(dataset.rows, "pair"),
    )
    if dataset.left_out_count:
        words += " " + _n(
            "{n} row left out: {reasons}.",
            "{n} rows left out: {reasons}.",
            dataset.left_out_count,
            reasons=_why_left_out(dataset.account),
        )
    words += " " + widgets.link(_("Launch a run on it"), "launch", dataset=dataset.id)
    missing = dataset.one_sided
    warning = widgets.notice(missing, "warning") if missing else Markup("")
    return widgets.notice(words, "good") + warning + notes(dataset.account)


def preflight(found: Preflight, account: Account) -> Html:
    """The preflight check as facts and notices."""
    prompts = f"{found.prompts:,}"
    if not found.complete:
        checked = f"{found.pairs:,}"
        prompts = _("{n} (the first {pairs} pairs were checked)", n=prompts, pairs=checked)
    rule = "–" if found.longer_wins is None else f"{found.longer_wins:.0%}"
    scored = account.compared
    scores = {
        _("Rejected answer has the higher score"): _of(account.contradicting, scored),
        _("Both answers have the same score"): _of(account.equal, scored),
    }
    facts = widgets.facts(
        {
            _("Distinct prompts"): prompts,
            _("Repeated pairs"): f"{found.duplicates:,}",
            _("Contradictory pairs"): f"{found.contradictions:,}",
            _("Longer answer is chosen"): rule,
        }
        | (scores if scored else {})
    )
    worries = [*account.about_scores(), *_worries(found)]
    notices = [widgets.notice(words, "warning") for words in worries]
    said = [widgets.notice(words) for words in (*account.remarks, *_unused(account))]
    return facts + widgets.join([*(notices or [widgets.notice(_("Nothing odd was found."), "good")]), *said])


def _of(some: int, all_of_them: int) -> str:
    return _("{n} of {total}", n=f"{some:,}", total=f"{all_of_them:,}")


def _worries(found: Preflight) -> list[str]:
    worries = []
    if found.contradictions:
        worries.append(
            _n(
                "{n} pair prefers what another pair rejects; such pairs cancel each other out in training.",
                "{n} pairs prefer what another pair rejects; such pairs cancel each other out in training.",
                found.contradictions,
            )
        )
    if found.duplicates > found.pairs // 20:
        worries.append(
            _("More than one pair in twenty repeats another one, so those pairs count several times.")
        )
    if found.longer_wins is not None and abs(found.longer_wins - 0.5) > 0.15:
        share = f"{max(found.longer_wins, 1 - found.longer_wins):.0%}"
        worries.append(_(_LONGER if found.longer_wins > 0.5 else _SHORTER, share=share))
    return worries
