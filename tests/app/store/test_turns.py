"""Writers of one process take turns on SQLite, and a failing writer blocks nothing."""

import sqlite3
import threading
import time

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from app.store import users
from app.store.db import read_session, write_session
from app.store.turns import take_turns
from tests.app.store.concurrently import concurrently

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def test_many_writers_all_get_their_turn(engine: Engine) -> None:
    def write(number: int) -> None:
        with write_session() as session:
            users.ensure(f"user {number}", session=session)
            time.sleep(0.01)

    concurrently(write, times=30)
    with read_session() as session:
        assert session.scalar(text("SELECT count(*) FROM users")) == 30


@pytest.mark.parametrize("ending", ["commit", "rollback", "error", "closed"])
def test_a_turn_ends_with_its_transaction(engine: Engine, ending: str) -> None:
    connection = engine.connect()
    transaction = connection.begin()
    if ending == "commit":
        transaction.commit()
    elif ending == "rollback":
        transaction.rollback()
    elif ending == "error":
        with pytest.raises(Exception, match="no such table"):
            connection.execute(text("INSERT INTO missing VALUES (1)"))
    connection.close()
    began = time.perf_counter()
    with write_session() as session:
        users.ensure("ada", session=session)
    assert time.perf_counter() - began < 5


def test_readers_take_no_turn(engine: Engine) -> None:
    with write_session() as session:
        users.ensure("ada", session=session)
        done = threading.Event()

        def read() -> None:
            with read_session() as reading:
                reading.execute(text("SELECT 1"))
            done.set()

        threading.Thread(target=read).start()
        assert done.wait(5)


def test_a_lock_of_another_process_frees_the_turn(engine: Engine) -> None:
    """BEGIN IMMEDIATE fails if another process writes for longer than the busy timeout."""
    impatient = create_engine(engine.url, connect_args={"timeout": 0.05, "isolation_level": None})
    take_turns(impatient)
    other = sqlite3.connect(str(engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with impatient.connect() as connection, pytest.raises(OperationalError, match="locked"):
        connection.begin()
    other.rollback()
    other.close()
    began = time.perf_counter()
    with impatient.connect() as connection, connection.begin():
        assert time.perf_counter() - began < 5
    impatient.dispose()
