"""A dependency of a run fails midway: the run waits, logs it, and finishes on its first attempt."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.store import metrics, run_checkpoints
from app.store.db import read_session
from app.store.enums import RunStatus
from tests.integration.cluster import Cluster, log_of, run_of, wait_for, wait_for_step, wait_until_over
from tests.relay import Relay
from tests.s3_server import artifacts_on_s3, s3_server

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|aiobotocore).*"),
]

LaunchTiny = Callable[..., list[int]]
STEPS, SAVED = 300, 50
"""Steps of the run, enough that it outlasts the last outage; and steps between checkpoints."""
AWAY_SECONDS = 6.0
"""Longer than a lease of the cluster, and long enough to appear in the run's log."""


@pytest.fixture
def database_relay(cluster: Cluster, postgres_url: str) -> Iterator[tuple[Relay, str]]:
    """A relay to the cluster's database, and the database's URL through it."""
    url = make_url(postgres_url)
    path = f"{url.query['host']}/.s.PGSQL.{url.port or 5432}"

    def connect() -> socket.socket:
        far = socket.socket(socket.AF_UNIX)
        far.connect(path)
        return far

    relay = Relay(connect)
    near = url.set(host="127.0.0.1", port=relay.port, query={})
    yield relay, near.render_as_string(hide_password=False)
    relay.cut()


@pytest.fixture
def s3_relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Relay, dict[str, str]]]:
    """A relay to an S3 server with a bucket, and the environment variables of its clients."""
    with s3_server() as address:
        relay = Relay(lambda: socket.create_connection(address))
        with artifacts_on_s3(f"http://127.0.0.1:{relay.port}", monkeypatch) as environment:
            yield relay, environment
        relay.cut()


def waited_for(run_id: int, what: str) -> bool:
    return any(line.startswith(f"The {what} was away for") for line in log_of(run_id))


@pytest.mark.parametrize("database", ["postgresql"])
def test_a_run_outlives_the_outages_of_what_it_needs(
    cluster: Cluster,
    launch_tiny: LaunchTiny,
    database_relay: tuple[Relay, str],
    s3_relay: tuple[Relay, dict[str, str]],
    tmp_path: Path,
) -> None:
    database, address = database_relay
    store, environment = s3_relay
    environment = {"HYPO_DATABASE_URL": address, "HYPO_DATABASE_SECONDS": "2", **environment}
    worker = cluster.start_worker("train", environment=environment)
    [run_id] = launch_tiny("hypo", max_steps=STEPS, save_steps=SAVED)

    wait_for_step(run_id, 3)
    database.cut()
    time.sleep(AWAY_SECONDS)
    database.open()
    wait_for(lambda: waited_for(run_id, "database"), "a run that tells of the outage")

    store.cut()
    told = "waiting for the artifacts' store"
    wait_for(lambda: run_of(run_id).phase.startswith(told), "a run that says what it waits for")
    time.sleep(AWAY_SECONDS)
    store.open()
    wait_for(lambda: waited_for(run_id, "artifacts' store"), "a run that tells of the outage")

    step = run_of(run_id).step
    database.freeze()
    time.sleep(AWAY_SECONDS)
    found = run_of(run_id)
    assert found.status is RunStatus.RUNNING
    assert found.step <= step + 1, "it cannot have got further"
    database.thaw()

    [run] = wait_until_over(run_id)
    assert (run.status, run.step, run.attempt, run.error) == (RunStatus.FINISHED, STEPS, 1, None)
    assert worker.alive
    with read_session() as session:
        points = metrics.series([run_id], ["loss"], session=session)[run_id, "loss"]
        saved = run_checkpoints.of_run(run_id, session=session)
    assert [step for step, _ in points] == list(range(1, STEPS + 1))
    assert [checkpoint.step for checkpoint in saved] == list(range(SAVED, STEPS + 1, SAVED))
    assert log_of(run_id).count("Finished.") == 1
