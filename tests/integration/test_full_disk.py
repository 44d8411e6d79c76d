"""A full disk under the web process: it keeps responding, refuses votes with a sentence, and recovers."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import migrate
from app.local.ports import free_port
from app.settings import get_settings
from app.store import db
from app.store.db import write_session
from app.store.full_disk import SENTENCE
from tests.app import arena
from tests.integration.cluster import wait_for

MEBIBYTES = 24


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small separate file system; mounting one requires root."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def web(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web process with its home and log on the small disk."""
    monkeypatch.setenv("HYPO_HOME", str(small_disk / "home"))
    get_settings.cache_clear()
    migrate.upgrade()
    port = free_port("127.0.0.1", 0)
    with (small_disk / "web.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.main", "--port", str(port)], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: call("GET", f"{url}/healthz")[0] == 200, "the web process")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
        db.get_engine().dispose()
        get_settings.cache_clear()


def call(method: str, url: str, body: Any = None) -> tuple[int, str]:
    """Status and text of a response; status 0 if the connection is refused."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def fill(folder: Path) -> Path:
    """Fill the disk with ever smaller writes until not a byte fits."""
    path = folder / "ballast"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return path


def test_a_full_disk_refuses_votes_and_nothing_else(web: str, small_disk: Path) -> None:
    with write_session() as session:
        comparisons = [arena.asked(session).id for _ in range(3)]
    votes = [f"{web}/api/v1/comparisons/{number}/vote" for number in comparisons]
    assert call("PUT", votes[0], {"choice": "A"})[0] == 200
    log, length = small_disk / "web.log", (small_disk / "web.log").stat().st_size
    ballast = fill(small_disk)
    for _ in range(40):
        for vote in votes:
            status, said = call("PUT", vote, {"choice": "B"})
            if status == 200:  # the rest of a page of the database's log
                continue
            assert (status, json.loads(said)["message"]) == (507, SENTENCE)
    assert status == 507
    # A failed write may free a page, and a health response is cached for two seconds.
    wait_for(lambda: fill(small_disk).exists() and call("GET", f"{web}/healthz")[0] == 503, "a bad health")
    assert set(json.loads(call("GET", f"{web}/healthz")[1])) > {"status"}
    for page in ("", "runs", "compare", "results"):
        assert call("GET", f"{web}/{page}")[0] == 200
    assert log.stat().st_size - length < 4096 * 2
    ballast.unlink()
    wait_for(lambda: call("GET", f"{web}/healthz")[0] == 200, "recovery")
    assert [call("PUT", vote, {"choice": "A"})[0] for vote in votes] == [200, 200, 200]
