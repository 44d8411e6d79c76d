"""Prompts: kept once each, found by content."""

import hashlib
import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import Prompt


def canonical(content: Any) -> str:
    """The one text that stands for a prompt: a string, or a list of messages."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def sha256_of(content: Any) -> str:
    return hashlib.sha256(canonical(content).encode("utf-8", "surrogatepass")).hexdigest()


def keep(content: Any, *, session: Session) -> int:
    """The id of a prompt, stored now if it is new.

    Two writers may meet on the same new prompt; the unique hash decides and the loser reads.
    """
    digest = sha256_of(content)
    known = session.scalar(select(Prompt.id).where(Prompt.sha256 == digest))
    if known is not None:
        return known
    insert = _insert_for(session).values(sha256=digest, content=content).on_conflict_do_nothing()
    session.execute(insert)
    return session.scalars(select(Prompt.id).where(Prompt.sha256 == digest)).one()


def _insert_for(session: Session) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = session.get_bind().dialect.name
    return postgresql.insert(Prompt) if dialect == "postgresql" else sqlite.insert(Prompt)
