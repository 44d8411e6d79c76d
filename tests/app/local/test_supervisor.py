"""The supervisor's parts, with cheap children: ports, the lock, restarting, stopping."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app import dispatch
from app.errors import Refused
from app.local import supervisor
from app.local.child import Child, last_line
from app.local.ports import free_port
from app.local.running import read_running
from app.local.supervisor import Supervisor
from app.security.exposure import check_exposure
from app.settings import Settings, get_settings
from tests.endpoint_server import write_config

SLEEPER = "import time; time.sleep(60)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("on", flush=True)
time.sleep(60)
"""
UNWELL = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "unavailable", "home": "The home folder takes no file."}).encode()
        self.send_response(503)
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def wait_until(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def supervised(settings: Settings) -> Iterator[Supervisor]:
    """A supervisor without children; children added by a test are stopped at its end."""
    settings.logs_dir.mkdir(parents=True)
    made = Supervisor(settings, "127.0.0.1", 0)
    yield made
    made.stop()


def add(supervised: Supervisor, name: str, code: str) -> Child:
    return supervised._add(name, [sys.executable, "-c", code], {})


def test_nobody_listens_beyond_this_machine_without_a_login(settings: Settings) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_exposure(host, settings)
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(Refused, match="set HYPO_AUTH=user:password"):
            check_exposure(host, settings)
        check_exposure(host, settings.model_copy(update={"auth": SecretStr("ada:secret")}))


def test_the_web_app_alone_refuses_as_well(settings: Settings) -> None:
    command = [sys.executable, "-m", "app.main", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Listening on 0.0.0.0 would let anybody")


def test_a_bad_login_is_refused_even_on_this_machine(settings: Settings) -> None:
    with pytest.raises(Refused, match="HYPO_AUTH"):
        check_exposure("127.0.0.1", settings.model_copy(update={"auth": SecretStr("ada")}))


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=rf"Port {port} .*--port"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", port) == port
    assert free_port("127.0.0.1", 0) > 0


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(Refused, match="cannot be used"):
        free_port("192.0.2.1", 0)


def test_the_last_words_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert last_line(log) == f"none; see {log}"
    log.write_text("first\nlast words\n\n  \n")
    assert last_line(log) == "last words"


def test_the_url_to_open_names_this_machine(settings: Settings) -> None:
    assert Supervisor(settings, "0.0.0.0", 80).url == "http://127.0.0.1:80"
    assert Supervisor(settings, "192.0.2.1", 80).url == "http://192.0.2.1:80"


def test_only_the_endpoints_worker_gets_keys(
    supervised: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"name": "GPT", "base_url": "https://x.example/v1", "model": "m", "api_key_env": "GPT_KEY"}
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", entry))
    monkeypatch.setenv("GPT_KEY", "sk-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    get_settings.cache_clear()
    for name in ("web", "worker-train"):
        assert "GPT_KEY" not in add(supervised, name, SLEEPER)._environment()
    supervised._add_endpoints_worker([sys.executable, "-m"], {})
    worker = supervised.children[-1]
    assert worker.command[-2:] == ["--queues", "endpoints"]
    assert worker._environment()["GPT_KEY"] == "sk-1"
    assert "AWS_SECRET_ACCESS_KEY" not in worker._environment()


def test_a_mistake_in_the_endpoints_stops_the_start(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", {"name": "GPT"}))
    get_settings.cache_clear()
    with pytest.raises(Refused, match="HYPO_ENDPOINTS: entry 1, base_url"):
        Supervisor(get_settings(), "127.0.0.1", 0).start()


def test_a_home_has_one_app(supervised: Supervisor, settings: Settings) -> None:
    supervised._take_home()
    supervised._write_running("redis://127.0.0.1:1/0")
    second = Supervisor(settings, "127.0.0.1", 0)
    with pytest.raises(Refused, match=rf"already runs in {settings.root} at {supervised.url}"):
        second.start()
    second.stop()
    assert read_running(settings) is not None, "the second took the first's facts away"
    supervised.stop()
    again = Supervisor(settings, "127.0.0.1", 0)
    again._take_home()
    again.stop()


def test_facts_about_the_running_app_are_for_its_owner_only(
    supervised: Supervisor, settings: Settings
) -> None:
    assert read_running(settings) is None
    assert dispatch.broker_url(settings) is None
    supervised._take_home()
    supervised._write_running("redis://:secret@127.0.0.1:1/0")
    path = settings.root / "running.json"
    assert path.stat().st_mode & 0o077 == 0
    facts = read_running(settings)
    assert facts is not None
    assert (facts.pid, facts.broker_url) == (os.getpid(), "redis://:secret@127.0.0.1:1/0")
    assert dispatch.broker_url(settings) == "redis://:secret@127.0.0.1:1/0"
    supervised.stop()
    assert not path.exists()


def test_a_killed_app_does_not_count_as_running(settings: Settings) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    settings.root.mkdir(parents=True)
    (settings.root / "running.json").write_text(json.dumps({"pid": gone.pid, "url": "x"}))
    assert read_running(settings) is None
    (settings.root / "running.json").write_text("{broken")
    assert read_running(settings) is None


def test_a_child_that_dies_is_started_again(supervised: Supervisor) -> None:
    child = add(supervised, "web", SLEEPER)
    supervised._start_child(child)
    assert child.process is not None
    first = child.process.pid
    watcher = threading.Thread(target=supervised.watch)
    watcher.start()
    try:
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: child.alive and child.process is not None and child.process.pid != first)
        assert child.failures == 1
    finally:
        supervised.request_stop()
        watcher.join(timeout=10)
    assert not watcher.is_alive()


def test_a_child_that_keeps_dying_is_started_ever_more_slowly(supervised: Supervisor) -> None:
    child = add(supervised, "web", "raise SystemExit('no good')")
    watcher = threading.Thread(target=supervised.watch)
    watcher.start()
    wait_until(lambda: child.failures >= 2)
    time.sleep(1.2)
    supervised.request_stop()
    watcher.join(timeout=10)
    assert child.failures in (2, 3)
    assert last_line(child.log_file) == "no good"


def test_stopping_is_polite_and_then_firm(supervised: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 1.0)
    polite, stubborn = add(supervised, "web", SLEEPER), add(supervised, "worker-train", STUBBORN)
    for child in (polite, stubborn):
        supervised._start_child(child)
    wait_until(lambda: last_line(stubborn.log_file) == "on")
    supervised.stop()
    assert polite.process is not None
    assert stubborn.process is not None
    assert polite.process.returncode == -signal.SIGTERM
    assert stubborn.process.returncode == -signal.SIGKILL


def test_the_broker_is_stopped_last(supervised: Supervisor, tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        f"    pathlib.Path({str(tmp_path)!r}, sys.argv[1]).write_text(str(time.monotonic_ns()))\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('on', flush=True)\n"
        "time.sleep(60)\n"
    )
    for name in ("broker", "web"):
        child = add(supervised, name, code)
        child.command.append(name)
        supervised._start_child(child)
        wait_until(lambda child=child: last_line(child.log_file) == "on")  # type: ignore[misc]
    supervised.stop()
    assert int((tmp_path / "web").read_text()) < int((tmp_path / "broker").read_text())


def test_a_child_leaves_with_its_supervisor(tmp_path: Path) -> None:
    code = (
        "from app.local.parent_watch import watch_parent; watch_parent(); import time; "
        "print('on', flush=True); time.sleep(60)"
    )
    child = Child("watching", [sys.executable, "-c", code], {}, tmp_path / "log")
    child.start()
    assert child.process is not None
    assert child.process.stdin is not None
    try:
        wait_until(lambda: last_line(child.log_file) == "on")
        child.process.stdin.close()
        assert child.process.wait(timeout=15) == -signal.SIGTERM
    finally:
        child.process.kill()
        child.process.wait()


def test_a_broker_that_does_not_come_up_is_told_with_its_last_words(
    supervised: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = add(supervised, "broker", "raise SystemExit('no room')")
    supervised._start_child(child)
    with pytest.raises(Refused, match=r"did not start\. The last line of its log: no room"):
        supervisor._wait_for_port(1, child)


def test_a_web_app_that_is_up_but_cannot_write_is_told_of_and_not_waited_for(supervised: Supervisor) -> None:
    supervised.port = free_port("127.0.0.1", 0)
    said: list[str] = []
    supervised.say = said.append
    child = supervised._add("web", [sys.executable, "-c", UNWELL, str(supervised.port)], {})
    supervised._start_child(child)
    began = time.monotonic()
    supervised._wait_for_web()
    assert time.monotonic() - began < 60
    assert said == ["The web app runs, but it reports problems. The home folder takes no file."]
