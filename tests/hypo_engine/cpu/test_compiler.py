"""The compiler of the C parts: what it compiles, what it keeps, and when it does not trust what is kept."""

import ctypes
import os
from pathlib import Path

import pytest

from hypo_engine.cpu import compiler
from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.skinny_gemm import library

pytestmark = pytest.mark.skipif(library() is None, reason="this machine has no C compiler")

SEVEN = "int number(void) { return 7; }"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "sources" / "right.c"
    path.parent.mkdir()
    path.write_text(SEVEN)
    return path


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kept libraries, in a new home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".cache" / "hypo-studio" / "kernels"


def number(source: Path) -> int:
    """Compile as a new process would, and call the library."""
    found = compiled.__wrapped__(source)
    assert isinstance(found, ctypes.CDLL)
    return int(found.number())


@pytest.fixture
def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ask the compiler for its version."""
    run = compiler._run

    def version(command: list[str]) -> bytes:
        assert command[-1] == "--version"
        return run(command)

    monkeypatch.setattr(compiler, "_run", version)


@pytest.mark.parametrize("content", ["this is no C", "#include <no_such_header.h>"])
def test_what_does_not_compile_is_none(source: Path, kept: Path, content: str) -> None:
    source.write_text(content)
    assert compiled(source) is None
    assert list(kept.iterdir()) == []


def test_no_place_to_compile(source: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(source.parent / "nowhere"))
    assert compiled(source) is None


@pytest.mark.parametrize("named", ["", "env cc"])
def test_the_compiler_may_have_arguments(
    source: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("CC", named)
    assert number(source) == 7


def test_the_next_process_finds_it_compiled(source: Path, kept: Path, request: pytest.FixtureRequest) -> None:
    assert number(source) == 7
    (file,) = kept.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o077 == 0
    request.getfixturevalue("no_compiling")
    assert number(source) == 7


@pytest.mark.parametrize("changed", ["source", "header", "flags", "processor"])
def test_what_it_depends_on_is_in_its_name(
    source: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    source.write_text('#include "number.h"\nint number(void) { return NUMBER; }')
    header = source.with_name("number.h")
    header.write_text("#define NUMBER 7")
    assert number(source) == 7
    if changed == "source":
        source.write_text(source.read_text().replace("NUMBER; }", "NUMBER + 1; }"))
    if changed == "header":
        header.write_text("#define NUMBER 8")
    if changed == "flags":
        monkeypatch.setattr(compiler, "_FLAGS", (*compiler._FLAGS, "-DOTHER"))
    if changed == "processor":
        monkeypatch.setattr(compiler, "_processor", lambda: b"another")
    assert number(source) == (8 if changed in ("source", "header") else 7)
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"\x7fELF and no more"])
def test_a_damaged_library_is_compiled_again(source: Path, kept: Path, content: bytes) -> None:
    kept.mkdir(parents=True, mode=0o700)
    kept_file = compiler._kept_file(source, ["cc"])
    assert kept_file is not None
    kept_file.write_bytes(content)
    assert number(source) == 7
    assert list(kept.iterdir()) == [kept_file]
    assert len(kept_file.read_bytes()) > 1000


def test_a_folder_that_others_can_write_to_is_not_used(source: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    kept.chmod(0o770)
    assert number(source) == 7
    assert list(kept.iterdir()) == []


def test_a_link_to_a_folder_is_not_used(source: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True)
    kept.symlink_to(source.parent)
    assert number(source) == 7
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_not_used(source: Path, kept: Path) -> None:
    kept.mkdir(parents=True, mode=0o700)
    os.chown(kept, 12345, 12345)
    assert number(source) == 7
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("missing", ["home", "processor", "space"])
def test_it_compiles_where_nothing_can_be_kept(
    source: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError

    if missing == "home":
        monkeypatch.setenv("HOME", "/dev/null")
    if missing == "processor":
        monkeypatch.setattr(compiler, "_processor", lambda: b"")
    if missing == "space":
        monkeypatch.setattr("os.fsync", fails)
    assert number(source) == 7
    assert not kept.exists() or list(kept.iterdir()) == []
