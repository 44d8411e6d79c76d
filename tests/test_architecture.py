"""Import rules, and other rules for every file."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from app.settings import Settings
from hypo_engine.config import TrainConfig
from scripts import reference_pages

ROOT = Path(__file__).resolve().parent.parent
OURS = ("app", "benchmarks", "hypo_engine", "migrations", "study", "worker")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

ROOMS = (
    "chat",
    "files",
    "data",
    "memory",
    "cpu",
    "forward",
    "decoding",
    "prompts",
    "models",
    "reference",
    "scorers",
    "methods",
    "distributed",
    "training",
)
"""The engine's folders, bottom-up: each may import only from itself and from earlier ones."""

PURE_ROOMS = ROOMS[:4]
"""The folders that do not import torch."""

GROUND = (
    "assignments",
    "choices",
    "config",
    "disk",
    "errors",
    "field_text",
    "measures",
    "method_fields",
    "training_fields",
    "model_spec",
    "reporting",
    "reward_spec",
    "seeds",
)
"""Top-level modules of the engine that any folder may use; they do not import torch either."""

PURE_ENGINE = tuple(f"hypo_engine.{name}" for name in (*PURE_ROOMS, *GROUND))
"""The parts of the engine that work without torch."""

HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets", "trl"}

ALLOWED = {
    "benchmarks": ("benchmarks", "hypo_engine"),
    "benchmarks/answering": ("app", "benchmarks", "hypo_engine", "worker"),
    "benchmarks/app": ("app", "benchmarks", "hypo_engine.config", "hypo_engine.errors"),
    "benchmarks/coverage": ("app.evidence", "benchmarks.coverage"),
    "hypo_engine": ("hypo_engine",),
    "migrations": ("app.store", "migrations"),
    "app/store": (
        "app.errors",
        "app.settings",
        "app.store",
        "app.text",
        "hypo_engine.data.formats",
        "hypo_engine.errors",
        "hypo_engine.model_spec",
    ),
    "app/evidence": ("app.evidence",),
    "app/ui": (
        "app",
        "hypo_engine.assignments",
        "hypo_engine.config",
        "hypo_engine.errors",
        "hypo_engine.memory.estimate",
        "hypo_engine.field_text",
        "hypo_engine.data.formats",
        "hypo_engine.memory.knobs",
        "hypo_engine.measures",
        "hypo_engine.model_spec",
        "hypo_engine.reporting",
    ),
    "app/cli": (
        "app",
        "hypo_engine.assignments",
        "hypo_engine.files.reference_cache",
        "hypo_engine.config",
        "hypo_engine.errors",
        "hypo_engine.memory.estimate",
        "hypo_engine.field_text",
        "hypo_engine.data.formats",
        "hypo_engine.memory.knobs",
        "hypo_engine.measures",
        "hypo_engine.reporting",
    ),
    "app": ("app", *PURE_ENGINE),
    "study": ("app", "hypo_engine", "study", "worker"),
    "worker": (
        "app.artifacts",
        "app.dispatch",
        "app.endpoints",
        "app.environment",
        "app.errors",
        "app.local.parent_watch",
        "app.settings",
        "app.store",
        "app.streams",
        "hypo_engine",
        "worker",
    ),
}
"""The own modules that files under a folder may import; the longest matching folder applies."""

STORE_LIBRARIES = {"sqlalchemy", "psycopg"}
MIGRATION_LIBRARIES = {"alembic", "sqlalchemy"}
EVIDENCE_LIBRARIES = {"evalica", "numpy", "scipy"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names of all imports of a file, at any level; `from a import b` gives a.b."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} has a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """The imports between the modules, at any level of their files."""
    graph = {}
    for module, path in modules.items():
        names = imported(path)
        found = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[module] = (found & modules.keys()) - {module}
    return graph


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def allowed_for(path: Path) -> tuple[str, ...]:
    name = relative(path)
    return ALLOWED[max((folder for folder in ALLOWED if name.startswith(f"{folder}/")), key=len)]


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("folder", OURS)
def test_files_import_only_what_their_package_may(folder: str) -> None:
    offences = {
        (relative(path), name)
        for path in sources(folder)
        for name in imported(path)
        if within(name, OURS) and not within(name, allowed_for(path))
    }
    assert offences == set()


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The modules of an import cycle; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Imports of the engine's modules from a higher folder."""
    return {(module, used) for module, uses in graph.items() for used in uses if level(module) < level(used)}


def level(module: str) -> int:
    """The level of a module of the engine: ground, a folder, or above all folders."""
    name = module.removeprefix("hypo_engine.").partition(".")[0]
    if name in GROUND:
        return -1
    return ROOMS.index(name) if name in ROOMS else len(ROOMS)


def test_no_import_goes_in_a_circle() -> None:
    modules = {module_of(path): path for path in sources(*OURS, "scripts")}
    assert circle_in(import_graph(modules)) == []


def test_no_room_of_the_engine_imports_from_one_above_it() -> None:
    modules = {module_of(path): path for path in sources("hypo_engine")}
    assert {module.split(".")[1] for module in modules if module.count(".") > 1} == set(ROOMS)
    assert upward(import_graph(modules)) == set()


def test_circles_and_upward_imports_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    planted = {
        "hypo_engine/cpu/pool.py": "def late():\n    from hypo_engine.training import run",
        "hypo_engine/training/run.py": "import hypo_engine.cpu.pool\nfrom hypo_engine.errors import Stop",
        "hypo_engine/errors.py": "",
    }
    for name, text in planted.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = import_graph({module_of(path): path for path in sources("hypo_engine")})
    assert set(circle_in(graph)) == {"hypo_engine.cpu.pool", "hypo_engine.training.run"}
    assert upward(graph) == {("hypo_engine.cpu.pool", "hypo_engine.training.run")}


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
    ("folder", "libraries"),
    [
        ("app/evidence", EVIDENCE_LIBRARIES),
        ("app/store", STORE_LIBRARIES),
        ("migrations", MIGRATION_LIBRARIES),
    ],
)
def test_a_package_needs_its_own_libraries_alone(folder: str, libraries: set[str]) -> None:
    foreign = {
        (relative(path), top)
        for path in sources(folder)
        for name in imported(path)
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names | libraries | set(OURS)
    }
    assert foreign == set()


@pytest.mark.parametrize("folder", [*OURS, "scripts"])
def test_files_stay_short(folder: str) -> None:
    lines = {relative(path): path.read_text(encoding="utf-8").count("\n") for path in sources(folder)}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def long_functions(path: Path) -> list[str]:
    """Functions of a file with too many lines, as `file: name (lines)`, not counting decorators."""
    functions = (node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = {node: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    return [
        f"{relative(path)}: {node.name} ({lines} lines)"
        for node, lines in lengths.items()
        if lines > LONGEST_FUNCTION
    ]


@pytest.mark.parametrize(
    "folder", ["app", "benchmarks", "hypo_engine", "scripts", "study", "tests", "worker"]
)
def test_functions_stay_short(folder: str) -> None:
    assert [found for path in sources(folder) for found in long_functions(path)] == []


def test_long_functions_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "planted.py"
    short = "def short():\n" + 59 * "    pass\n"
    path.write_text(f"{short}class A:\n    async def long(self):\n" + 60 * "        pass\n")
    assert long_functions(path) == ["planted.py: long (61 lines)"]


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
    pure = [module_of(path) for path in sources("hypo_engine") if within(module_of(path), PURE_ENGINE)]
    imports = ", ".join(
        [
            *("app.main", "app.cli", "app.local.supervisor", "app.local.up", "worker.health"),
            *("worker.request_task", "worker.probe_task"),
            *pure,
        ]
    )
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
