"""Prompts: each stored once, identified by content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.store.models import Prompt
from app.text import clean_text

MAX_OPENING: Final = 200
_AT_ONCE: Final = 500


OPENING_ROLES = ("system", "developer", "user", "assistant", "tool")


def checked_opening(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Validate the messages before a question: each needs a known role and a text.

    Raises:
        InvalidInput: for an invalid message, or for more than `MAX_OPENING`.
    """
    if len(messages) > MAX_OPENING:
        raise InvalidInput(f"opening has more than {MAX_OPENING} messages.", field="opening")
    found = []
    for number, message in enumerate(messages, start=1):
        role, content = message.get("role"), message.get("content")
        if role not in OPENING_ROLES or not isinstance(content, str):
            raise InvalidInput(
                f"Message {number} of opening needs a role, one of {', '.join(OPENING_ROLES)}, "
                "and a text as content.",
                field="opening",
            )
        found.append({"role": role, "content": clean_text(content)})
    return found


def split_off_question(prompt: Any) -> tuple[list[dict[str, str]], str] | None:
    """Split a prompt into earlier messages and its question; None if it does not end in a question."""
    if isinstance(prompt, str):
        return [], prompt
    if not prompt or prompt[-1]["role"] != "user":
        return None
    earlier = [{"role": message["role"], "content": message["content"]} for message in prompt[:-1]]
    return earlier, prompt[-1]["content"]


def canonical(content: Any) -> str:
    """The canonical text of a prompt, which is a string or a list of messages."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def sha256_of(content: Any) -> str:
    return hashlib.sha256(canonical(content).encode("utf-8", "surrogatepass")).hexdigest()


def keep(content: Any, *, session: Session) -> int:
    """Return the id of a prompt, and store the prompt if it is new.

    Two writers may race on a new prompt. The hash is unique, so one inserts it and the other reads it.
    """
    digest = sha256_of(content)
    known = session.scalar(select(Prompt.id).where(Prompt.sha256 == digest))
    if known is not None:
        return known
    insert = _insert_for(session).values(sha256=digest, content=content).on_conflict_do_nothing()
    session.execute(insert)
    return session.scalars(select(Prompt.id).where(Prompt.sha256 == digest)).one()


def keep_all(contents: Sequence[Any], *, session: Session) -> list[int]:
    """Return the ids of prompts, in their order, and store those that are new."""
    digests = [sha256_of(content) for content in contents]
    by_digest = dict(zip(digests, contents, strict=True))
    ids = _ids(list(by_digest), session)
    new = [digest for digest in by_digest if digest not in ids]
    if new:
        rows = [{"sha256": digest, "content": by_digest[digest]} for digest in new]
        session.execute(_insert_for(session).on_conflict_do_nothing().returning(Prompt.id), rows)
        ids |= _ids(new, session)
    return [ids[digest] for digest in digests]


def _ids(digests: Sequence[str], session: Session) -> dict[str, int]:
    found = dict[str, int]()
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        query = select(Prompt.sha256, Prompt.id).where(Prompt.sha256.in_(some))
        found |= {digest: id_ for digest, id_ in session.execute(query).all()}
    return found


def _insert_for(session: Session) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = session.get_bind().dialect.name
    return postgresql.insert(Prompt) if dialect == "postgresql" else sqlite.insert(Prompt)
