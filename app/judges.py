"""Automatic judges of a campaign: the operations shared by the page, the command line and the API."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sqlalchemy.orm import Session

from app import dispatch, endpoints
from app.board import Model
from app.endpoints import judging
from app.errors import InvalidInput, NotFound, Refused
from app.evidence import AgreementRate, Board, Games, agreement_rate, make_board
from app.quality import Share
from app.ranking import KEPT_BOARDS, Ranking
from app.reward_check import run_problem
from app.store import campaign_progress, campaigns, judges, names, people_verdicts, users
from app.store.campaigns import checked_number
from app.store.contenders import REFERENCE
from app.store.conversations import check_seed
from app.store.db import read_session, write_session
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.judges import Cost, Decided, Pair, WholeVerdict
from app.store.models import Checkpoint, Contender, Judge
from app.text import clean_text
from hypo_engine.reward_spec import parse_reward

MAX_TOKENS = 4096
DEFAULT_TOKENS = 512
MAX_SPEC_CHARS = 200

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
    if bool(endpoint) == bool(scorer):
        raise InvalidInput("Give either an endpoint or a scorer as the judge.", field="endpoint")
    new = _scorer(scorer) if scorer else _endpoint(endpoint, template, seed, max_tokens)
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
    _notify(judge_id, kind)
    return judge_id


def _endpoint(name: str, template: str, seed: int, max_tokens: int) -> Judge:
    try:
        found = endpoints.get(name)
    except NotFound as error:
        raise InvalidInput(str(error), field="endpoint") from error
    check_seed(seed)
    return Judge(
        kind=JudgeKind.ENDPOINT,
        name=found.name,
        model=found.model,
        template=judging.checked_template(template),
        seed=seed,
        max_tokens=checked_number(max_tokens, MAX_TOKENS, "max_tokens"),
    )


def _scorer(spec: str) -> Judge:
    spec = clean_text(spec).strip()
    try:
        found = parse_reward(spec)
    except ValueError as error:
        raise InvalidInput(f"scorer {error}.", field="scorer") from error
    if found.scorer == "regex":
        raise InvalidInput(
            "scorer regex cannot judge: a slow pattern would keep the generate worker from answering; choose "
            "another scorer.",
            field="scorer",
        )
    problem = "" if found.run is None else run_problem(found.run)
    if problem or len(spec) > MAX_SPEC_CHARS:
        why = f": {problem}" if problem else f" has more than {MAX_SPEC_CHARS} characters."
        raise InvalidInput(f"scorer{why}", field="scorer")
    return Judge(kind=JudgeKind.SCORER, name=spec[:100], model=spec, template="", seed=0, max_tokens=0)


def queue_of(kind: JudgeKind) -> str:
    """The queue whose workers write the verdicts of a kind of judges."""
    return dispatch.ENDPOINTS_QUEUE if kind is JudgeKind.ENDPOINT else dispatch.GENERATE_QUEUE


def _notify(judge_id: int, kind: JudgeKind) -> None:
    """Notify the workers that verdicts wait; the id is a hint."""
    send = dispatch.send_request if kind is JudgeKind.ENDPOINT else dispatch.send_comparison
    send(judge_id)


def resume(judge_id: int, *, user: str = users.LOCAL) -> int:
    """Queue what was stopped or failed, and answers that were written since; return the number of verdicts.

    Raises:
        NotFound: when the id does not exist.
        Refused: when the campaign is another person's.
    """
    with write_session() as session:
        judge = _own(judge_id, user, session)
        queued, kind = judges.queue(judge, session=session), judge.kind
    if queued:
        _notify(judge_id, kind)
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
        return _reports([judge], judge.campaign_id, session)[0]


def reports(campaign_id: int) -> list[JudgeReport]:
    """The reports of a campaign's judges, oldest first.

    Raises:
        NotFound: when the id does not exist.
    """
    with read_session() as session:
        campaigns.get(campaign_id, session=session)
        return _reports(judges.of_campaign(campaign_id, session=session), campaign_id, session)


def _reports(found: Sequence[Judge], campaign_id: int, session: Session) -> list[JudgeReport]:
    if not found:
        return []
    counts = judges.counts([judge.id for judge in found], session=session)
    people: dict[Pair, list[Outcome]] = defaultdict(list)
    for vote in people_verdicts.of_campaign(campaign_id, session=session):
        people[vote.pair].append(vote.outcome)
    shown = []
    for judge in found:
        decided = judges.decided(judge.id, session=session)
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
        judge = _with_names(judge_id, user, session)
        contenders = campaign_progress.contenders(judge.campaign_id, session=session)
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
    """Verdicts with the raw replies, and the contenders' names by position.

    Raises:
        NotFound: when the id does not exist.
        Refused: as `board`.
    """
    with read_session() as session:
        judge = _with_names(judge_id, user, session)
        contenders = campaign_progress.contenders(judge.campaign_id, session=session)
        found = judges.page(judge_id, session=session, limit=limit, after=after)
    return found, [contender.name for contender in contenders]


def _with_names(judge_id: int, user: str, session: Session) -> Judge:
    """A judge whose campaign's names a person has seen."""
    judge = judges.get(judge_id, session=session)
    if not names.seen_in_campaign(judge.campaign_id, user, session=session):
        raise Refused(
            f"The names of campaign {judge.campaign_id} are still hidden from you; show them first. You "
            "cannot vote in this campaign afterwards."
        )
    return judge


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
