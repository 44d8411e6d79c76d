"""Who may import whom, and the other rules that hold for every file."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from hypo_engine.config import TrainConfig
from scripts import reference_pages

ROOT = Path(__file__).resolve().parent.parent
OURS = ("app", "benchmarks", "hypo_engine", "migrations", "worker")
LONGEST_FILE = 400

PURE_ENGINE = (
    "assignments",
    "cache_files",
    "chat_template",
    "config",
    "data",
    "demo_model",
    "errors",
    "estimate",
    "field_text",
    "formats",
    "jsonl",
    "knobs",
    "layouts",
    "machine",
    "measures",
    "model_files",
    "model_shape",
    "proposal",
    "reporting",
    "rows",
    "thinking",
    "tokenizer_files",
    "weight_files",
)
"""What the engine offers without torch."""

HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets", "trl"}

ALLOWED = {
    "benchmarks": ("benchmarks", "hypo_engine"),
    "benchmarks/app": ("app", "benchmarks", "hypo_engine.config"),
    "hypo_engine": ("hypo_engine",),
    "migrations": ("app.store", "migrations"),
    "app/store": (
        "app.errors",
        "app.settings",
        "app.store",
        "app.text",
        "hypo_engine.formats",
    ),
    "app/ui": (
        "app",
        "hypo_engine.assignments",
        "hypo_engine.config",
        "hypo_engine.errors",
        "hypo_engine.estimate",
        "hypo_engine.field_text",
        "hypo_engine.formats",
        "hypo_engine.knobs",
        "hypo_engine.measures",
        "hypo_engine.reporting",
    ),
    "app/cli": (
        "app",
        "hypo_engine.assignments",
        "hypo_engine.cache_files",
        "hypo_engine.config",
        "hypo_engine.errors",
        "hypo_engine.estimate",
        "hypo_engine.field_text",
        "hypo_engine.formats",
        "hypo_engine.knobs",
        "hypo_engine.measures",
        "hypo_engine.reporting",
    ),
    "app": ("app", *(f"hypo_engine.{name}" for name in PURE_ENGINE)),
    "worker": (
        "app.artifacts",
        "app.dispatch",
        "app.environment",
        "app.errors",
        "app.leash",
        "app.settings",
        "app.store",
        "app.streams",
        "hypo_engine",
        "worker",
    ),
}
"""Our own modules that the files under a folder may import; the longest folder that fits decides."""

STORE_LIBRARIES = {"sqlalchemy", "psycopg"}
MIGRATION_LIBRARIES = {"alembic", "sqlalchemy"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, wherever in it; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def allowed_for(path: Path) -> tuple[str, ...]:
    name = relative(path)
    return ALLOWED[max((folder for folder in ALLOWED if name.startswith(f"{folder}/")), key=len)]


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", sources(*OURS), ids=relative)
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    allowed = allowed_for(path)
    ours = {name for name in imported(path) if within(name, OURS)}
    assert {name for name in ours if not within(name, allowed)} == set()


@pytest.mark.parametrize("folder", ["app", "migrations"])
def test_the_app_needs_no_tensors(folder: str) -> None:
    heavy = {
        (relative(path), name)
        for path in sources(folder)
        for name in imported(path)
        if name.partition(".")[0] in HEAVY
    }
    assert heavy == set()


@pytest.mark.parametrize(
    ("folder", "libraries"), [("app/store", STORE_LIBRARIES), ("migrations", MIGRATION_LIBRARIES)]
)
def test_the_store_needs_the_database_libraries_alone(folder: str, libraries: set[str]) -> None:
    foreign = {
        (relative(path), top)
        for path in sources(folder)
        for name in imported(path)
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names | libraries | set(OURS)
    }
    assert foreign == set()


@pytest.mark.parametrize("path", sources(*OURS, "scripts"), ids=relative)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_nobody_runs_code_that_came_with_data() -> None:
    """No pickles, no torch.load of objects, no code from a model's repository, no eval, no unsafe YAML."""
    offences = []
    for path in sources(*OURS, "scripts"):
        picklers = {name for name in imported(path) if name.partition(".")[0] in {"pickle", "dill", "joblib"}}
        if picklers - {"pickle.UnpicklingError"}:
            offences.append((relative(path), "imports a pickler"))
        for function, call in calls(path):
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            trusted = keywords.get("trust_remote_code")
            if trusted is not None and ast.unparse(trusted) != "False":
                offences.append((relative(path), "trust_remote_code"))
            if function == "torch.load" and ast.unparse(keywords.get("weights_only", call)) != "True":
                offences.append((relative(path), "torch.load without weights_only=True"))
            if function in {"eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system"}:
                offences.append((relative(path), function))
            if "shell" in keywords:
                offences.append((relative(path), "shell"))
    assert offences == []


def test_what_serves_people_and_the_pure_part_of_the_engine_load_no_torch() -> None:
    modules = ["app.main", "app.cli", "app.supervisor", "app.up", "worker.health"]
    imports = ", ".join([*modules, *(f"hypo_engine.{name}" for name in PURE_ENGINE)])
    code = f"import sys, json, {imports}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert loaded & {"torch", "transformers", "peft"} == set()


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("settings.md", reference_pages.settings_page()),
        ("configuration.md", reference_pages.configuration_page()),
    ],
)
def test_the_reference_pages_are_those_of_the_code(name: str, page: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == page, f"docs/{name} is out of date; run `make docs`"


def test_every_setting_and_option_is_documented() -> None:
    settings, configuration = reference_pages.settings_page(), reference_pages.configuration_page()
    for name, field in Settings.model_fields.items():
        assert field.description
        assert f"`HYPO_{name.upper()}`" in settings
    for name, field in TrainConfig.model_fields.items():
        assert field.description
        assert f"| `{name}` |" in configuration
