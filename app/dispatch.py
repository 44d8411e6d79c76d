"""The Celery producer: task names, queues, and sending ids after the commit.

A message is a hint, the row is the truth: when the broker is away the row stays queued and a worker's
keeper sends it again, so sending never fails a request.
"""

import json
import logging
from functools import lru_cache

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.settings import Settings, get_settings

TRAIN_TASK = "hypo.train"
ANSWER_TASK = "hypo.answer"
TRAIN_QUEUE = "train"
GENERATE_QUEUE = "generate"
QUEUES = (TRAIN_QUEUE, GENERATE_QUEUE)

log = logging.getLogger(__name__)


def broker_url(settings: Settings) -> str | None:
    """The broker to talk to: HYPO_BROKER_URL, or the one of the app running in this home; None if neither."""
    if settings.broker_url:
        return settings.broker_url
    try:
        running = json.loads((settings.root / "running.json").read_text())
        return str(running["broker_url"])
    except (OSError, ValueError, KeyError):
        return None


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
    """Tell the train workers of a queued run; False when no broker could be reached."""
    return _send(TRAIN_TASK, TRAIN_QUEUE, run_id)


def send_comparison(comparison_id: int) -> bool:
    """Tell the generate workers of a question to answer; False when no broker could be reached."""
    return _send(ANSWER_TASK, GENERATE_QUEUE, comparison_id)


def _send(task: str, queue: str, row_id: int) -> bool:
    url = broker_url(get_settings())
    if url is None:
        return False
    try:
        _producer(url).send_task(task, args=[row_id], queue=queue, retry=False, ignore_result=True)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("The broker did not take %s(%s): %s", task, row_id, error)
        return False
    return True
