"""Adjudication: comparisons on which voters differ, and verdicts on them."""

from typing import Any

from pydantic import Field

from app.adjudication import Case, Listed, Said
from app.markdown import to_html
from app.rest.schemas.slots import AnswerToJudge
from app.rest.types import Given, Name, Shown, Text
from app.store.judging import LETTERS, MAX_REASON_CHARS


class VerdictGiven(Given):
    """A verdict; a second one of the same person takes the place of the first."""

    choice: Name = Field(description="Letter of the best answer, `tie`, or `both bad`.")
    worst: Name = Field("", description="Letter of the worst answer; required with more than two answers.")
    reason: Text = Field("", max_length=MAX_REASON_CHARS, description="The reason, as text.")


class DisagreementListed(Shown):
    """A comparison on which people differ."""

    number: int = Field(description="The comparison's place in the campaign.")
    question: str
    votes: int
    author: str = Field(description="Who has decided it; empty if nobody has.")

    @classmethod
    def of(cls, found: Listed) -> "DisagreementListed":
        return cls(number=found.number, question=found.question, votes=found.votes, author=found.author)


class SaidShown(Shown):
    """A vote or a verdict, in your order of the answers."""

    choice: str = Field(description="Letter of the best answer, `tie`, or `both bad`.")
    worst: str = Field(description="Letter of the worst answer, among more than two.")
    reason: str
    seconds: float | None = Field(description="How long the vote took.")

    @classmethod
    def of(cls, said: Said) -> "SaidShown":
        return cls(choice=said.choice, worst=said.worst, reason=said.reason, seconds=said.seconds)


class CaseShown(Shown):
    """A disagreement to decide, without the names of models and voters."""

    number: int = Field(description="The comparison's place in the campaign.")
    opening: list[dict[str, Any]] = Field(description="The messages before the question.")
    question: str
    answers: list[AnswerToJudge]
    votes: list[SaidShown] = Field(description="In no order that tells who gave them.")
    verdict: SaidShown | None = Field(description="The verdict that counts; null before one is given.")
    author: str = Field(description="Who gave the verdict.")

    @classmethod
    def of(cls, case: Case) -> "CaseShown":
        """The case with its texts as HTML."""
        return cls(
            number=case.number,
            opening=[dict(message) for message in case.opening],
            question=case.question,
            answers=[
                AnswerToJudge(letter=letter, text=text, html=to_html(text))
                for letter, text in zip(LETTERS, case.answers, strict=False)
            ],
            votes=[SaidShown.of(vote) for vote in case.votes],
            verdict=None if case.verdict is None else SaidShown.of(case.verdict),
            author=case.author,
        )
