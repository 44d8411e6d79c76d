"""Folders of exported files."""

import os
import time
from pathlib import Path

import pytest

from app.exports.downloads import KEPT_SECONDS, download_folder


def _aged(*paths: Path) -> None:
    long_ago = time.time() - KEPT_SECONDS - 60
    for path in paths:
        os.utime(path, (long_ago, long_ago))


def test_an_export_deletes_those_of_an_hour_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    upload = tmp_path / "somebody's upload"
    upload.mkdir()
    old, written, fresh = download_folder(), download_folder(), download_folder()
    for folder in (old, written, fresh):
        (folder / "file").write_text("x", encoding="utf-8")
    _aged(upload, old / "file", old, written)
    new = download_folder()
    assert not old.exists()
    assert all(folder.exists() for folder in (upload, written, fresh, new))
    assert new.parent == tmp_path / "exports"
