"""Calls with an idempotency key: executed once, regardless of who repeats them and when."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from app.errors import InvalidInput, Refused
from app.store import idempotency
from app.store.db import write_session
from app.store.idempotency import Answered
from app.store.models import IdempotentCall, utcnow
from tests.app.store.concurrently import concurrently


def take(session: Session, key: str = "k", request: str = "r", user: str = "ada") -> int | Answered:
    return idempotency.take(key, request, session=session, user=user)


def test_the_second_call_gets_the_first_ones_answer(session: Session) -> None:
    claim = take(session)
    assert isinstance(claim, int)
    with pytest.raises(Refused, match="still running"):
        take(session)
    idempotency.answer(claim, 201, {"id": 7}, session=session)
    assert take(session) == Answered(201, {"id": 7})


def test_keys_belong_to_their_user_and_their_request(session: Session) -> None:
    assert isinstance(take(session), int)
    assert isinstance(take(session, user="bob"), int)
    assert isinstance(take(session, key="other"), int)
    with pytest.raises(InvalidInput, match="another request"):
        take(session, request="other")


def test_a_failed_call_frees_its_key(session: Session) -> None:
    claim = take(session)
    assert isinstance(claim, int)
    idempotency.give_back(claim, session=session)
    assert isinstance(take(session), int)


@pytest.mark.parametrize(("age", "status"), [(timedelta(hours=25), 201), (timedelta(minutes=11), None)])
def test_old_and_unanswered_keys_are_forgotten(session: Session, age: timedelta, status: int | None) -> None:
    take(session)
    session.execute(update(IdempotentCall).values(status=status, created_at=utcnow() - age))
    assert isinstance(take(session, request="other"), int)


@pytest.mark.parametrize("key", ["", "a" * 201, "é", "a\nb", "\x00"])
def test_bad_keys_are_refused(session: Session, key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        take(session, key=key)
    assert caught.value.field == "Idempotency-Key"


def test_of_many_at_once_one_is_carried_out(engine: Engine) -> None:
    def call(_: int) -> bool:
        try:
            with write_session() as session:
                return isinstance(take(session), int)
        except Refused:
            return False

    assert concurrently(call, times=6).count(True) == 1
