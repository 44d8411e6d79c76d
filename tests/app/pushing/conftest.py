"""A local hub, and the token that it accepts."""

from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from app.pushing import hub as pushing
from tests.hub_server import TOKEN, Hub, serve_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A new hub, whose large files come by git LFS: the stand-in has no Xet storage."""
    with serve_hub() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(pushing, "WAITS", (0.0, 0.0))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served


CLIENT_WARNS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""Version 2.4 of the hub's client sends large files by an argument that its HTTP library has deprecated."""
