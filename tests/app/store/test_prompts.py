"""Prompts are stored once each."""

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.store import prompts
from app.store.db import write_session
from app.store.models import Prompt
from tests.app.store.concurrently import concurrently

TURNS = [{"role": "user", "content": "Q"}]


def test_the_same_prompt_is_kept_once(session: Session) -> None:
    first = prompts.keep("Q", session=session)
    assert prompts.keep("Q", session=session) == first
    assert prompts.keep("q", session=session) != first
    assert prompts.keep(TURNS, session=session) != first
    assert prompts.keep([{"content": "Q", "role": "user"}], session=session) == prompts.keep(
        TURNS, session=session
    )
    assert session.scalar(select(func.count()).select_from(Prompt)) == 3


@pytest.mark.parametrize("content", ["", " ", "ünï 🙂", "a\nb\t\\", TURNS, "x" * 100_000])
def test_what_is_kept_comes_back(session: Session, content: object) -> None:
    number = prompts.keep(content, session=session)
    session.commit()
    session.expire_all()
    stored = session.get(Prompt, number)
    assert stored is not None
    assert stored.content == content


def test_writers_who_meet_on_a_new_prompt_agree(engine: Engine) -> None:
    def keep(number: int) -> list[int]:
        ids = []
        for text in ("one", "two", "three"):
            with write_session() as session:
                ids.append(prompts.keep(text, session=session))
        return ids

    results = concurrently(keep, times=6)
    assert all(ids == results[0] for ids in results)
    with write_session() as session:
        assert session.scalar(select(func.count()).select_from(Prompt)) == 3
