"""Campaigns: what is stored, what is refused, who may change what, and their progress."""

from typing import Any

import pytest
from sqlalchemy import func, select

from app import campaign_prompts, campaigns, labelling
from app.errors import AppError, InvalidInput, NotFound, Refused
from app.store import comparisons, conversations, datasets, label_queries
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import CampaignForm, CampaignStatus, GenerationStatus, TaskStatus
from app.store.models import Comparison, Generation, Run, Slot
from tests.app import campaign_setup
from tests.app.arena import add_dataset, add_run, start

pytestmark = pytest.mark.usefixtures("engine")


def counted(table: Any) -> int:
    with read_session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


# --- creating ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contenders", "form", "judged", "stored"),
    [
        (2, CampaignForm.PAIRS, 2, 2),
        (3, CampaignForm.PAIRS, 6, 8),
        (4, CampaignForm.PAIRS, 12, 14),
        (2, CampaignForm.BEST_WORST, 2, 2),
        (4, CampaignForm.BEST_WORST, 2, 2),
    ],
)
def test_every_pair_of_a_prompt_is_judged(
    contenders: int, form: CampaignForm, judged: int, stored: int
) -> None:
    campaign_id = campaign_setup.create(contenders=contenders, form=form)
    tasks = campaign_setup.tasks(campaign_id)
    assert [task.number for task in tasks] == list(range(1, judged + 1))
    assert len({(task.first, task.second) for task in tasks}) == judged // 2
    assert counted(Comparison) == stored
    assert counted(Generation) == 2 * contenders  # answers are written once, whatever the number of pairs
    assert {task.status for task in tasks} == {TaskStatus.WAITING}


def test_a_prompt_keeps_its_history_and_every_sample_has_a_seed() -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    campaign_setup.create(prompts=[prompt], samples=3)
    with read_session() as session:
        found = session.scalars(select(Generation).order_by(Generation.id)).all()
        assert [row.seed for row in found] == [7, 7, 8, 8, 9, 9]
        assert {str(row.prompt.content) for row in found} == {str(prompt)}
        assert {row.status for row in found} == {GenerationStatus.QUEUED}
        assert {tuple(row.parameters) for row in found} == {("max_new_tokens", "temperature", "top_p")}


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"name": " "}, "name", "needs a name"),
        ({"name": "x" * 161}, "name", "160 characters"),
        ({"votes_wanted": 0}, "votes_wanted", "between 1 and 50"),
        ({"samples": 17}, "samples", "between 1 and 16"),
        ({"samples": 16, "prompts": [f"{n}?" for n in range(63)]}, "prompts", "63 prompts with 16 samples"),
        ({"guidelines": "x" * 20_001}, "guidelines", "20,000"),
        ({"voters": ["nobody"]}, "voters", "'nobody', who has no login"),
        ({"seed": -1}, "seed", "seed must be"),
        ({"choices": [ContenderChoice(base_model="demo")]}, "contenders", "between 2 and 4"),
        ({"choices": [ContenderChoice(base_model="demo")] * 2}, "contenders", "chosen twice"),
    ],
)
def test_what_is_out_of_bounds_is_told_and_nothing_stored(
    given: dict[str, Any], field: str, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        campaign_setup.create(**given)
    assert caught.value.field == field
    assert campaigns.overviews() == []
    assert counted(Comparison) == 0


def test_a_run_that_is_not_there_cannot_answer() -> None:
    with pytest.raises(NotFound):
        campaign_setup.create(choices=[ContenderChoice(base_model="demo"), ContenderChoice(run_id=99)])


# --- prompts ------------------------------------------------------------------------------------------


def test_held_out_prompts_that_trained_nobody() -> None:
    with write_session() as session:
        held = add_dataset(session, "held", prompt="Held?", held_out=0.9).id
        trained = add_dataset(session, "trained", prompt="Held?").id
        run = add_run(session, dataset_id=trained).id
        if datasets.split_counts(held, session=session).held_out == 0:
            pytest.fail("The prompt of this test must be held out by its hash; choose another text.")
    assert [p.question for p in campaign_prompts.of_dataset(held, count=5)] == ["Held?"]
    with pytest.raises(InvalidInput, match="no held-out prompt that the contenders were not trained on"):
        campaign_prompts.of_dataset(held, count=5, choices=[ContenderChoice(run_id=run)])
    with pytest.raises(InvalidInput, match="count must be"):
        campaign_prompts.of_dataset(held, count=0)


# --- answers -------------------------------------------------------------------------------------------


def test_tasks_are_ready_identical_or_failed() -> None:
    campaign_id = campaign_setup.create(prompts=["One?", "Two?", "Three?"], contenders=3)
    same = {(1, 0): "Same.", (1, 1): "Same."}
    campaign_setup.write_answers(
        campaign_id,
        lambda number, position: same.get((number, position), f"{number} {position}"),
        failed=[(2, 1)],
    )
    found = [task.status for task in campaign_setup.tasks(campaign_id)]
    ready, identical, failed = TaskStatus.READY, TaskStatus.IDENTICAL, TaskStatus.FAILED
    assert found == [ready] * 3 + [identical, ready, ready] + [failed, ready, failed]
    progress = campaigns.overview(campaign_id).progress
    assert progress.tasks == {TaskStatus.WAITING: 0, ready: 6, identical: 1, failed: 2}
    assert (progress.prompts, progress.answers, progress.answered, progress.failed_answers) == (3, 9, 9, 1)
    assert progress.failures == ["It does not fit."]
    assert progress.votes_wanted == 6


def test_answers_whose_worker_died_before_it_settled_them_are_offered() -> None:
    campaign_id = campaign_setup.create(prompts=["One?"])
    with write_session() as session:
        (source,) = session.scalars(select(Comparison)).all()
        for place, row in enumerate(comparisons.answers(source.id, session=session)):
            row.status, row.text, row.tokens = GenerationStatus.FINISHED, str(place), 1
    assert len(labelling.take(campaign_id).offers) == 1


def test_a_closed_campaign_writes_no_more_answers() -> None:
    campaign_id = campaign_setup.create()
    campaigns.set_status(campaign_id, CampaignStatus.CLOSED)
    with read_session() as session:
        assert set(session.scalars(select(Generation.status))) == {GenerationStatus.STOPPED}
    with pytest.raises(Refused, match="is closed"):
        campaigns.set_status(campaign_id, CampaignStatus.OPEN)


# --- changing ------------------------------------------------------------------------------------------


def test_only_the_owner_changes_a_campaign() -> None:
    campaign_id = campaign_setup.create(user="ada")
    for change in (
        lambda: campaigns.edit(campaign_id, name="Mine", user="bob"),
        lambda: campaigns.set_status(campaign_id, CampaignStatus.CLOSED, user="bob"),
        lambda: campaigns.add_prompts(campaign_id, campaign_prompts.checked(["x"]), user="bob"),
    ):
        with pytest.raises(Refused, match="This campaign is ada's"):
            change()
    assert campaigns.overview(campaign_id).campaign.name == "Which is better?"


def test_the_command_line_shares_campaigns_with_everybody() -> None:
    for owner, user in (("ada", "local"), ("local", "ada")):
        campaign_id = campaign_setup.create(user=owner)
        campaigns.edit(campaign_id, name="Ours", user=user)
        assert campaigns.overview(campaign_id).campaign.name == "Ours"


def test_an_edit_loses_no_vote() -> None:
    campaign_id = campaign_setup.ready(votes_wanted=2)
    slot = labelling.take(campaign_id, count=1).offers[0]
    labelling.vote(slot.slot_id, "A")
    campaigns.edit(campaign_id, name="Other", guidelines="Be fair.", ask_reason=True, votes_wanted=1)
    found = campaigns.overview(campaign_id)
    assert (found.campaign.name, found.campaign.guidelines, found.campaign.ask_reason) == (
        "Other",
        "Be fair.",
        True,
    )
    assert (found.progress.votes, found.progress.votes_wanted) == (1, 2)


def test_more_prompts_have_the_same_contenders() -> None:
    campaign_id = campaign_setup.ready(contenders=3)
    campaigns.add_prompts(campaign_id, campaign_prompts.checked(["Three?"]))
    assert [task.number for task in campaign_setup.tasks(campaign_id)] == list(range(1, 10))
    with read_session() as session:
        rows = session.scalars(select(Comparison).where(Comparison.source_id.is_(None))).all()
        assert len({str([c.name for c in row.conversation.contenders]) for row in rows}) == 1
    assert campaigns.overview(campaign_id).progress.prompts == 3
    with pytest.raises(InvalidInput, match="more than 1,000"):
        campaigns.add_prompts(campaign_id, campaign_prompts.checked([f"{n}?" for n in range(998)]))


def test_no_more_prompts_for_a_deleted_run() -> None:
    campaign_id = campaign_setup.ready()
    with write_session() as session:
        from app.store import removal

        removal.remove(session.scalars(select(Run.id)).one(), session=session)
    with pytest.raises(Refused, match="was deleted"):
        campaigns.add_prompts(campaign_id, campaign_prompts.checked(["Three?"]))


# --- beside chats --------------------------------------------------------------------------------------


def test_a_campaigns_prompts_are_no_chats() -> None:
    campaign_setup.ready()
    with write_session() as session:
        chat = start(session, [ContenderChoice(base_model="demo")]).id
        found = conversations.recent(session=session)
        assert [conversation.id for conversation in found] == [chat]
        prompt = session.scalars(select(Comparison)).first()
        assert prompt is not None
        for act in (
            lambda: comparisons.ask(prompt.conversation_id, "And?", session=session),
            lambda: comparisons.regenerate(prompt.id, 0, session=session),
        ):
            with pytest.raises(Refused, match="belongs to campaign"):
                act()


def test_questions_are_counted_once_whatever_the_number_of_pairs() -> None:
    campaign_setup.create(contenders=4)
    with read_session() as session:
        assert comparisons.count(session=session) == 2


def test_votes_are_votes_like_all_others() -> None:
    campaign_id = campaign_setup.ready(contenders=3, prompts=["One?"])
    for offer in labelling.take(campaign_id, count=3).offers:
        best = "A" if offer.answers[0] < offer.answers[1] else "B"
        labelling.vote(offer.slot_id, best, reason="shorter", seconds=2.5)
    campaigns.show_names(campaign_id)
    with read_session() as session:
        votes = label_queries.votes(session=session, viewer="local")
    assert len(votes) == 3
    for vote in votes:
        assert vote.best is not None
        assert vote.worst is not None
        assert int(vote.best.answer.position or 0) < int(vote.worst.answer.position or 0)
        assert (vote.label.blind, vote.label.reason, vote.label.seconds) == (True, "shorter", 2.5)
        assert [side.contender.position for side in vote.sides] == [
            side.answer.position for side in vote.sides
        ]


def test_unknown_campaigns_are_told() -> None:
    for act in (campaigns.overview, campaigns.show_names, labelling.take):
        with pytest.raises(AppError, match="There is no campaign 5"):
            act(5)
    assert counted(Slot) == 0
