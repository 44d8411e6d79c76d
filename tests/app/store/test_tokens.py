"""Tokens: found only while valid, stored only as a hash."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound
from app.store import tokens
from app.store.db import read_session, write_session
from app.store.models import ApiToken, utcnow
from tests.app.store.concurrently import concurrently


def test_a_token_names_its_user_and_is_kept_as_a_hash(session: Session) -> None:
    row, secret = tokens.create(" ada ", session=session, label="notebook")
    known = tokens.find(secret, session=session)
    assert known is not None
    assert (known.id, known.user) == (row.id, "ada")
    columns = session.execute(select(*ApiToken.__table__.columns)).one()
    assert not [value for value in columns if secret in str(value)]
    assert secret.startswith("hypo_")
    assert len(secret) == len("hypo_") + 43


def test_two_tokens_are_never_equal(session: Session) -> None:
    assert len({tokens.create("ada", session=session)[1] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "wrong",
    ["", "hypo_", "hypo_" + "A" * 43, "x", "hypo_" + "é" * 43, "hypo_" + "A" * 10_000, "hypo_\x00", "\ud800"],
)
def test_what_is_no_token_names_nobody(session: Session, wrong: str) -> None:
    tokens.create("ada", session=session)
    assert tokens.find(wrong, session=session) is None


def test_a_token_ends_when_it_expires_or_is_revoked(session: Session) -> None:
    row, secret = tokens.create("ada", session=session, expires_days=1)
    assert tokens.state(row) == "valid"
    session.execute(update(ApiToken).values(expires_at=utcnow() - timedelta(seconds=1)))
    assert tokens.find(secret, session=session) is None
    session.refresh(row)
    assert tokens.state(row) == "expired"
    other, kept = tokens.create("ada", session=session)
    tokens.revoke(other.id, session=session)
    assert tokens.find(kept, session=session) is None
    assert tokens.state(other) == "revoked"
    ended = other.revoked_at
    assert tokens.revoke(other.id, session=session).revoked_at == ended
    with pytest.raises(NotFound, match="no token 99"):
        tokens.revoke(99, session=session)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"user": " \x00"}, "user"),
        ({"user": "a" * 101}, "user"),
        ({"user": "ada", "label": "a" * 101}, "name"),
        ({"user": "ada", "expires_days": 0}, "expires"),
        ({"user": "ada", "expires_days": float("nan")}, "expires"),
        ({"user": "ada", "expires_days": 1e9}, "expires"),
    ],
)
def test_bad_values_are_refused_by_name(session: Session, given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tokens.create(session=session, **given)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert tokens.listed(session=session) == []


def test_a_use_is_noted_once_a_minute(session: Session) -> None:
    row, secret = tokens.create("ada", session=session)
    first = tokens.find(secret, session=session)
    assert first is not None
    assert first.use_is_old
    tokens.note_use(first.id, session=session)
    session.refresh(row)
    noted = row.last_used_at
    again = tokens.find(secret, session=session)
    assert again is not None
    assert not again.use_is_old
    tokens.note_use(first.id, session=session)
    session.refresh(row)
    assert row.last_used_at == noted
    session.execute(update(ApiToken).values(last_used_at=utcnow() - timedelta(minutes=2)))
    later = tokens.find(secret, session=session)
    assert later is not None
    assert later.use_is_old


def test_lists_are_newest_first_and_of_one_person_if_asked(session: Session) -> None:
    for user in ("ada", "bob", "ada"):
        tokens.create(user, session=session)
    assert [name for _, name in tokens.listed(session=session)] == ["ada", "bob", "ada"]
    assert [name for _, name in tokens.listed(session=session, user="bob")] == ["bob"]


def test_many_make_a_first_token_for_one_new_user_at_once(engine: Engine) -> None:
    def make(_: int) -> str:
        with write_session() as session:
            return tokens.create("new", session=session)[1]

    made = concurrently(make, times=6)
    with read_session() as session:
        found = [tokens.find(secret, session=session) for secret in made]
    assert [known.user for known in found if known] == ["new"] * 6
