"""The real app, started as a user starts it, and a real browser that reports every error."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.local.running import Running, last_running
from app.settings import Settings
from benchmarks.app.chromium import started_chromium
from tests.e2e.watch import Watch
from tests.endpoint_server import EndpointServer, Reaction, serving, write_config
from tests.tiny_model import write_tiny_model

ROOT = Path(__file__).parents[2]
FAILURES = Path(__file__).with_name("failures")
PATIENCE = 60.0
"""Timeout for waiting in a test, in seconds; generous for a busy machine."""

TINY_RUN: dict[str, Any] = {
    "max_steps": 4,
    "per_device_train_batch_size": 2,
    "lora_r": 4,
    "learning_rate": 0.01,
    "max_prompt_length": 64,
    "max_completion_length": 12,
    "eval_pairs": 2,
    "eval_prompts": 2,
    "probe_prompts": 1,
}

_T = TypeVar("_T")


def wait_for(find: Callable[[], _T | None], what: str, *, seconds: float = PATIENCE) -> _T:
    """Poll until the call returns a truthy value, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        found = find()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


@dataclass
class App:
    """A running `hypo up`: its address, processes and database rows."""

    home: Path
    process: subprocess.Popen[bytes]

    @property
    def running(self) -> Running:
        found = last_running(Settings(home=self.home))
        assert found is not None, "running.json is missing"
        return found

    @property
    def url(self) -> str:
        return self.running.url

    def api(self) -> httpx.Client:
        """Call the REST API."""
        return httpx.Client(base_url=f"{self.url.rstrip('/')}/api/v1/", timeout=PATIENCE)

    def add_dataset(self, path: Path, name: str, held_out: float = 0.3) -> dict[str, Any]:
        """Upload a file through the API."""
        with self.api() as api, path.open("rb") as file:
            form = {"name": name, "held_out": str(held_out)}
            added = api.post("datasets", data=form, files={"file": (path.name, file)})
        assert added.status_code == 201, added.text
        stored: dict[str, Any] = added.json()
        return stored

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Read the database without the app's own code."""
        with closing(sqlite3.connect(f"file:{self.home / 'hypo.db'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, values).fetchall()

    def value(self, query: str, *values: object) -> Any:
        return self.rows(query, *values)[0][0]

    def launch(
        self, method: str, dataset: str, model: Path, *, name: str = "", **values: object
    ) -> list[int]:
        """Queue tiny runs through the API."""
        wanted = {"method": method, "dataset": dataset, "model": str(model), "name": name}
        with self.api() as api:
            queued = api.post("runs", json={**wanted, "config": {**TINY_RUN, **values}})
        assert queued.status_code == 201, queued.text
        return [int(run["id"]) for run in queued.json()["runs"]]

    def ask(self, prompt: str, run_ids: list[int], **given: object) -> dict[str, Any]:
        """Ask a question through the API and wait for the answers."""
        with self.api() as api:
            asked = api.post("comparisons", json={"prompt": prompt, "run_ids": run_ids, **given})
            assert asked.status_code == 201, asked.text
            present = api.get(f"comparisons/{asked.json()['comparison_id']}?wait=60", timeout=70)
        answered: dict[str, Any] = present.json()
        return answered

    def wait_until_over(self, *run_ids: int) -> list[sqlite3.Row]:
        marks = ",".join("?" * len(run_ids))

        def over() -> list[sqlite3.Row] | None:
            found = self.rows(f"SELECT * FROM runs WHERE id IN ({marks}) ORDER BY id", *run_ids)
            return found if all(run["status"] not in ("queued", "running") for run in found) else None

        return wait_for(over, f"the end of runs {run_ids}", seconds=2 * PATIENCE)

    def wait_for_step(self, run_id: int, step: int) -> None:
        """Wait until a run has done this many steps; on a fast machine it may have finished."""

        def reached() -> bool:
            run = self.rows("SELECT status, step, error FROM runs WHERE id = ?", run_id)[0]
            assert run["status"] in ("queued", "running", "finished"), f"{run['status']}: {run['error']}"
            return bool(run["step"] >= step)

        wait_for(reached, f"step {step} of run {run_id}")

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted((self.home / "logs").glob("*.log"))
        )


def start_app(home: Path, **settings: str) -> App:
    """Start `hypo up` on a free port and return when it answers."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HYPO_")},
        "HYPO_HOME": str(home),
        "HYPO_LEASE_SECONDS": "3",
        "HYPO_RESEND_SECONDS": "3",
        **settings,
    }
    home.mkdir(parents=True)
    with (home / "up.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "up", "--port", "0"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def up() -> bool:
        said = (home / "up.log").read_text(errors="replace")
        assert process.poll() is None, said
        return "is up" in said

    app = App(home, process)
    try:
        wait_for(up, "the app", seconds=2 * PATIENCE)
    except AssertionError:
        process.terminate()
        process.wait(timeout=PATIENCE)
        raise
    return app


def stop_app(app: App) -> list[int]:
    """Stop the app as Ctrl-C does; return the children that are still alive."""
    children = list(app.running.children.values())
    app.process.send_signal(signal.SIGINT)
    status = app.process.wait(timeout=PATIENCE)
    assert status == 0, (app.home / "up.log").read_text()
    return [pid for pid in children if _alive(pid)]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="session")
def endpoint() -> Iterator[EndpointServer]:
    """The server behind the app's only endpoint, GPT, as a judge that always prefers answer A."""
    with serving() as server:
        server.say(Reaction("It comes first.\nVerdict: A"))
        yield server


ENDPOINT_KEY = "sk-known-to-the-endpoints-worker-alone"


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, endpoint: EndpointServer) -> Iterator[App]:
    """One app for all browser tests; each test creates its own data."""
    folder = tmp_path_factory.mktemp("e2e")
    listed = write_config(folder / "endpoints.yaml", endpoint.entry(api_key_env="GPT_KEY"))
    started = start_app(folder / "home", HYPO_ENDPOINTS=listed, GPT_KEY=ENDPOINT_KEY)
    yield started
    assert stop_app(started) == []
    assert last_running(Settings(home=started.home)) is None


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough valid pairs for a held-out share."""
    rows = [{"prompt": f"Say {n}.", "chosen": f" yes {n}", "rejected": f" no {n}"} for n in range(24)]
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture(scope="session")
def dataset(app: App, pairs: Path) -> str:
    """The name of an existing dataset."""
    return str(app.add_dataset(pairs, "tiny")["name"])


@pytest.fixture(scope="session")
def twins(app: App, dataset: str, tiny_model: Path) -> list[int]:
    """A finished DPO and HyPO run."""
    ids = app.launch("twins", dataset, tiny_model)
    assert [run["status"] for run in app.wait_until_over(*ids)] == ["finished", "finished"]
    return ids


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    with started_chromium() as browser:
        yield browser


@pytest.fixture
def context(app: App, browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh browser context; at teardown no page may have reported errors or contacted another host."""
    context = browser.new_context(
        base_url=app.url, viewport={"width": 1280, "height": 900}, accept_downloads=True
    )
    context.set_default_timeout(PATIENCE * 1000)
    watch = Watch(context)
    failed_before = request.session.testsfailed
    yield context
    problems = watch.problems()
    if problems or request.session.testsfailed > failed_before:
        _keep_pictures(context, request.node.name, app)
    context.close()
    assert not problems, "\n".join(problems)


def _keep_pictures(context: BrowserContext, name: str, app: App) -> None:
    FAILURES.mkdir(exist_ok=True)
    stem = re.sub(r"\W+", "-", name)
    for number, page in enumerate(context.pages):
        page.screenshot(path=FAILURES / f"{stem}-{number}.png", full_page=True)
    (FAILURES / f"{stem}.log").write_text(app.logs())


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
