"""Creating, editing and deleting reports: shared by the pages, the command line and the API."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.store import campaign_progress, campaigns, reports, runs, users
from app.store.db import write_session
from app.store.models import Campaign, Run
from app.text import clean_name, clean_text
from hypo_engine.config import Method

MOST_RUNS: Final = 8
"""The most runs of a report: as many as an overlay draws."""
MOST_CAMPAIGNS: Final = 4
MAX_QUESTION_CHARS: Final = 300
MAX_NOTES_CHARS: Final = 20_000


def create(
    run_ids: Sequence[int],
    campaign_ids: Sequence[int] = (),
    *,
    question: str = "",
    notes: str = "",
    user: str = users.LOCAL,
) -> int:
    """Store a report of runs and campaigns.

    Args:
        run_ids: without any, the runs whose answers the campaigns compare.
        question: derived from the runs if empty.
        notes: Markdown.

    Returns:
        Its id.

    Raises:
        InvalidInput: for no or too many runs or campaigns, and for texts that are too long.
        NotFound: for a run or campaign that does not exist.
    """
    question, notes = _question(question), _notes(notes)
    _check_number(run_ids, campaign_ids)
    with write_session() as session:
        asked = [campaigns.get(one, session=session) for one in dict.fromkeys(campaign_ids)]
        shown = [runs.get(one, session=session) for one in dict.fromkeys(run_ids)]
        shown = shown or _contenders(asked, session)
        if not shown and not asked:
            raise InvalidInput("A report is about runs or a campaign; name at least one.", field="run_ids")
        report = reports.add(
            question or _generated_question(shown, asked),
            session=session,
            user=user,
            runs=shown[:MOST_RUNS],
            campaigns=asked,
            notes=notes,
        )
        return report.id


def edit(
    report_id: int, *, question: str | None = None, notes: str | None = None, user: str = users.LOCAL
) -> None:
    """Change the question or the notes of a report, whichever is given.

    Raises:
        InvalidInput: for an empty question, and for texts that are too long.
        NotFound: when the id does not exist.
        Refused: when it is another person's.
    """
    with write_session() as session:
        report = reports.own(report_id, user, session=session)
        asked = None if question is None else _question(question)
        if asked == "":
            raise InvalidInput("question is empty; say what the report answers.", field="question")
        reports.change(
            report, session=session, question=asked, notes=None if notes is None else _notes(notes)
        )


def delete(report_id: int, *, user: str = users.LOCAL) -> None:
    """Delete a report. Its runs, campaigns and votes stay.

    Raises:
        NotFound: when the id does not exist.
        Refused: when it is another person's.
    """
    with write_session() as session:
        reports.remove(reports.own(report_id, user, session=session), session=session)


def _check_number(run_ids: Sequence[int], campaign_ids: Sequence[int]) -> None:
    runs_given, campaigns_given = len(set(run_ids)), len(set(campaign_ids))
    if runs_given > MOST_RUNS:
        raise InvalidInput(
            f"A report has at most {MOST_RUNS} runs, and {runs_given} are chosen; choose fewer.",
            field="run_ids",
        )
    if campaigns_given > MOST_CAMPAIGNS:
        raise InvalidInput(
            f"A report has at most {MOST_CAMPAIGNS} campaigns, and {campaigns_given} are chosen; choose "
            "fewer.",
            field="campaign_ids",
        )


def _question(text: str) -> str:
    """A question on one line.

    Raises:
        InvalidInput: when it is too long.
    """
    text = clean_name(text)
    if len(text) > MAX_QUESTION_CHARS:
        raise InvalidInput(
            f"question has more than {MAX_QUESTION_CHARS} characters; shorten it, or write the rest into "
            "the notes.",
            field="question",
        )
    return text


def _notes(text: str) -> str:
    text = clean_text(text).strip()
    if len(text) > MAX_NOTES_CHARS:
        raise InvalidInput(f"notes has more than {MAX_NOTES_CHARS:,} characters; shorten it.", field="notes")
    return text


def _contenders(asked: Sequence[Campaign], session: Session) -> list[Run]:
    """The runs whose answers campaigns compare; deleted ones are left out."""
    ids = [
        contender.run_id
        for campaign in asked
        for contender in campaign_progress.contenders(campaign.id, session=session)
        if contender.run_id is not None
    ]
    return runs.of_ids(list(dict.fromkeys(ids)), session=session)


def _generated_question(shown: Sequence[Run], asked: Sequence[Campaign]) -> str:
    """A question about the runs: their methods, or what else differs, and their data."""
    if not shown:
        return asked[0].name
    names = list(dict.fromkeys(run.dataset.name for run in shown))
    data = names[0] if len(names) == 1 else ""
    *before, last = dict.fromkeys(Method(run.method).label for run in shown)
    if len(shown) == 1:
        return f"What does {last} do on {data}?" if data else f"What does {last} do?"
    if not before:
        return (
            f"Which of {len(shown)} {last} runs is best on {data}?"
            if data
            else f"Which of {len(shown)} {last} runs is best?"
        )
    methods = ", ".join(before)
    return (
        f"Which is better on {data}: {methods} or {last}?"
        if data
        else f"Which is better: {methods} or {last}?"
    )
