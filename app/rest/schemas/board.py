"""The board: the ranking of all models."""

from pydantic import Field

from app.evidence import Missing
from app.rest.types import Shown


class WinRateShown(Shown):
    """A model's win rate against the reference; ties and both bad count one half."""

    rate: float = Field(description="Share of the votes won, from 0 to 1.")
    low: float | None = Field(description="Lower bound of the 95% interval; null with fewer than 5 prompts.")
    high: float | None = Field(description="Upper bound of the 95% interval.")
    games: int = Field(description="Number of votes between the two.")
    controlled: float | None = Field(
        description="The rate at equal length of the answers; null where the lengths do not differ."
    )
    controlled_low: float | None
    controlled_high: float | None


class ModelRated(Shown):
    """A model and its rating."""

    id: int = Field(description="Number of the model, for `reference` and `pairs`.")
    name: str
    method: str = Field(description="`reference` for a base model.")
    base_model: str
    run_id: int | None = Field(description="The run; null for a base model and a deleted run.")
    step: int | None = Field(description="The step of the run's checkpoint.")
    rank: int | None = Field(
        description="One more than the number of stronger models that the votes separate from it; null "
        "without an interval."
    )
    strength: float | None = Field(
        description="Bradley-Terry strength: log-odds of winning against the average model."
    )
    low: float | None = Field(description="Lower bound of the strength's 95% interval.")
    high: float | None = Field(description="Upper bound of the strength's 95% interval.")
    games: int = Field(description="Number of decisions between this model's answer and another one.")
    missing: Missing | None = Field(
        description="Why the strength or its interval is null: too few prompts, or no votes that connect the "
        "model with the others."
    )
    against_reference: WinRateShown | None = Field(
        description="Null for the reference and for models that never met it."
    )


class PairMet(Shown):
    """Two models that met in votes, the stronger one first."""

    first: int = Field(description="Number of the first model.")
    second: int
    rate: float = Field(description="Share of the votes won by the first; ties and both bad count one half.")
    low: float | None = Field(
        description="Lower bound of the rate's 95% interval; null with fewer than 5 prompts."
    )
    high: float | None = Field(description="Upper bound of the rate's 95% interval.")
    games: int
    more_votes: int | None = Field(
        description="About how many more votes would separate the two; 0 if they are separated."
    )


class BoardShown(Shown):
    """The ranking of all models, from the votes whose names you may see."""

    games: int = Field(description="Number of decisions between two answers.")
    prompts: int = Field(description="Number of prompts of these decisions.")
    hidden: int = Field(description="Votes left out because you may still judge their answers blind.")
    reference: int | None = Field(description="Number of the model for the win rates against it.")
    models: list[ModelRated] = Field(description="The strongest first; models without a strength come last.")
    pairs: list[PairMet] = Field(description="The pairs of models that met.")
