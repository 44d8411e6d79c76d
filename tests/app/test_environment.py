"""Each process gets only the secrets of its own task and the common variables."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.environment import environment_for
from app.local.supervisor import Supervisor
from app.settings import Settings

SECRETS = {
    "HYPO_AUTH": "ada:one",
    "HYPO_DATABASE_URL": "postgresql+psycopg://hypo:two@host/hypo",
    "PGPASSWORD": "three",
    "HYPO_BROKER_URL": "redis://:four@host",
    "AWS_SECRET_ACCESS_KEY": "five",
    "AWS_SESSION_TOKEN": "six",
    "HF_TOKEN": "seven",
    "HTTPS_PROXY": "http://me:eight@proxy",
    "HYPO_EMBEDDED_PASSWORD": "nine",
    "MY_BANK_PASSWORD": "ten",
    "SLACK_TOKEN": "eleven",
}
PLAIN = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "HYPO_HOME": "/data",
    "HYPO_LEASE_SECONDS": "3",
    "HF_HOME": "/models",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": "/srv",
}
DATABASE = {"HYPO_DATABASE_URL", "PGPASSWORD"}
WORKER = DATABASE | {
    "HYPO_BROKER_URL",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "HTTPS_PROXY",
}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("web", WORKER | {"HYPO_AUTH"}),
        ("worker", WORKER),
        ("watchdog", DATABASE),
        ("broker", {"HYPO_EMBEDDED_PASSWORD"}),
        ("something new", set()),
    ],
)
def test_a_process_is_told_its_own_secrets(kind: str, told: set[str]) -> None:
    found = environment_for(kind, {**SECRETS, **PLAIN})
    assert set(found) & set(SECRETS) == told
    assert {name: found.get(name) for name in PLAIN} == PLAIN


def test_a_child_of_the_supervisor_has_no_others(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings.logs_dir.mkdir(parents=True)
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    supervised = Supervisor(settings, "127.0.0.1", 0)
    children = {
        name: supervised._add(name, [sys.executable, "-c", code], {"HYPO_EXTRA": name})
        for name in ("broker", "web", "worker-train", "worker-generate")
    }
    for child in children.values():
        child.start()
        assert child.process is not None
        child.process.wait(timeout=30)
    supervised.stop()
    told = {name: json.loads(child.log_file.read_text()) for name, child in children.items()}
    assert {name: env["HYPO_EXTRA"] for name, env in told.items()} == {name: name for name in told}
    assert {name: set(env) & set(SECRETS) for name, env in told.items()} == {
        "broker": {"HYPO_EMBEDDED_PASSWORD"},
        "web": WORKER | {"HYPO_AUTH"},
        "worker-train": WORKER,
        "worker-generate": WORKER,
    }


def test_a_container_is_told_its_own_secrets() -> None:
    compose: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "compose.yaml").read_text())
    told = {name: set(service["environment"]) & set(SECRETS) for name, service in compose["services"].items()}
    assert told["migrations"] == {"HYPO_DATABASE_URL"}
    assert told["database"] == told["broker"] == set()
    assert [name for name, secrets in told.items() if "HYPO_AUTH" in secrets] == ["web"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("app.cli.main", ["db", "upgrade"])],
)
def test_what_a_process_writes_is_its_users_alone(
    settings: Settings, module: str, arguments: list[str]
) -> None:
    """The umask of the parent process does not matter."""
    code = f"import os; os.umask(0); from {module} import main; main()"
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=120)
    written = [path for path in settings.root.rglob("*") if path.is_file()]
    assert written
    for path in [settings.root, *written]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize(
    "module", ["app.main", "app.local.embedded_broker", "worker.__main__", "worker.watchdog"]
)
def test_every_process_begins_by_keeping_its_files_private(
    module: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sets its umask before it can exit on bad arguments."""
    code = (
        f"import os, sys; from {module} import main\n"
        "os.umask(0)\n"
        "sys.argv = ['it', '--no-such-argument']\n"
        "try: main()\n"
        "except BaseException: pass\n"
        "print(oct(os.umask(0)), flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HYPO_EMBEDDED_PASSWORD": "x"},
        check=True,
    )
    assert done.stdout.strip() == "0o77"
