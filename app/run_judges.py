"""Judges of a run's evaluations: the operations shared by the page, the command line and the API.

Win rates are metrics of the run, so its charts, tables and files have them like all others.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.errors import InvalidInput, Refused
from app.judge_kinds import DEFAULT_TOKENS, make_judge, notify
from app.store import judges, run_judges, runs, users
from app.store.db import read_session, write_session
from app.store.judges import WholeVerdict
from app.store.models import Judge, Run
from hypo_engine.config import Method

ENDPOINT = "endpoint:"
"""Before the name of an endpoint where a judge is named by one text."""


def read_judge(text: str) -> Judge:
    """A judge that is not stored yet, named by one text: `endpoint:NAME`, or the notation of a scorer.

    Raises:
        InvalidInput: when there is none of this name; `field` is judge.
    """
    name = text.strip()
    endpoint = name.removeprefix(ENDPOINT) if name.startswith(ENDPOINT) else ""
    try:
        return make_judge(endpoint, "" if endpoint else name, "", 0, DEFAULT_TOKENS)
    except InvalidInput as error:
        raise InvalidInput(f"judge: {error}", field="judge") from error


def add(text: str, found: Sequence[Run], *, user: str, session: Session) -> None:
    """Give each run that is about to be queued and writes answers a judge.

    Raises:
        InvalidInput: as `read_judge`.
        Refused: when no run samples held-out prompts.
    """
    judged = [run for run in found if Method(run.method).writes]
    _check_samples(judged[0] if judged else found[0])
    user_id = users.ensure(user, session=session).id
    for run in judged:
        judge = read_judge(text)
        judge.run_id, judge.user_id = run.id, user_id
        session.add(judge)


def start(
    run_id: int,
    endpoint: str = "",
    *,
    scorer: str = "",
    template: str = "",
    seed: int = 0,
    max_tokens: int = DEFAULT_TOKENS,
    user: str = users.LOCAL,
) -> int:
    """Let a model behind an endpoint, or a scorer, judge the samples of a run's evaluations, now and later.

    Each sample is compared with the reference's for the same prompt and seed. Arguments are those of
    `app.judges.start`.

    Returns:
        The judge's id.

    Raises:
        InvalidInput: as `app.judges.start`.
        NotFound: when the run does not exist.
        Refused: when the run samples nothing, or has a judge of this name.
    """
    new = make_judge(endpoint, scorer, template, seed, max_tokens)
    new.run_id = run_id
    with write_session() as session:
        _check_samples(runs.get(run_id, session=session))
        _check_name(new, session)
        new.user_id = users.ensure(user, session=session).id
        session.add(new)
        session.flush()
        queued = run_judges.queue(new, session=session)
        judge_id, kind = new.id, new.kind
    if queued:
        notify(judge_id, kind)
    return judge_id


def _check_samples(run: Run) -> None:
    if not Method(run.method).writes:
        raise Refused(f"Run {run.id} trains a reward model, which writes no answers to judge.")
    if not run.config.get("eval_prompts"):
        raise Refused(
            f"Run {run.id} samples no held-out prompts (eval_prompts is 0), so nothing can be judged."
        )


def _check_name(new: Judge, session: Session) -> None:
    """Refuse a second judge whose win rates would have the name of the first one's."""
    assert new.run_id is not None
    for judge in run_judges.of_run(new.run_id, session=session):
        if run_judges.metric_of(judge) == run_judges.metric_of(new):
            raise Refused(
                f"Judge {judge.id} of run {new.run_id} has the name {judge.name} already; delete it first or "
                "take another judge."
            )


def delete(judge_id: int) -> None:
    """Delete a run's judge with its verdicts and win rates. Replies that were paid for can be reused.

    Raises:
        NotFound: when the id does not exist.
        Refused: for a campaign's judge.
    """
    with write_session() as session:
        judge = judges.get(judge_id, session=session)
        if judge.run_id is None:
            raise Refused(f"Judge {judge_id} stays with campaign {judge.campaign_id}; stop it instead.")
        run_judges.remove(judge, session=session)


def page_of_verdicts(judge_id: int, *, limit: int, after: int = 0) -> list[tuple[int, WholeVerdict]]:
    """Verdicts of a run's judge with the raw replies, each with the step of its sample."""
    with read_session() as session:
        return run_judges.page(judge_id, session=session, limit=limit, after=after)
