"""`hypo up`: every process of the app on one machine, started, watched, restarted and stopped together.

Each child has a pipe to the supervisor as its standard input and exits when it closes (parent_watch.py), so
no child outlives a killed supervisor.
"""

import fcntl
import json
import logging
import os
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import IO

from app import endpoints
from app.dispatch import ENDPOINTS_QUEUE, QUEUES
from app.errors import Refused
from app.local.child import Child, last_line, stop_all
from app.local.ports import accepts, free_port
from app.local.running import Running, forget_running, read_running
from app.security.exposure import check_exposure
from app.settings import Settings

STOP_SECONDS = 20.0
"""Timeout after which a stopping child is killed. A training step must finish within it."""

log = logging.getLogger(__name__)


@dataclass
class Supervisor:
    """Starts the children, restarts them when they end, and stops them, the broker last."""

    settings: Settings
    host: str
    port: int
    children: list[Child] = field(default_factory=list)
    say: Callable[[str], None] = print
    _lock: IO[str] | None = None
    _running: Running | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{shown}:{self.port}"

    def start(self) -> None:
        """Start everything and return once the web app responds.

        Raises:
            Refused: when another app runs in this home, the port is taken, or a child does not start.
        """
        check_exposure(self.host, self.settings)
        endpoints.configured()
        self.settings.logs_dir.mkdir(parents=True, exist_ok=True)
        self._take_home()
        self.port = free_port(self.host, self.port)
        broker = self.settings.broker_url
        if not broker:
            broker = self._add_broker()
            self._start_child(self.children[0])
            _wait_for_port(int(broker.rpartition(":")[2].partition("/")[0]), self.children[0])
        self._write_running(broker)
        environment = {"HYPO_HOME": str(self.settings.root), "HYPO_BROKER_URL": broker}
        python = [sys.executable, "-m"]
        self._add("web", [*python, "app.main", "--host", self.host, "--port", str(self.port)], environment)
        for queue in QUEUES:
            self._add(f"worker-{queue}", [*python, "worker", "--queues", queue], environment)
        if endpoints.configured():
            self._add_endpoints_worker(python, environment)
        for child in self.children:
            if not child.alive:
                self._start_child(child)
        self._wait_for_web()

    def watch(self) -> None:
        """Restart ended children until `request_stop`, with exponential backoff for repeated failures."""
        while not self._stop.wait(0.5):
            for child in self.children:
                if child.alive:
                    if child.failures and time.monotonic() - child.started > 60:
                        child.failures = 0
                    continue
                pause = min(30.0, 0.5 * 2**child.failures)
                if time.monotonic() - child.started < pause:
                    continue
                child.failures += 1
                log.warning("%s ended; starting it again (its log: %s)", child.name, child.log_file)
                try:
                    self._start_child(child)
                except OSError as error:
                    log.warning("%s cannot be started: %s", child.name, error)

    def request_stop(self) -> None:
        self._stop.set()

    def stop(self) -> None:
        """Stop every child, the broker last. Children that exceed the timeout are killed."""
        self._stop.set()
        others = [child for child in self.children if child.name != "broker"]
        stop_all(others, STOP_SECONDS)
        stop_all([child for child in self.children if child.name == "broker"], 5.0)
        if self._lock is not None:
            forget_running(self.settings)
            self._lock.close()
            self._lock = None

    def _add_endpoints_worker(self, python: list[str], environment: dict[str, str]) -> None:
        """Add the worker of the endpoints: the only process that gets their keys."""
        keys = {name: os.environ[name] for name in endpoints.key_names() if name in os.environ}
        command = [*python, "worker", "--queues", ENDPOINTS_QUEUE]
        self._add(f"worker-{ENDPOINTS_QUEUE}", command, {**environment, **keys}, kind="endpoints")

    def _add(self, name: str, command: list[str], environment: dict[str, str], *, kind: str = "") -> Child:
        child = Child(name, command, environment, self.settings.logs_dir / f"{name}.log", kind)
        self.children.append(child)
        return child

    def _add_broker(self) -> str:
        port = free_port("127.0.0.1", 0)
        password = secrets.token_urlsafe(24)
        self._add(
            "broker",
            [sys.executable, "-m", "app.local.embedded_broker", "--port", str(port)],
            {"HYPO_EMBEDDED_PASSWORD": password, "HYPO_HOME": str(self.settings.root)},
        )
        return f"redis://:{password}@127.0.0.1:{port}/0"

    def _start_child(self, child: Child) -> None:
        child.start()
        try:
            self._record_children()
        except OSError as error:
            log.warning("running.json cannot be written: %s", error)

    def _take_home(self) -> None:
        lock = (self.settings.root / "up.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            running = read_running(self.settings)
            where = f" at {running.url}" if running else ""
            raise Refused(
                f"HyPO Studio already runs in {self.settings.root}{where}; stop it with Ctrl-C there, "
                "or set HYPO_HOME to another folder."
            ) from error
        self._lock = lock

    def _write_running(self, broker: str) -> None:
        self._running = Running(os.getpid(), self.url, broker)
        self._record_children()

    def _record_children(self) -> None:
        if self._running is None:
            return
        pids = {child.name: child.process.pid for child in self.children if child.process is not None}
        replace(self._running, children=pids).write(self.settings)

    def _wait_for_web(self) -> None:
        web = next(child for child in self.children if child.name == "web")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not self._stop.is_set():
            if not web.alive:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                    pass
            except urllib.error.HTTPError as answer:
                with answer:
                    self.say(_what_is_wrong(answer.read()))
            except OSError:
                time.sleep(0.2)
                continue
            time.sleep(0.3)  # if another server took the port and responded, our process ends
            if web.alive:
                return
        raise Refused(f"The web app did not start. The last line of its log: {last_line(web.log_file)}")


def _what_is_wrong(health: bytes) -> str:
    """The problems that a web app reports when it is up but unhealthy, for example on a full disk."""
    try:
        problems = [text for part, text in json.loads(health).items() if part != "status"]
    except (ValueError, AttributeError):
        problems = []
    return " ".join(["The web app runs, but it reports problems.", *map(str, problems)])


def _wait_for_port(port: int, child: Child) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and child.alive:
        if accepts(port):
            return
        time.sleep(0.05)
    raise Refused(f"The embedded broker did not start. The last line of its log: {last_line(child.log_file)}")
