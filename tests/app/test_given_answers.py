"""Contenders whose answers were written elsewhere: what is read, what is refused, what is stored."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app import campaign_prompts, campaigns, given_answers, labelling
from app.campaigns import NewCampaign
from app.errors import InvalidInput, Refused
from app.store import answering
from app.store.campaign_items import GivenAnswers
from app.store.contenders import GIVEN
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus, TaskStatus
from app.store.models import Campaign, Comparison, Generation
from tests.app import campaign_setup

DEMO = [ContenderChoice(base_model="demo")]


def given(name: str = "GPT", **texts: str | list[str]) -> GivenAnswers:
    """Answers to the prompts `One?`, `Two?` and so on, each named by its first word."""
    rows: list[Any] = [
        {"prompt": f"{prompt}?", "answer": answer}
        for prompt, answers in texts.items()
        for answer in ([answers] if isinstance(answers, str) else answers)
    ]
    return given_answers.of_rows(name, enumerate(rows, start=1))


def write(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def written(campaign_id: int, position: int) -> list[Generation]:
    query = (
        select(Generation)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id, Generation.position == position)
    )
    with read_session() as session:
        return list(session.scalars(query.order_by(Generation.id)))


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gpt.jsonl", '{"prompt": "One?", "answer": "1"}\n{"question": "Two?", "response": "2"}\n'),
        ("gpt.csv", "instruction,output\nOne?,1\nTwo?,2\n"),
        ("gpt.json", '[{"prompt": "One?", "completion": "1"}, {"prompt": "Two?", "answer": "2"}]'),
        (
            "gpt.jsonl",
            '{"messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "1"}]}\n'
            '{"prompt": [{"role": "user", "content": "Two?"}], "answer": "2"}\n',
        ),
    ],
)
def test_answers_of_a_file(tmp_path: Path, settings: Any, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    found = given_answers.of_file(path, name)
    assert found.name == "gpt"
    assert [prompt.question for prompt in given_answers.prompts_of([found])] == ["One?", "Two?"]
    assert list(found.texts.values()) == [["1"], ["2"]]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"prompt": "One?", "answer": "1"}, {"prompt": "Two?"}], "Row 2 has no answer; .* answer, response"),
        ([{"prompt": "One?", "answer": " "}], "Row 1: answer is empty; .* leave the row out"),
        ([{"prompt": "One?", "answer": 5}], "Row 1: answer: wrong type, a number instead of text"),
        ([{"answer": "1"}], "Row 1 has no prompt"),
        ([{"prompt": "One?", "answer": "x" * 100_001}], "Row 1: the answer has 100,001 characters"),
        (["One?"], "Row 1 has no answer"),
        ([], "There are no answers"),
    ],
)
def test_a_row_that_cannot_be_read_is_told(settings: Any, rows: list[Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        given_answers.of_rows("GPT", enumerate(rows, start=1))
    assert caught.value.field == "answers"


def test_a_file_is_named_in_its_error(tmp_path: Path, settings: Any) -> None:
    path = write(tmp_path / "gpt.jsonl", [{"prompt": "One?"}])
    with pytest.raises(InvalidInput, match=r"^gpt\.jsonl: Row 1 has no answer"):
        given_answers.of_file(path, path.name)
    with pytest.raises(InvalidInput, match=r"notes\.txt has no columns"):
        given_answers.of_file(path, "notes.txt")
    with pytest.raises(InvalidInput, match="needs a name"):
        given_answers.of_rows("\n", enumerate([{"prompt": "One?", "answer": "1"}]))


# --- campaigns -------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
class TestCampaigns:
    """What is stored."""

    def test_given_answers_are_finished_and_the_others_wait(self) -> None:
        campaign_id = campaign_setup.create(answers=[given(One="1", Two="2", Three="3")])
        assert [row.text for row in written(campaign_id, 2)] == ["1", "2"]
        assert {row.status for row in written(campaign_id, 2)} == {GenerationStatus.FINISHED}
        assert {row.status for row in written(campaign_id, 0)} == {GenerationStatus.QUEUED}
        contender = campaigns.overview(campaign_id).contenders[2]
        assert (contender.name, contender.method, contender.run_id) == ("GPT", GIVEN, None)
        progress = campaigns.overview(campaign_id).progress
        assert (progress.answers, progress.answered) == (6, 2)
        with write_session() as session:
            found = answering.claim_next(session=session, worker="w", lease_seconds=60, lease="x", rows=8)
            assert len(found) == 2

    def test_a_campaign_of_files_alone_is_judged_at_once(self) -> None:
        both = [given(One="1", Two="2"), given("Other", One="one", Two="2")]
        asked = given_answers.prompts_of(both)
        campaign_id = campaigns.create(NewCampaign(name="", choices=[], prompts=asked, answers=both))
        assert [task.status for task in campaign_setup.tasks(campaign_id)] == [
            TaskStatus.READY,
            TaskStatus.IDENTICAL,
        ]
        assert campaigns.overview(campaign_id).campaign.name == "GPT / Other"
        assert len(labelling.take(campaign_id).offers) == 1
        with write_session() as session:
            assert not answering.claim_next(session=session, worker="w", lease_seconds=60, lease="x", rows=8)

    def test_rows_of_one_prompt_are_its_samples(self) -> None:
        answers = given(One=["a", "b", "left out"], Two=["c", "d"])
        campaign_id = campaign_setup.create(answers=[answers], samples=2)
        assert [row.text for row in written(campaign_id, 2)] == ["a", "c", "b", "d"]

    def test_prompts_without_an_answer_are_counted_before_anything_is_stored(self) -> None:
        sentence = "GPT has no answer to 2 of 3 prompts: “Two\\?”, “Three\\?”; add rows"
        with pytest.raises(InvalidInput, match=sentence) as caught:
            campaign_setup.create(prompts=["One?", "Two?", "Three?"], answers=[given(One="1")])
        assert caught.value.field == "answers"
        with pytest.raises(InvalidInput, match="fewer than 2 answers to 1 of 1"):
            campaign_setup.create(prompts=["One?"], answers=[given(One="1")], samples=2)
        with pytest.raises(InvalidInput, match="add rows for them\\."):
            campaign_setup.create(answers=[given(Other="1")], only_answered=True)
        with read_session() as session:
            assert session.scalar(select(func.count()).select_from(Campaign)) == 0

    def test_only_answered_prompts_are_asked_on_demand(self) -> None:
        answers = [given(One="1", Two="2"), given("Other", Two="2", Three="3")]
        campaign_id = campaign_setup.create(
            prompts=["One?", "Two?", "Three?"], answers=answers, only_answered=True
        )
        assert campaigns.overview(campaign_id).progress.prompts == 1
        assert written(campaign_id, 2)[0].text == "2"

    def test_names_differ(self) -> None:
        for answers in ([given(One="1", Two="2")] * 2, [given("Reference", One="1", Two="2")]):
            with pytest.raises(InvalidInput, match="Two contenders are named"):
                campaign_setup.create(choices=DEMO, answers=answers)

    def test_no_prompts_are_added_that_a_file_cannot_answer(self) -> None:
        campaign_id = campaign_setup.create(answers=[given(One="1", Two="2")])
        with pytest.raises(Refused, match="The answers of GPT come from a file"):
            campaigns.add_prompts(campaign_id, campaign_prompts.checked(["Three?"]))
