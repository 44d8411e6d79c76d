"""Automatic judges of campaigns and runs: the operations shared by the pages, the command line and the API.

A run's judges are started by `app.run_judges`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sqlalchemy.orm import Session

from app.board import Model
from app.errors import Refused
from app.evidence import AgreementRate, Board, Games, agreement_rate, make_board
from app.judge_kinds import DEFAULT_TOKENS, make_judge, notify, queue_of
from app.quality import Share
from app.ranking import KEPT_BOARDS, Ranking
from app.store import campaign_progress, campaigns, judges, names, people_verdicts, run_judges, runs, users
from app.store.contenders import REFERENCE
from app.store.db import read_session, write_session
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.judges import Cost, Decided, Pair, WholeVerdict
from app.store.models import Checkpoint, Contender, Judge
from app.store.people_verdicts import PersonVerdict

_SCORES = {Outcome.FIRST: 1.0, Outcome.SECOND: 0.0, Outcome.TIE: 0.5}


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What a judge has done, and how it agrees with people. It tells nothing about contenders.

    Attributes:
        counts: verdicts by state.
        flips: verdicts whose two orders disagree, among those with an outcome.
        longer: verdicts for the longer answer, among those for one of two answers of different length.
        cost: replies that were asked for this judge, and what they cost.
        failures: distinct reasons of failed verdicts.
        with_people: pairs of a verdict and a person's vote on the same answers.
        among_people: pairs of two people's votes on answers that the judge has judged.
    """

    judge: Judge
    counts: dict[VerdictStatus, int]
    flips: Share
    longer: Share
    cost: Cost
    failures: list[str]
    with_people: AgreementRate
    among_people: AgreementRate

    @property
    def verdicts(self) -> int:
        return sum(self.counts.values())

    @property
    def waiting(self) -> int:
        return self.counts[VerdictStatus.QUEUED]

    @property
    def queue(self) -> str:
        """The queue whose workers write the verdicts."""
        return queue_of(self.judge.kind)


# --- start, stop, continue -----------------------------------------------------------------------


def start(
    campaign_id: int,
    endpoint: str = "",
    *,
    scorer: str = "",
    template: str = "",
    seed: int = 0,
    max_tokens: int = DEFAULT_TOKENS,
    user: str = users.LOCAL,
) -> int:
    """Let a model behind an endpoint, or a scorer, judge all pairs of a campaign's answers.

    Args:
        endpoint: name of a configured endpoint.
        scorer: instead of an endpoint, a scorer or reward model in the notation of a run's reward.
        template: the question with its placeholders; the default one if empty.

    Returns:
        The judge's id.

    Raises:
        InvalidInput: for both or neither, for a judge that does not exist, for a bad template, and for a
            value out of bounds.
        NotFound: when the campaign does not exist.
        Refused: when the campaign is another person's, when no answers can be judged yet, or when the same
            judge was started before.
    """
    new = make_judge(endpoint, scorer, template, seed, max_tokens)
    new.campaign_id = campaign_id
    with write_session() as session:
        campaigns.own(campaign_id, user, session=session)
        same = judges.like(new, session=session)
        if same is not None:
            raise Refused(f"Judge {same.id} of this campaign is asked in the same way; continue that one.")
        new.user_id = users.ensure(user, session=session).id
        session.add(new)
        session.flush()
        if not judges.queue(new, session=session):
            raise Refused(
                "No two different answers are written yet; wait for the answers, then start the judge."
            )
        judge_id, kind = new.id, new.kind
    notify(judge_id, kind)
    return judge_id


def resume(judge_id: int, *, user: str = users.LOCAL) -> int:
    """Queue what was stopped or failed, and answers that were written since; return the number of verdicts.

    Raises:
        NotFound: when the id does not exist.
        Refused: when the campaign is another person's.
    """
    with write_session() as session:
        judge = _own(judge_id, user, session)
        queue = judges.queue if judge.run_id is None else run_judges.queue
        queued, kind = queue(judge, session=session), judge.kind
    if queued:
        notify(judge_id, kind)
    return queued


def stop(judge_id: int, *, user: str = users.LOCAL) -> None:
    """Stop a judge. Verdicts stay, and replies on their way are kept.

    Raises:
        NotFound: when the id does not exist.
        Refused: when the campaign is another person's.
    """
    with write_session() as session:
        _own(judge_id, user, session)
        judges.stop(judge_id, session=session)


def _own(judge_id: int, user: str, session: Session) -> Judge:
    judge = judges.get(judge_id, session=session)
    if judge.campaign_id is not None:  # runs are everybody's
        campaigns.own(judge.campaign_id, user, session=session)
    return judge


# --- reports -------------------------------------------------------------------------------------


def report(judge_id: int) -> JudgeReport:
    """The report of one judge.

    Raises:
        NotFound: when the id does not exist.
    """
    with read_session() as session:
        judge = judges.get(judge_id, session=session)
        return _reports([judge], session)[0]


def reports(campaign_id: int) -> list[JudgeReport]:
    """The reports of a campaign's judges, oldest first.

    Raises:
        NotFound: when the id does not exist.
    """
    with read_session() as session:
        campaigns.get(campaign_id, session=session)
        return _reports(judges.of_campaign(campaign_id, session=session), session)


def reports_of_run(run_id: int) -> list[JudgeReport]:
    """The reports of a run's judges, oldest first.

    Raises:
        NotFound: when the id does not exist.
    """
    with read_session() as session:
        runs.get(run_id, session=session)
        return _reports(run_judges.of_run(run_id, session=session), session)


def _reports(found: Sequence[Judge], session: Session) -> list[JudgeReport]:
    """The reports of the judges of one campaign or run."""
    if not found:
        return []
    counts = judges.counts([judge.id for judge in found], session=session)
    people: dict[Pair, list[Outcome]] = defaultdict(list)
    for vote in _votes(found[0].campaign_id, session):
        people[vote.pair].append(vote.outcome)
    shown = []
    for judge in found:
        decided = (run_judges if judge.campaign_id is None else judges).decided(judge.id, session=session)
        with_people, among_people = agreements(decided, people)
        shown.append(
            JudgeReport(
                judge,
                counts[judge.id],
                _flips(judge, decided),
                _longer(decided),
                judges.cost(judge.id, session=session),
                judges.failures(judge.id, session=session),
                with_people,
                among_people,
            )
        )
    return shown


def _votes(campaign_id: int | None, session: Session) -> Iterable[PersonVerdict]:
    return [] if campaign_id is None else people_verdicts.of_campaign(campaign_id, session=session)


def _flips(judge: Judge, decided: Sequence[Decided]) -> Share:
    """Verdicts whose two orders disagree. A scorer sees one answer at a time, so it has no orders."""
    if judge.kind is JudgeKind.SCORER:
        return Share(0, 0)
    return Share(sum(one.flipped for one in decided), len(decided))


def _longer(decided: Sequence[Decided]) -> Share:
    """Verdicts for the longer of two answers."""
    chosen = [one for one in decided if one.length and one.outcome != Outcome.TIE]
    return Share(sum((one.length > 0) is (one.outcome == Outcome.FIRST) for one in chosen), len(chosen))


def agreements(
    decided: Sequence[Decided], people: dict[Pair, list[Outcome]]
) -> tuple[AgreementRate, AgreementRate]:
    """Agreement of a judge with people, and of people with each other, on the answers that both judged.

    Args:
        people: everybody's votes by pair of answers.
    """
    prompts, equal, met, equal_people, met_people = [], [], [], [], []
    for verdict in decided:
        votes = people.get(Pair(verdict.source_id, verdict.first, verdict.second), [])
        same = Counter(votes)
        prompts.append(verdict.prompt_id)
        equal.append(same[Outcome(verdict.outcome)])
        met.append(len(votes))
        equal_people.append(sum(count * (count - 1) // 2 for count in same.values()))
        met_people.append(len(votes) * (len(votes) - 1) // 2)
    return agreement_rate(prompts, equal, met), agreement_rate(prompts, equal_people, met_people)


# --- the board -----------------------------------------------------------------------------------


def board(judge_id: int, *, user: str = users.LOCAL) -> Ranking:
    """The ranking of a campaign's contenders by a judge. `ids` are the contenders' positions.

    Raises:
        NotFound: when the id does not exist.
        Refused: when the names of the campaign are still hidden from this user, as for the board by people.
    """
    with read_session() as session:
        campaign_id = _with_names(judge_id, user, session)
        contenders = campaign_progress.contenders(campaign_id, session=session)
        models = [_model(contender, session) for contender in contenders]
        judged = judges.counts([judge_id], session=session)[judge_id][VerdictStatus.JUDGED]
        database = str(session.get_bind().engine.url)
    references = [at for at, model in enumerate(models) if model.method == REFERENCE]
    reference = references[0] if len(references) == 1 else None
    games, made = _computed(database, judge_id, judged, len(models), reference)
    prompts = len(np.unique(games.prompt))
    return Ranking(range(len(models)), models, made, len(games), prompts, hidden=0)


def whole_verdicts(
    judge_id: int, *, limit: int, after: int = 0, user: str = users.LOCAL
) -> tuple[list[WholeVerdict], list[str]]:
    """Verdicts on a campaign's answers with the raw replies, and the contenders' names by position.

    Raises:
        NotFound: when the id does not exist.
        Refused: as `board`.
    """
    with read_session() as session:
        campaign_id = _with_names(judge_id, user, session)
        contenders = campaign_progress.contenders(campaign_id, session=session)
        found = judges.page(judge_id, session=session, limit=limit, after=after)
    return found, [contender.name for contender in contenders]


def _with_names(judge_id: int, user: str, session: Session) -> int:
    """The campaign of a judge; its names must have been seen by the person."""
    judge = judges.get(judge_id, session=session)
    if judge.campaign_id is None:
        raise Refused(f"Judge {judge_id} judges run {judge.run_id}; its win rates are on the run's charts.")
    if not names.seen_in_campaign(judge.campaign_id, user, session=session):
        raise Refused(
            f"The names of campaign {judge.campaign_id} are still hidden from you; show them first. You "
            "cannot vote in this campaign afterwards."
        )
    return judge.campaign_id


@lru_cache(maxsize=KEPT_BOARDS)
def _computed(
    database: str, judge_id: int, judged: int, models: int, reference: int | None
) -> tuple[Games, Board]:
    """A judge's games and board. Verdicts with an outcome never change, so their number is a version."""
    with read_session() as session:
        games = _games(judges.decided(judge_id, session=session))
    return games, make_board(games, models, reference=reference)


def _games(decided: Sequence[Decided]) -> Games:
    return Games(
        prompt=np.array([one.prompt_id for one in decided], np.int64),
        first=np.array([one.first for one in decided], np.int64),
        second=np.array([one.second for one in decided], np.int64),
        score=np.array([_SCORES[Outcome(one.outcome)] for one in decided], np.float64),
        length=np.array([one.length for one in decided], np.float64),
    )


def _model(contender: Contender, session: Session) -> Model:
    point = None if contender.checkpoint_id is None else session.get(Checkpoint, contender.checkpoint_id)
    step = None if point is None else point.step
    return Model(contender.name, contender.method, contender.base_model, contender.run_id, step)
