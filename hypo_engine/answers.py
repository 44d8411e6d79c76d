"""What the pages ask a model for, and what it answers."""

from dataclasses import dataclass

from hypo_engine.reporting import Prompt


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request for one answer.

    Attributes:
        prompt: The conversation so far, or plain text to continue.
        adapter: A name that was passed to :meth:`Served.add_adapter`; None is the base model.
        max_new_tokens: Length limit of the answer in tokens, at least 1.
        temperature: 0 is greedy.
        top_p: Nucleus sampling threshold, in (0, 1].
        seed: Rows with equal seeds draw equal random numbers.
    """

    prompt: Prompt
    adapter: str | None
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; log-probabilities are in nats, at temperature 1.

    Attributes:
        tokens: Number of tokens, including the end token.
        finished: Whether it ended with an end token.
        stopped: Whether it was stopped on request.
        policy_logp: Sum over tokens under the row's own model; ``reference_logp`` under the base.
        token_texts: The text that each token adds; the name of the end token.
    """

    text: str
    tokens: int
    finished: bool
    stopped: bool
    policy_logp: float
    reference_logp: float
    token_texts: list[str]
    policy_token_logps: list[float]
    reference_token_logps: list[float]
