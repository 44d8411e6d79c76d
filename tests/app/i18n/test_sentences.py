"""Sentences of the app, as its code raises them, in another language."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from app import campaign_prompts, campaigns, deletion, leaving_out, presence, run_edits
from app.errors import AppError
from app.held_out_share import one_sided
from app.i18n import in_language
from app.i18n.catalogue import catalogues
from app.i18n.language import speaking
from app.launch import launch
from app.run_edits import Edit
from app.run_yaml import read_run_yaml
from app.store import datasets, recovery, run_events
from app.store.db import read_session, write_session
from app.store.enums import CampaignStatus, RunStatus
from tests.app import arena, campaign_setup
from tests.app.rest.conftest import address as address
from tests.app.rest.conftest import api as api

NAMES = re.compile(
    r"`[^`]*`|'[^']*'|“[^”]*”|\b\w+_\w+\b|\b\w+\?\w+=|--\w+|/api/\S+|"
    r"\b(API|DPO|PPO|HyPO|JSON|JSONL|CSV|Parquet|Excel|YAML|Idempotency-Key|UTF-8|id|method|dpo|hypo|sft|simpo|"
    r"rloo|ppo|kto|reward|online|twins|tie|both|bad|cursor|next|Content-Type|application|json|seed|temperature|rows|"
    r"posts|train|run|Reference|count|prompts?|conversations?|text|question|messages|input|instruction|chosen|rejected|sort|choice)\b"
)


def english(text: str) -> list[str]:
    """The words of a Russian text that are neither Russian nor names."""
    return re.findall("[A-Za-z]{2,}", NAMES.sub("", text))


def raised(call: Callable[[], object]) -> str:
    with pytest.raises(AppError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def runs(engine: Engine) -> list[int]:
    """A finished, a running and a failed run."""
    with write_session() as session:
        states = (RunStatus.FINISHED, RunStatus.RUNNING, RunStatus.FAILED)
        return [arena.add_run(session, status=status).id for status in states]


def refusals(runs: list[int]) -> Iterator[str]:
    """What the app's own functions refuse, and say."""
    finished, running, failed = runs
    yield raised(lambda: launch("dpo", 99, {}))
    yield raised(lambda: launch("nonsense", 1, {}))
    yield raised(lambda: launch("dpo,dpo", 1, {}))
    yield raised(lambda: deletion.delete_run(running))
    yield raised(lambda: run_edits.edit([finished, running], Edit(name="one name")))
    yield raised(lambda: run_edits.edit([finished], Edit(name=" ")))
    yield raised(lambda: run_edits.edit([finished], Edit(notes="x" * 100_000)))
    yield raised(lambda: run_edits.edit([finished], Edit(tag=["a,b"])))
    yield raised(lambda: read_run_yaml("- 1"))
    yield raised(lambda: read_run_yaml("a: ["))
    yield raised(lambda: leaving_out.leave_out(1, []))
    yield raised(lambda: leaving_out.leave_out(1, [0]))
    yield raised(lambda: campaign_setup.create(contenders=1))
    yield raised(lambda: campaign_prompts.prompt_of_row(3, {"other": "Why?"}))
    yield raised(lambda: campaign_prompts.checked(["Why?", " "]))
    yield presence.no_worker("train", where=" on this machine")
    with write_session() as session:
        recovery.resume(failed, session=session)
    with read_session() as session:
        yield from (event.message for event in run_events.of_run(failed, session=session))
        held_out = arena.add_dataset(session, "posts", held_out=1.0)
        yield one_sided(held_out, session=session) or ""
        yield raised(lambda: datasets.require_training_pairs(held_out.id, session=session))


def problems(api: TestClient, runs: list[int]) -> Iterator[str]:
    """What the REST API refuses, and says."""
    campaign = campaign_setup.create()
    campaigns.set_status(campaign, CampaignStatus.CLOSED)
    asked: list[tuple[str, str, Any]] = [
        ("GET", "runs/99", None),
        ("GET", "datasets/99", None),
        ("GET", "comparisons/99", None),
        ("GET", "reports/99", None),
        ("GET", "nothing", None),
        ("PATCH", "runs", None),
        ("GET", "runs?cursor=x", None),
        ("POST", f"runs/{runs[0]}/cancel", None),
        ("POST", f"runs/{runs[1]}/resume", None),
        ("POST", "comparisons", {"prompt": "Why?", "run_ids": [runs[1]]}),
        ("POST", "comparisons", {"prompt": "", "run_ids": runs[:1]}),
        ("POST", "comparisons", {"question": "Why?"}),
        ("POST", "campaigns", {"run_ids": runs[:1], "prompts": []}),
        ("POST", f"campaigns/{campaign}/prompts", {"prompts": ["Why?"]}),
        ("PATCH", f"campaigns/{campaign}", {"status": "open"}),
        ("DELETE", "votes/99", None),
    ]
    for method, path, body in asked:
        response = api.request(method, path, json=body)
        assert response.status_code >= 400, (method, path)
        yield response.json()["message"]


def test_what_the_app_refuses_is_said_in_russian(api: TestClient, runs: list[int]) -> None:
    said = [*refusals(runs), *problems(api, runs)]
    assert len(set(said)) >= 25
    with speaking("ru"):
        russian = {sentence: in_language(sentence) for sentence in said}
    unknown = {sentence: text for sentence, text in russian.items() if not re.search("[а-я]", text)}
    assert unknown == {}
    assert {text: english(text) for text in russian.values() if english(text)} == {}


def sentence_patterns() -> list[str]:
    found = {message.id for catalogue in catalogues("ru").values() for message in catalogue}
    return sorted(one for one in found if isinstance(one, str) and re.search(r"\{[0-9]", one))


def test_a_translation_loses_no_value() -> None:
    lost = []
    with speaking("ru"):
        for pattern in sentence_patterns():
            values = {number: f"{number}7{number}" for number in re.findall(r"\{([0-9]+)\}", pattern)}
            sentence = re.sub(r"\{([0-9]+)\}", r"\g<1>7\g<1>", pattern)
            told = in_language(sentence)
            lost += [(sentence, told) for value in values.values() if value not in told]
            if re.search("[A-Za-z]{2}", pattern) and told == sentence:
                lost.append((sentence, "not translated"))
    assert lost == []


@pytest.mark.parametrize("name", ["Demo", "Chat", "votes", "Compare", "Short summaries v2", "Runs", "{1}"])
def test_a_name_that_someone_gave_stays_as_it_is(name: str) -> None:
    with speaking("ru"):
        told = in_language(f"{name} version 2 was deleted; use another version.")
    assert told == f"Датасет {name}, версия 2, удалён; возьмите другую версию."


def test_the_longest_pattern_that_fits_is_meant() -> None:
    with speaking("ru"):
        closed = in_language("Campaign 3 is closed; its votes can no longer be undone here.")
        other = in_language("Campaign 3 is closed; start a new one.")
    assert closed == "Кампания 3 закрыта; отменить здесь её голоса уже нельзя."
    assert other == "Кампания 3 закрыта; начните новую."


def test_several_sentences_are_told_one_by_one() -> None:
    with speaking("ru"):
        told = in_language("There is no comparison 3. Said by someone else. Cancelled.")
    assert told == "Сравнения 3 нет. Said by someone else. Отменён."


def test_a_list_of_many_ends_in_russian() -> None:
    with speaking("ru"):
        told = in_language(
            "posts version 1 is used by runs that are not over: a (1), b (2) and 3 more. Cancel them first."
        )
    assert "a (1), b (2) и ещё 3. Сначала отмените их." in told


@pytest.mark.parametrize(
    ("number", "said"), [("1", "1 запуска;"), ("2", "2 запусков;"), ("1,021", "1,021 запуска;")]
)
def test_a_word_in_a_translation_fits_its_number(number: str, said: str) -> None:
    with speaking("ru"):
        assert said in in_language(f"At most {number} runs fit in one file; choose fewer.")


def test_a_long_text_of_another_kind_costs_little() -> None:
    """Texts of models pass by here; a search that went back in them would take minutes."""
    text = "All of it has to be of that: is to the, of has; was 3 of 4 in by from no and. " * 300
    with speaking("ru"):
        in_language("warm")
        started = time.perf_counter()
        assert in_language(text) == text
    assert time.perf_counter() - started < 0.5


def test_the_rest_api_answers_in_the_language_of_its_caller(address: str) -> None:
    asked = f"{address}/api/v1/runs/99"
    english_ones = [httpx.get(asked), httpx.get(asked, headers={"Accept-Language": "fr, en;q=0.5"})]
    russian = [
        httpx.get(asked, headers={"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.8"}),
        httpx.get(asked, headers={"Cookie": "hypo-language=ru"}),
    ]
    assert [one.status_code for one in (*english_ones, *russian)] == [404] * 4
    assert {one.json()["message"] for one in english_ones} == {
        "There is no run 99; `hypo runs list` lists all runs."
    }
    assert {one.json()["message"] for one in russian} == {
        "Запуска 99 нет; все запуски покажет `hypo runs list`."
    }
    assert {one.json()["error"] for one in russian} == {"not_found"}
