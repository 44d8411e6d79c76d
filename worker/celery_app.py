"""The Celery app of the workers.

Messages are wake-ups (app/dispatch.py), so they are acknowledged on arrival; the keeper resends what a dying
worker loses. Each process runs one task at a time (pool `solo`), because forked processes cannot share a GPU.
It prefetches nothing, so a waiting message stays available to other workers.
"""

import logging
import os
import subprocess
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down

from app.dispatch import (
    ANSWER_TASK,
    ENDPOINTS_QUEUE,
    GENERATE_QUEUE,
    QUEUES,
    REQUEST_TASK,
    TRAIN_QUEUE,
    TRAIN_TASK,
    broker_url,
    probe_queue,
)
from app.settings import get_settings
from worker.consuming import Prober, consumption
from worker.device import NETWORK, this_device
from worker.identity import TOKEN, worker_name
from worker.keeper import Keeper
from worker.shutdown import exit_after, shutting_down
from worker.watchdog import start_watchdog

settings = get_settings()
own_queue = probe_queue(TOKEN)


def queues() -> str:
    """The queues that this process consumes, separated by commas."""
    return os.environ.get("HYPO_WORKER_QUEUES", ",".join(QUEUES))


def _computes() -> bool:
    """Whether this process trains or generates. Requests to endpoints need no torch."""
    return bool(set(QUEUES) & set(queues().split(",")))


def _task_modules() -> list[str]:
    """The modules of this process's tasks."""
    requests = ENDPOINTS_QUEUE in queues().split(",")
    return [
        "worker.probe_task",
        *(["worker.tasks"] if _computes() else []),
        *(["worker.request_task"] if requests else []),
    ]


app = Celery("hypo", broker=broker_url(settings) or "redis://127.0.0.1:6379/0", include=_task_modules())
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_routes={
        TRAIN_TASK: {"queue": TRAIN_QUEUE},
        ANSWER_TASK: {"queue": GENERATE_QUEUE},
        REQUEST_TASK: {"queue": ENDPOINTS_QUEUE},
    },
    task_default_queue=TRAIN_QUEUE,
    task_queues=[own_queue],
    worker_pool="solo",
    worker_concurrency=1,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "socket_connect_timeout": 5,
        "socket_timeout": 5,  # a frozen broker accepts bytes and never replies
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
)

_keeper: Keeper | None = None
_prober: Prober | None = None
_watchdog: "subprocess.Popen[bytes] | None" = None

name = worker_name(queues())
"""This process's name in rows and logs."""


@worker_init.connect  # type: ignore[untyped-decorator]
def _start(**_: Any) -> None:
    global _keeper, _prober, _watchdog
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _keeper = Keeper(name, queues(), this_device() if _computes() else NETWORK)
    _keeper.start()
    _prober = Prober()
    _prober.start()
    _watchdog = start_watchdog(name)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(**_: Any) -> None:
    consumption.taken()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _go(**_: Any) -> None:
    shutting_down.set()
    exit_after()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    if _prober is not None:
        _prober.stop()
    if _keeper is not None:
        _keeper.stop()
    if _watchdog is not None and _watchdog.stdin is not None:
        _watchdog.stdin.close()
        _watchdog.wait(timeout=10)
