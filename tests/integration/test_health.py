"""A worker's health: it reports whether the worker consumes messages, and a deaf worker is ended."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from celery import Celery

from app.presence import worker_missing
from app.settings import get_settings
from app.store.enums import RunStatus
from tests.integration.cluster import Cluster, wait_for, wait_until_over
from worker.consuming import UNREACHABLE

pytestmark = pytest.mark.servers

LaunchTiny = Callable[..., list[int]]


@pytest.fixture(autouse=True)
def soon(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short limits: a deaf worker reports itself after eight seconds and exits after sixteen."""
    monkeypatch.setenv("HYPO_DEAF_SECONDS", "16")
    get_settings.cache_clear()


def container_health() -> tuple[int, str]:
    """Exit status and output of a container's health check."""
    done = subprocess.run([sys.executable, "-m", "worker.health"], capture_output=True, text=True)
    return done.returncode, done.stderr


def test_a_worker_says_whether_it_takes_messages(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    worker = cluster.start_worker("train")
    wait_for(lambda: container_health() == (0, ""), "a worker that takes messages", seconds=60)
    cluster.broker.freeze()
    wait_for(lambda: worker.trouble == UNREACHABLE, "a worker that says that the broker is away", seconds=60)
    cluster.broker.kill()
    status, said = container_health()
    assert status == 1
    assert UNREACHABLE in said
    assert UNREACHABLE in str(worker_missing("train"))
    cluster.broker.start()
    wait_for(lambda: not worker.trouble, "a worker that takes messages again", seconds=60)
    assert container_health() == (0, "")
    [run] = wait_until_over(*launch_tiny("dpo"))
    assert (run.status, run.attempt) == (RunStatus.FINISHED, 1)

    # The worker is alive, connected and sends heartbeats, but no longer consumes its queues.
    with Celery("deafen", broker=cluster.broker.url, set_as_current=False) as celery:
        token = str(worker.name).rpartition(":")[2]
        for queue in ("train", f"probe.{token}"):
            celery.control.cancel_consumer(queue)
    deaf = "No message has reached it for"
    wait_for(lambda: worker.trouble.startswith(deaf), "a worker that says that it is deaf", seconds=60)
    assert deaf in container_health()[1]
    wait_for(lambda: not worker.alive, "the end of the deaf process", seconds=60)
    assert worker.status == 1
    assert "receives no messages. It exits" in worker.log.read_text()
