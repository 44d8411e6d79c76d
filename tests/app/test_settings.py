"""Settings: embedded defaults, each overridable by the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HYPO_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_need_nothing(tmp_path: Path) -> None:
    settings = Settings()
    root = tmp_path / ".hypo"
    assert settings.root == root
    assert settings.sqlalchemy_url == f"sqlite:///{root}/hypo.db"
    assert settings.artifacts == str(root / "artifacts")
    assert (settings.broker_url, settings.host, settings.port) == ("", "127.0.0.1", 7860)
    assert settings.logins() == []
    for folder in (settings.models_dir, settings.cache_dir, settings.work_dir, settings.logs_dir):
        assert folder.parent == root


def test_the_environment_replaces_each_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYPO_HOME", "elsewhere")
    monkeypatch.setenv("HYPO_DATABASE_URL", "postgresql+psycopg://me@host/db")
    monkeypatch.setenv("HYPO_PORT", "0")
    monkeypatch.setenv("HYPO_NO_SUCH_SETTING", "ignored")
    settings = Settings()
    assert settings.root == tmp_path / "elsewhere"
    assert settings.sqlalchemy_url == "postgresql+psycopg://me@host/db"
    assert settings.port == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [("s3://bucket/prefix/", "s3://bucket/prefix"), ("/srv/hypo", "/srv/hypo"), ("~/x", f"{Path.home()}/x")],
)
def test_artifacts_may_be_a_folder_or_a_bucket(given: str, expected: str) -> None:
    assert Settings(artifacts_url=given).artifacts == expected


def test_a_relative_artifacts_folder_becomes_absolute(tmp_path: Path) -> None:
    assert Settings(artifacts_url="here").artifacts == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "http"),
        ("LEASE_SECONDS", "0"),
        ("MAX_ATTEMPTS", "0"),
        ("MAX_UPLOAD_MB", "0"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"HYPO_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_logins_are_pairs_and_passwords_may_hold_colons() -> None:
    settings = Settings(auth="ada:one:two, bob :three")  # type: ignore[arg-type]
    assert settings.logins() == [("ada", "one:two"), ("bob", "three")]


@pytest.mark.parametrize("auth", ["ada", "ada:", ":secret", "ada:secret,bob"])
def test_a_login_without_a_password_is_refused(auth: str) -> None:
    with pytest.raises(ValueError, match="HYPO_AUTH must be user:password") as caught:
        Settings(auth=auth).logins()  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_passwords_are_not_shown() -> None:
    assert "secret" not in repr(Settings(auth="ada:secret"))  # type: ignore[arg-type]
