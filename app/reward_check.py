"""Whether the run that a reward names has a reward model, or trains one that a run can wait for."""

from app.errors import InvalidInput, NotFound
from app.launch_methods import PENDING
from app.store import runs
from app.store.contenders import REWARD
from app.store.db import read_session
from app.store.enums import RunStatus
from hypo_engine.config import TrainConfig
from hypo_engine.reward_spec import parse_reward


def reward_run(config: TrainConfig) -> int | None:
    """The run whose reward model a run needs, if any."""
    return parse_reward(config.reward).run if config.reward and config.method.writes else None


def reward_problems(config: TrainConfig) -> dict[str, str]:
    """One sentence for the field `reward` if it names a run without a reward model; else empty."""
    number = reward_run(config)
    if number is None or config.reward == PENDING:
        return {}
    problem = run_problem(number, may_wait=True)
    return {"reward": f"Reward: {problem}"} if problem else {}


def run_problem(number: int, *, may_wait: bool = False) -> str:
    """Why a run has no reward model, as a sentence; empty if it has one.

    Args:
        may_wait: whether a run that is still to train its reward model will do.
    """
    with read_session() as session:
        try:
            run = runs.get(number, session=session)
        except NotFound as error:
            return str(error)
    if run.method != REWARD:
        return f"run {number} trained no reward model; name a run of the method reward."
    if run.status is RunStatus.FINISHED or (may_wait and not run.status.is_over):
        return ""
    remedy = "resume it" if run.status.is_over else "wait for it to finish, then name it"
    return f"run {number} is {run.status.value}; {remedy}, or name another."


def refuse_missing_reward(config: TrainConfig) -> None:
    """Refuse a run whose reward names a run without a reward model.

    Raises:
        InvalidInput: says why.
    """
    if problem := reward_problems(config).get("reward"):
        raise InvalidInput(problem, field="reward")
