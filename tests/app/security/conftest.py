"""The whole web app with two logins, called without a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi.testclient import TestClient

from app import main, migrate
from app.settings import get_settings

LOGINS = {"ann": "ann's secret", "bob": "bob's secret"}
ADDRESS = "http://localhost:7860"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., TestClient]]:
    """A factory for clients of one app with two logins: `web()` is anonymous, `web("ann")` is logged in."""
    home = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch, start_blocking_portal() as loop:
        patch.setenv("HYPO_HOME", str(home))
        patch.setenv("HYPO_AUTH", ",".join(f"{name}:{word}" for name, word in LOGINS.items()))
        get_settings.cache_clear()
        migrate.upgrade()
        app = main.build()
        clients: list[TestClient] = []

        def client(user: str | None = None) -> TestClient:
            made = TestClient(app, base_url=ADDRESS, follow_redirects=False)
            made.portal = loop  # else each request starts a thread and an event loop of its own
            clients.append(made)
            if user:
                made.post("/login", data={"username": user, "password": LOGINS[user]})
            return made

        yield client
        for made in clients:
            made.close()
        get_settings.cache_clear()


@pytest.fixture
def home(web: object) -> Path:
    """The app's home folder."""
    return get_settings().root
