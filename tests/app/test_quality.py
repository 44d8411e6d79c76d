"""Quality of a campaign's votes: agreement, habits, and tasks on which people differ."""

import json

import pytest
from typer.testing import CliRunner

from app import labelling
from app.cli.main import cli
from app.errors import NotFound
from app.quality import Quality, Share, read_quality
from app.store.db import read_session
from app.store.enums import CampaignForm, CampaignOrder, Outcome
from tests.app import campaign_setup

pytestmark = pytest.mark.usefixtures("engine")


def quality(campaign_id: int) -> Quality:
    with read_session() as session:
        return read_quality(campaign_id, session=session)


def prefer(campaign_id: int, user: str, better: list[int | str], *, seconds: float = 3.0) -> None:
    """Vote on the tasks in order; `better` is a contender's position for each, or a word."""
    for wanted in better:
        offer = labelling.take(campaign_id, user=user, count=1).offers[0]
        choice = wanted
        if isinstance(wanted, int):
            at = next(
                place for place, text in enumerate(offer.answers) if text.startswith(f"Answer {wanted} ")
            )
            choice = "ABC"[at]
        labelling.vote(offer.slot_id, str(choice), user=user, seconds=seconds)


def ready(**given: object) -> int:
    prompts = [f"{number}?" for number in range(6)]
    values = {"prompts": prompts, "votes_wanted": 3, "order": CampaignOrder.IN_ORDER, **given}
    return campaign_setup.ready(**values)


def test_a_campaign_without_votes_has_no_figures() -> None:
    found = quality(ready())
    assert (found.people, found.disagreements) == ([], [])
    assert (found.agreement.alpha, found.agreement.rate, found.agreement.units) == (None, None, 0)
    with pytest.raises(NotFound):
        quality(99)


def test_agreement_is_the_same_whatever_side_an_answer_was_shown_on() -> None:
    campaign_id = ready()
    for user in ("ada", "bob"):
        prefer(campaign_id, user, [0, 1, 0, 1, 0, 1])
    found = quality(campaign_id)
    assert (found.agreement.rate, found.agreement.alpha) == (1, 1)
    assert found.disagreements == []
    assert [(person.name, person.agrees) for person in found.people] == [
        ("ada", Share(6, 6)),
        ("bob", Share(6, 6)),
    ]


def test_people_who_differ_are_listed_with_their_votes() -> None:
    campaign_id = ready()
    prefer(campaign_id, "ada", [0, 0, 1, "tie"], seconds=2)
    prefer(campaign_id, "bob", [0, 1, 1, "both bad", 0], seconds=8)
    found = quality(campaign_id)
    assert [gap.number for gap in found.disagreements] == [2, 4]
    assert dict(found.disagreements[1].votes) == {"ada": Outcome.TIE, "bob": Outcome.ALL_BAD}
    assert (found.agreement.units, found.agreement.pairs, found.agreement.rate) == (4, 4, 0.5)
    bob, ada = found.people
    assert (bob.name, bob.votes, bob.median_seconds, bob.agrees) == ("bob", 5, 8, Share(2, 4))
    assert (ada.votes, ada.median_seconds, ada.first_side.of) == (4, 2, 3)


def test_habits_of_a_person_who_always_takes_the_first_or_the_longer_answer() -> None:
    def text(number: int, position: int) -> str:
        return f"Answer {position} " + "and more " * (position * (number + 1))

    campaign_id = ready(text=text)
    prefer(campaign_id, "first", ["A"] * 6)
    prefer(campaign_id, "longer", [1] * 6)
    found = {person.name: person for person in quality(campaign_id).people}
    assert found["first"].first_side == Share(6, 6)
    assert found["longer"].longer == Share(6, 6)
    assert found["first"].first_side.interval == pytest.approx((0.61, 1.0), abs=0.01)


def test_a_vote_among_three_counts_once_for_its_person() -> None:
    campaign_id = ready(contenders=3, form=CampaignForm.BEST_WORST)
    offer = labelling.take(campaign_id, user="ada").offers[0]
    labelling.vote(offer.slot_id, "A", worst="C", user="ada", seconds=4)
    (ada,) = quality(campaign_id).people
    assert (ada.votes, ada.median_seconds) == (1, 4)


def test_alpha_counts_all_votes_of_the_campaign() -> None:
    campaign_id = ready()
    prefer(campaign_id, "ada", [0, 1, 0, 1, 0, 1])
    prefer(campaign_id, "bob", [0, 1, 1, 1, 0, 0])
    assert quality(campaign_id).agreement.alpha == pytest.approx(1 - 11 * 4 / (144 - 72))


def test_the_command_prints_agreement_and_habits() -> None:
    campaign_id = ready()
    empty = CliRunner().invoke(cli, ["campaigns", "quality", str(campaign_id)])
    assert "Nobody has voted in this campaign yet." in empty.output
    prefer(campaign_id, "ada", [0, 1, 0, 1, 0, 1])
    prefer(campaign_id, "bob", [0, 1, 1, 1, 0, 0])
    said = CliRunner().invoke(cli, ["campaigns", "quality", str(campaign_id)]).output
    assert "67% of 6 pairs of votes on the same answers agree." in said
    assert "Krippendorff's alpha is 0.39" in said
    assert "People differ on the comparisons 3, 6." in said
    told = CliRunner().invoke(cli, ["campaigns", "quality", str(campaign_id), "--json"]).output
    assert [person["votes"] for person in json.loads(told)["people"]] == [6, 6]


def test_the_command_prints_controls() -> None:
    campaign_id = campaign_setup.ready(
        prompts=[f"{n}?" for n in range(8)], repeat_share=0.25, check_share=0.25
    )
    while offers := labelling.take(campaign_id).offers:
        labelling.vote(offers[0].slot_id, "tie")
    said = CliRunner().invoke(cli, ["campaigns", "quality", str(campaign_id)]).output
    assert "0 of 2 (0 to 66%)" in said
    assert "2 of 2 (34 to 100%)" in said
    assert "local did not pass the attention check on comparison" in said


def test_the_commands_decide_a_disagreement() -> None:
    def said(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["campaigns", *arguments]).output

    campaign_id = str(ready(votes_wanted=2))
    assert "People differ on no comparison" in said("disagreements", campaign_id)
    prefer(int(campaign_id), "ada", [0])
    prefer(int(campaign_id), "bob", [1])
    assert "0?" in said("disagreements", campaign_id)
    shown = said("adjudicate", campaign_id, "1")
    assert "Answer 0 to question 0." in shown
    assert "Nobody has decided yet." in shown
    assert "Decided by local: tie (Alike.)" in said(
        "adjudicate", campaign_id, "1", "tie", "--reason", "Alike."
    )
    assert json.loads(said("adjudicate", campaign_id, "1", "--json"))["author"] == "local"
    assert "Nobody has decided yet." in said("adjudicate", campaign_id, "1", "--undo")
    assert "Give either a choice or --undo" in str(
        CliRunner().invoke(cli, ["campaigns", "adjudicate", campaign_id, "1", "A", "--undo"]).exception
    )
