"""Outages: a real PostgreSQL and a real S3 server that are temporarily unreachable."""

import re
import socket
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import artifacts
from app import settings as settings_module
from app.launch import launch
from app.settings import Settings
from app.store import db, run_events, silence, users
from app.store.claims import Claim
from app.store.db import read_session, write_session
from app.store.models import User
from app.store.run_transitions import RUN_LEASES
from tests.relay import Relay
from tests.s3_server import artifacts_on_s3, s3_server
from tests.tiny_dataset import add_tiny_dataset
from tests.worker.conftest import TINY_RUN
from worker.reporter import TOLD_SECONDS, StoreReporter
from worker.retry import StillUnavailable, retry, retry_read, retry_write, unavailable_service

AWAY_SECONDS = 2.0
Told = list[tuple[str, float]]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|aiobotocore).*")


def _back_soon(relay: Relay, *, seconds: float = AWAY_SECONDS) -> threading.Thread:
    relay.cut()
    opening = threading.Timer(seconds, relay.open)
    opening.start()
    return opening


def test_a_database_that_comes_back_is_waited_for(relay: Relay) -> None:
    retry_write(lambda session: users.ensure("before", session=session))
    told: Told = []
    opening = _back_soon(relay)
    started = time.monotonic()
    retry_write(
        lambda session: users.ensure("during", session=session),
        on_pause=lambda what, seconds: told.append((what, seconds)),
    )
    opening.join()
    assert time.monotonic() - started >= AWAY_SECONDS
    assert {what for what, _ in told} == {"database"}

    def names(session: Session) -> list[str]:
        return list(session.scalars(select(User.name).order_by(User.id)))

    assert retry_read(names) == ["before", "during"]


def test_a_database_that_is_frozen_is_noticed(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel still accepts data, so neither TCP nor a server-side timeout detects it."""
    monkeypatch.setenv("HYPO_DATABASE_SECONDS", "0.5")
    settings_module.get_settings.cache_clear()
    with read_session() as session:
        session.scalar(select(func.count(User.id)))
        relay.freeze()
        started = time.monotonic()
        with pytest.raises(OperationalError, match=r"has not answered for 0\.5 seconds") as raised:
            session.scalar(select(func.count(User.id)))
        assert time.monotonic() - started < 2
    assert unavailable_service(raised.value) == "database"
    opening = threading.Timer(AWAY_SECONDS, relay.thaw)
    opening.start()
    retry_write(lambda session: users.ensure("during", session=session))
    opening.join()
    assert time.monotonic() - started >= AWAY_SECONDS


def test_a_long_statement_is_no_frozen_database(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPO_DATABASE_SECONDS", "0.5")
    settings_module.get_settings.cache_clear()
    with db.get_engine().connect() as connection:
        connection.execute(text("SELECT pg_sleep(0.3)"))
        with silence.unlimited(connection):
            connection.execute(text("SELECT pg_sleep(1)"))
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT pg_sleep(1)"))


def test_reading_waits_too(relay: Relay) -> None:
    opening = _back_soon(relay)
    assert retry_read(lambda session: session.scalar(select(func.count(User.id)))) == 0
    opening.join()


def test_a_database_that_stays_away_is_told_in_a_sentence(relay: Relay) -> None:
    relay.cut()
    with pytest.raises(StillUnavailable, match=r"The database has not answered for .*; resume the run"):
        retry_write(lambda session: users.ensure("never", session=session), seconds=1)


def test_who_waits_may_give_up(relay: Relay) -> None:
    relay.cut()

    def give_up(_what: str, _seconds: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        retry_read(lambda session: session.scalar(select(func.count(User.id))), on_pause=give_up)


def test_an_error_of_our_own_is_not_waited_for(relay: Relay) -> None:
    def wrong(_session: Session) -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        retry_write(wrong)


def test_an_artifacts_store_that_comes_back_is_waited_for(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "state.json").write_text("{}")
    told: Told = []
    with s3_server() as address:
        relay = Relay(lambda: socket.create_connection(address))
        with artifacts_on_s3(f"http://127.0.0.1:{relay.port}", monkeypatch):
            settings_module.get_settings.cache_clear()
            opening = _back_soon(relay)
            stored = retry(
                lambda: artifacts.save_folder(folder, "runs/1/checkpoint"),
                on_pause=lambda what, seconds: told.append((what, seconds)),
            )
            opening.join()
            fetched = artifacts.fetch_folder("runs/1/checkpoint", tmp_path / "fetched")
            relay.cut()
    assert stored == 2
    assert {what for what, _ in told} <= {"artifacts' store"}
    assert (fetched / "state.json").read_text() == "{}"


def test_the_log_tells_how_long_the_database_was_away(relay: Relay, tiny_model: Path, tmp_path: Path) -> None:
    """The last failed attempt may be as early as halfway through the outage."""
    away = 3.6
    dataset_id = add_tiny_dataset(tmp_path)
    [run] = launch("dpo", dataset_id, {"model_name_or_path": str(tiny_model), **TINY_RUN})
    with write_session() as session:
        assert RUN_LEASES.claim(run.id, session=session, worker="w", lease_seconds=60, lease="lease")
    reporter = StoreReporter(Claim(run.id, "lease", 1), threading.Event())
    started, opening = time.monotonic(), _back_soon(relay, seconds=away)
    reporter.log("info", "Still here.")
    waited = time.monotonic() - started
    opening.join()
    time.sleep(TOLD_SECONDS)
    reporter.log("info", "And a while later.")
    with read_session() as session:
        [*_, here, told, later] = [event.message for event in run_events.of_run(run.id, session=session)]
    assert (here, later) == ("Still here.", "And a while later.")
    [seconds] = re.findall(r"^The database was away for (\d+) s; the run waited for it\.$", told)
    assert away <= int(seconds) <= waited + 1
