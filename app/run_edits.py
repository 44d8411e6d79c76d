"""Edit what people say about a run: its name, notes, tags, and whether it is archived.

Nothing that was measured changes. An archived run is hidden from lists and works as before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import InvalidInput, NotFound
from app.store import clock, run_events, run_tags, runs
from app.store.db import write_session
from app.store.models import Run
from app.store.renaming import rename
from app.text import unseen

MAX_NAME: Final = 100
MAX_NOTES: Final = 10_000
MAX_TAG: Final = 40
MAX_TAGS: Final = 20
MAX_RUNS: Final = 200
"""Runs in one edit."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What to change; None and empty lists leave things as they are.

    Attributes:
        tags: all tags of the run, in place of those that it has.
        tag: tags to add.
        untag: tags to remove; one that the run does not have is passed over.
    """

    name: str | None = None
    notes: str | None = None
    tags: Sequence[str] | None = None
    tag: Sequence[str] = ()
    untag: Sequence[str] = ()
    archived: bool | None = None


def edit(run_ids: Sequence[int], change: Edit) -> None:
    """Edit runs: all of them, or none if one cannot be edited.

    Raises:
        InvalidInput: names the field that cannot be stored, and why.
        NotFound: for a run that does not exist.
    """
    wanted = sorted(set(run_ids))
    if change.name is not None and len(wanted) > 1:
        raise InvalidInput("A name belongs to one run; rename runs one at a time.", field="name")
    if len(wanted) > MAX_RUNS:
        raise InvalidInput(f"At most {MAX_RUNS} runs can be edited at once; choose fewer.", field="runs")
    checked = _checked(change)
    with write_session() as session:
        found = runs.locked(wanted, session=session)
        missing = set(wanted) - {run.id for run in found}
        if missing:
            raise NotFound(f"There is no run {min(missing)}; `hypo runs list` lists all runs.")
        tags = run_tags.of_runs(wanted, session=session)
        for run in found:
            if checked.name is not None and checked.name != run.name:
                message = f"Renamed from “{run.name}” to “{checked.name}”."
                rename(run, checked.name, session=session)
                run_events.add(session=session, run_id=run.id, message=message)
            if checked.notes is not None:
                run.notes = checked.notes
            run_tags.replace(run.id, _tags_after(run, tags[run.id], checked), session=session)
            if checked.archived is not None and checked.archived != (run.archived_at is not None):
                run.archived_at = clock.read(session=session) if checked.archived else None


def _tags_after(run: Run, present: Sequence[str], change: Edit) -> list[str]:
    """The tags of a run after an edit, at most MAX_TAGS."""
    kept = present if change.tags is None else change.tags
    after = (set(kept) - set(change.untag)) | set(change.tag)
    if len(after) > MAX_TAGS and len(after) > len(present):
        raise InvalidInput(
            f"Run {run.id} would have {len(after)} tags; it may have {MAX_TAGS}. Remove some first.",
            field="tags",
        )
    return sorted(after)


def split_tags(text: str) -> list[str]:
    """Tags from a text with commas between them; empty parts are passed over."""
    return [part for part in (one.strip() for one in text.split(",")) if part]


# --- checks ----------------------------------------------------------------------------------


def _checked(change: Edit) -> Edit:
    return Edit(
        name=None if change.name is None else checked_name(change.name),
        notes=None if change.notes is None else checked_notes(change.notes),
        tags=None if change.tags is None else _each(change.tags, checked_tag),
        tag=_each(change.tag, checked_tag),
        untag=[" ".join(tag.split()) for tag in change.untag],
        archived=change.archived,
    )


def _each(values: Sequence[str], check: Callable[[str], str]) -> list[str]:
    return list(dict.fromkeys(check(value) for value in values))


def checked_name(name: str) -> str:
    """A name for a run, without spaces around it.

    Raises:
        InvalidInput: it is empty, too long, or has a character that cannot be seen.
    """
    return _one_line(name, "The name", "name", MAX_NAME)


def checked_tag(tag: str) -> str:
    """A tag.

    Raises:
        InvalidInput: it is empty, too long, or has a comma or a character that cannot be seen.
    """
    if "," in tag:
        raise InvalidInput("A tag has a comma; give the parts as tags of their own.", field="tags")
    return _one_line(tag, "A tag", "tags", MAX_TAG)


def _one_line(text: str, what: str, field: str, longest: int) -> str:
    line = " ".join(part for part in text.split(" ") if part)
    if found := unseen(line):
        raise InvalidInput(f"{what} has the character {found}, which cannot be seen; remove it.", field=field)
    if not any(one.isprintable() and not one.isspace() for one in line):
        raise InvalidInput(f"{what} is empty; write something.", field=field)
    if len(line) > longest:
        raise InvalidInput(f"{what} has {len(line)} characters; shorten it to {longest}.", field=field)
    return line


def checked_notes(notes: str) -> str:
    """Notes in Markdown, of any number of lines.

    Raises:
        InvalidInput: they are too long, or have a character that cannot be seen.
    """
    text = notes.replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > MAX_NOTES:
        raise InvalidInput(
            f"The notes have {len(text):,} characters; shorten them to {MAX_NOTES:,}.", field="notes"
        )
    if found := unseen(text.replace("\n", " ").replace("\t", " ")):
        raise InvalidInput(
            f"The notes have the character {found}, which cannot be seen; remove it.", field="notes"
        )
    return text
