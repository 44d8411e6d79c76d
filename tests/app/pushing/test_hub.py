"""A folder becomes a commit on a local hub."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from app.errors import InvalidInput, Refused
from app.pushing.hub import Kind, Pushed, Target, checked_repo_id, push_folder
from tests.app.pushing.conftest import CLIENT_WARNS
from tests.hub_server import TOKEN, Hub

pytestmark = CLIENT_WARNS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / "README.md").write_text("---\ntags: [x]\n---\n\n# Made\n")
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def push(folder: Path, repo_id: str = "ann/made", *, public: bool = False, update: bool = False) -> Pushed:
    return push_folder(folder, Target(repo_id, "model", public=public, update=update), "first")


def test_a_new_repository_is_private_and_gets_one_commit(hub: Hub, folder: Path) -> None:
    pushed = push(folder, "made")
    repository = hub.repositories["model", "ann/made"]
    assert repository.private
    assert repository.commits == ["first"]
    assert repository.files["model.safetensors"] == b"weights"
    assert (pushed.repo_id, pushed.address) == ("ann/made", f"{hub.address}/ann/made")
    assert pushed.commit == repository.sha
    assert pushed.commit_address.endswith(repository.sha)
    assert pushed.files == ("README.md", "model.safetensors")
    assert not pushed.public


def test_a_repository_with_files_needs_update(hub: Hub, folder: Path) -> None:
    push(folder)
    with pytest.raises(Refused, match="ann/made exists on the hub and has files; --update"):
        push(folder)
    (folder / "model.safetensors").write_bytes(b"more weights")
    push(folder, update=True)
    push(folder, update=True)  # nothing is new, so there is no third commit
    repository = hub.repositories["model", "ann/made"]
    assert repository.files["model.safetensors"] == b"more weights"
    assert len(repository.commits) == 2


def test_a_public_repository_needs_public(hub: Hub, folder: Path) -> None:
    assert push(folder, public=True).public
    assert not hub.repositories["model", "ann/made"].private
    with pytest.raises(Refused, match="ann/made is public"):
        push(folder, update=True)
    assert push(folder, public=True, update=True).public


@pytest.mark.parametrize("step", ["/made", "/create", "/validate", "/preupload", "/batch", "/commit"])
def test_a_step_that_failed_on_the_hubs_side_is_repeated(hub: Hub, folder: Path, step: str) -> None:
    hub.fails = [(step, 503)] if step in ("/preupload", "/batch") else [(step, 503), (step, 500)]
    push(folder)
    assert hub.fails == []
    assert hub.repositories["model", "ann/made"].commits == ["first"]


def test_an_interrupted_push_can_be_repeated(hub: Hub, folder: Path) -> None:
    hub.fails = [("/commit/", 503)] * 3
    with pytest.raises(Refused, match="answered 503 again and again; repeat the command"):
        push(folder)
    assert hub.repositories["model", "ann/made"].commits == []
    sent = [path for method, path in hub.asked if method == "PUT"]
    assert len(sent) == 1
    push(folder)
    assert [path for method, path in hub.asked if method == "PUT"] == sent
    assert hub.repositories["model", "ann/made"].commits == ["first"]


def test_what_the_hub_refuses_is_one_sentence_without_the_token(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="may not write to bob/made") as refused:
        push(folder, "bob/made")
    assert TOKEN not in str(refused.value)
    hub.fails = [("/commit/", 403)]
    with pytest.raises(Refused, match="may not write to ann/made"):
        push(folder)
    hub.fails = [("/commit/", 400)]
    with pytest.raises(Refused, match="The push to ann/made failed: on purpose"):
        push(folder)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    for repo_id in ("made", "ann/made"):
        with pytest.raises(Refused, match="does not accept the token") as refused:
            push(folder, repo_id)
        assert "hf_wrong" not in str(refused.value)


def test_nothing_is_sent_without_a_token_or_offline(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Refused, match="HF_HUB_OFFLINE is set"):
        push(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(Refused, match="There is no token for the hub"):
        push(folder)
    assert hub.asked == []


def test_a_hub_that_is_away_is_said(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Refused, match="The hub cannot be reached; repeat the command later"):
        push(folder)


@pytest.mark.parametrize("given", ["", "a/b/c", "../x", "a b", "-x", "a--b", "ann/x.", "ü"])
def test_an_id_that_is_none_is_refused(given: str) -> None:
    kinds: tuple[Kind, ...] = ("dataset", "model")
    for kind in kinds:
        with pytest.raises(InvalidInput, match="OWNER/NAME"):
            checked_repo_id(given, kind)
