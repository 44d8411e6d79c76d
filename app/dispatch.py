"""The Celery producer: task names, queues, and sending of ids after the commit.

The row is authoritative and a message is only a hint. While the broker is unreachable the row stays queued
and a worker's keeper sends it again, so a failed send never fails a request.
"""

import logging
from functools import lru_cache

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.local.running import last_running
from app.settings import Settings, get_settings

TRAIN_TASK = "hypo.train"
ANSWER_TASK = "hypo.answer"
REQUEST_TASK = "hypo.request"
PROBE_TASK = "hypo.probe"
TRAIN_QUEUE = "train"
GENERATE_QUEUE = "generate"
ENDPOINTS_QUEUE = "endpoints"
QUEUES = (TRAIN_QUEUE, GENERATE_QUEUE)
"""The queues that every installation serves. That of the endpoints needs a worker only if there are any."""

PROBE_KEPT_SECONDS = 600.0
"""Expiry of a dead worker's probe queue on the broker."""

log = logging.getLogger(__name__)


def broker_url(settings: Settings) -> str | None:
    """HYPO_BROKER_URL, or else the broker of the app that runs in this home; None without either."""
    if settings.broker_url:
        return settings.broker_url
    running = last_running(settings)
    return running.broker_url if running is not None else None


@lru_cache(maxsize=4)
def _producer(url: str) -> Celery:
    producer = Celery("hypo", broker=url, set_as_current=False)
    producer.conf.broker_transport_options = {
        "socket_connect_timeout": 2,
        "socket_timeout": 5,
        "max_retries": 1,
        "interval_start": 0.1,
    }
    return producer


def send_run(run_id: int) -> bool:
    """Notify the train workers of a queued run. Returns False when no broker could be reached."""
    return _send(TRAIN_TASK, TRAIN_QUEUE, run_id)


def send_comparison(comparison_id: int) -> bool:
    """Notify the generate workers of a question. Returns False when no broker could be reached."""
    return _send(ANSWER_TASK, GENERATE_QUEUE, comparison_id)


def send_request(hint: int) -> bool:
    """Notify the endpoints workers that a request waits. Returns False when no broker could be reached.

    Args:
        hint: any id; the worker takes what has waited longest.
    """
    return _send(REQUEST_TASK, ENDPOINTS_QUEUE, hint)


def probe_queue(token: str) -> Queue:
    """A worker's own queue, on which it checks that messages arrive. It expires on the broker."""
    name = f"probe.{token}"
    unbound = Exchange("")  # type: ignore[no-untyped-call]
    return Queue(name, unbound, routing_key=name, expires=PROBE_KEPT_SECONDS)  # type: ignore[no-untyped-call]


def send_probe(token: str) -> bool:
    """Send a worker its own probe. Returns False when no broker could be reached."""
    return _send(PROBE_TASK, probe_queue(token))


def _send(task: str, queue: str | Queue, *args: int) -> bool:
    url = broker_url(get_settings())
    if url is None:
        return False
    try:
        _producer(url).send_task(task, args=args, queue=queue, retry=False, ignore_result=True)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("The broker did not take %s%s: %s", task, args, error)
        return False
    return True
