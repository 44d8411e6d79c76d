"""How an automatic judge is asked: a model behind an endpoint, or a scorer. Checked before it is stored."""

from app import dispatch, endpoints
from app.endpoints import judging
from app.errors import InvalidInput, NotFound
from app.reward_check import run_problem
from app.store.campaigns import checked_number
from app.store.conversations import check_seed
from app.store.enums import JudgeKind
from app.store.models import Judge
from app.text import clean_text
from hypo_engine.reward_spec import parse_reward

MAX_TOKENS = 4096
DEFAULT_TOKENS = 512
MAX_SPEC_CHARS = 200


def make_judge(endpoint: str, scorer: str, template: str, seed: int, max_tokens: int) -> Judge:
    """A judge that is not stored yet and has no campaign and no run.

    Raises:
        InvalidInput: for both an endpoint and a scorer or neither, for one that does not exist, for a bad
            template, and for a value out of bounds.
    """
    if bool(endpoint) == bool(scorer):
        raise InvalidInput("Give either an endpoint or a scorer as the judge.", field="endpoint")
    return _scorer(scorer) if scorer else _endpoint(endpoint, template, seed, max_tokens)


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
    if problem:
        raise InvalidInput(f"scorer: {problem}", field="scorer")
    if len(spec) > MAX_SPEC_CHARS:
        raise InvalidInput(f"scorer has more than {MAX_SPEC_CHARS} characters.", field="scorer")
    return Judge(kind=JudgeKind.SCORER, name=spec[:100], model=spec, template="", seed=0, max_tokens=0)


def queue_of(kind: JudgeKind) -> str:
    """The queue whose workers write the verdicts of a kind of judges."""
    return dispatch.ENDPOINTS_QUEUE if kind is JudgeKind.ENDPOINT else dispatch.GENERATE_QUEUE


def notify(judge_id: int, kind: JudgeKind) -> None:
    """Notify the workers that verdicts wait; the id is a hint."""
    send = dispatch.send_request if kind is JudgeKind.ENDPOINT else dispatch.send_comparison
    send(judge_id)
