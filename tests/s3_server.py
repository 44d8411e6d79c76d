"""A real HTTP server that speaks S3, and settings that keep artifacts in an empty bucket of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import s3fs
from moto.server import ThreadedMotoServer


@contextmanager
def s3_server() -> Iterator[tuple[str, int]]:
    """A server while it is needed. Yields its host and port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@contextmanager
def artifacts_on_s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Keep artifacts in a new bucket. Yields the environment variables, for other processes.

    Each bucket has a name of its own: the servers of one process share their buckets.
    """
    bucket = f"bucket-{uuid4()}"
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "HYPO_ARTIFACTS_URL": f"s3://{bucket}/prefix",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(bucket)
    yield environment
    s3fs.S3FileSystem.clear_instance_cache()
