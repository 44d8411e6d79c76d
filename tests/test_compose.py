"""compose.yaml and the Dockerfile, validated against the Compose specification's schema and the code."""

import importlib.resources
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from app.cli.main import cli
from app.dispatch import ENDPOINTS_QUEUE, QUEUES
from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OUR_SERVICES = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_it_follows_the_compose_specification() -> None:
    schemas = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(COMPOSE, schema)


def test_the_services_are_those_of_the_design() -> None:
    workers = {f"worker-{queue}" for queue in (*QUEUES, ENDPOINTS_QUEUE)}
    assert set(SERVICES) == {"database", "broker", "migrations", "web"} | workers


def test_every_variable_is_a_setting() -> None:
    known = {f"HYPO_{name.upper()}" for name in Settings.model_fields}
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8") + DOCKERFILE
    assert set(re.findall(r"\bHYPO_[A-Z_]+", text)) - known == set()


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{([A-Z_]+)(:?[^}]*)\}", text))
    secret = {(name, rest) for name, rest in used if "PASSWORD" in name or name == "HYPO_AUTH"}
    assert {name for name, _ in secret} == {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "HYPO_AUTH"}
    assert {name for name, rest in secret if not rest.startswith(":?")} == set()
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or name == "HYPO_AUTH":
                assert value.startswith("${"), f"{name} is written out"


def test_the_web_app_needs_a_login() -> None:
    web = SERVICES["web"]
    assert "0.0.0.0" in web["command"]
    assert web["environment"]["HYPO_AUTH"].startswith("${HYPO_AUTH:?")


def test_settings_can_be_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"POSTGRES_PASSWORD": "one", "VALKEY_PASSWORD": "two", "HYPO_AUTH": "ada:three"}
    for name, value in SERVICES["web"]["environment"].items():
        if value is not None:
            monkeypatch.setenv(name, _filled(value, given))
    settings = Settings()
    assert settings.sqlalchemy_url == "postgresql+psycopg://hypo:one@database:5432/hypo"
    assert settings.broker_url == "redis://:two@broker:6379/0"
    assert settings.artifacts == "/data/artifacts"
    assert settings.logins() == [("ada", "three")]


def _filled(value: str, given: dict[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        name, default = match[1], match[2] or ""
        return given.get(name, default)

    return re.sub(r"\$\{([A-Z_]+)(?::[-?]([^}]*))?\}", fill, value)


@pytest.mark.parametrize("name", sorted(OUR_SERVICES))
def test_every_command_exists(name: str) -> None:
    program, *arguments = SERVICES[name]["command"]
    if program == "python":
        assert arguments[0] == "-m"
        assert (ROOT / f"{arguments[1].replace('.', '/')}.py").is_file()
        return
    assert program == "hypo"
    words = [word for word in arguments if not word.startswith("--")]
    commands = words[:2] if words[0] == "db" else words[:1]
    helped = CliRunner().invoke(cli, [*commands, "--help"])
    assert helped.exit_code == 0, helped.output
    for option in (word for word in arguments if word.startswith("--")):
        assert option in helped.output


def test_every_queue_has_a_worker() -> None:
    served = [
        service["command"][service["command"].index("--queues") + 1]
        for service in OUR_SERVICES.values()
        if "--queues" in service["command"]
    ]
    assert sorted(queue for names in served for queue in names.split(",")) == sorted(
        [*QUEUES, ENDPOINTS_QUEUE]
    )


def test_everything_waits_for_the_migrations() -> None:
    for name in ("web", *(f"worker-{queue}" for queue in (*QUEUES, ENDPOINTS_QUEUE))):
        needs = SERVICES[name]["depends_on"]
        assert needs["migrations"]["condition"] == "service_completed_successfully"
        assert needs["database"]["condition"] == needs["broker"]["condition"] == "service_healthy"


def test_every_service_that_stays_has_a_health_check() -> None:
    assert "HEALTHCHECK" in DOCKERFILE
    for name in set(SERVICES) - {"web", "migrations"}:
        assert SERVICES[name]["healthcheck"]["test"]
    module = SERVICES["worker-train"]["healthcheck"]["test"][-1]
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_the_endpoints_worker_is_optional_and_alone_gets_the_keys() -> None:
    with_keys = {name for name, service in SERVICES.items() if "env_file" in service}
    assert with_keys == {"worker-endpoints"}
    assert SERVICES["worker-endpoints"]["profiles"] == ["endpoints"]
    [config] = SERVICES["web"]["configs"]
    assert config["target"] == SERVICES["web"]["environment"]["HYPO_ENDPOINTS"]
    assert config["source"] in COMPOSE["configs"]


def test_every_volume_is_declared() -> None:
    used = {
        volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [
        path for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for path in line.split()[:-1]
    ]
    assert {"app", "worker", "hypo_engine", "migrations"} <= set(copied)
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in ignored, path


def test_the_image_runs_as_nobody_special_on_a_supported_python() -> None:
    assert re.search(r"^USER (?!root)", DOCKERFILE, re.MULTILINE)
    assert "FROM python:3.11-slim" in DOCKERFILE
    assert sys.version_info >= (3, 11)


def test_everything_needed_is_pinned_and_torch_exactly() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert "torch==2.13.0" in pins
    assert all(
        re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9A-Za-z.]+", pin) for pin in pins if not pin.startswith("#")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["dev"]
    missing = {_name(requirement) for requirement in needed} - {_name(pin) for pin in pins}
    assert missing == set(), "run `make pins`"


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")
