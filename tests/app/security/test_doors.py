"""Each protection separately, with requests as browsers and programs send them."""

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.security import files, login
from app.security.hosts import KnownHosts, split_host
from app.security.proxies import ForwardedHeaders
from app.settings import Settings, get_settings

Web = Callable[..., TestClient]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PAGE_LOAD = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "accept": "text/html"}


# --- hosts and origins -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("localhost", ("localhost", None)),
        ("LOCALHOST.:80", ("localhost", 80)),
        ("[::1]:7860", ("::1", 7860)),
        ("user@localhost", None),
        ("localhost/evil", None),
        ("localhost:port", None),
        ("::1", None),
        ("", None),
    ],
)
def test_a_host_header_is_taken_apart(header: str, found: tuple[str, int | None] | None) -> None:
    assert split_host(header) == found


def test_configured_names_are_served() -> None:
    app = FastAPI()
    app.add_api_route("/", lambda: "here")
    app.add_middleware(KnownHosts, hosts=["Hypo.Example.org", "*.lab.example.org", ""])
    client = TestClient(app)
    served = ["hypo.example.org", "hypo.example.org:8443", "gpu1.lab.example.org", "127.0.0.1:7860", "[::1]"]
    refused = ["example.org", "lab.example.org", "evil-hypo.example.org", "hypo.example.org.evil.example"]
    assert [client.get("/", headers={"host": host}).status_code for host in served] == [200] * len(served)
    assert [client.get("/", headers={"host": host}).status_code for host in refused] == [421] * len(refused)


def test_another_site_may_link_to_a_page_and_not_frame_it(web: Web) -> None:
    ann = web("ann")
    link = {**PAGE_LOAD, "sec-fetch-site": "cross-site"}
    assert ann.get("/runs?compare=1,2", headers=link).status_code == 200
    assert ann.get("/runs", headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403
    assert ann.get("/runs", headers={**link, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert ann.get("/gradio_api/queue/data?session_hash=a", headers=link).status_code == 403
    assert ann.post("/runs", headers=link).status_code == 403


def test_the_own_page_and_programs_are_served(web: Web) -> None:
    ann = web("ann")
    own = {"origin": "http://localhost:7860", "sec-fetch-site": "same-origin"}
    body = {"session_hash": "own", "fn_index": 0, "event_id": "x"}
    answer = ann.post("/gradio_api/cancel", json=body, headers=own)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert ann.post("/gradio_api/cancel", json=body).status_code == 200


def test_there_are_no_websockets(web: Web) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), web("ann").websocket_connect("ws://localhost:7860/"):
        pass


# --- proxies ---------------------------------------------------------------------------------


def _seen(trusted: list[str], client: str) -> dict[str, Any]:
    """An app's view of a request with forwarded headers from a client address."""
    app = FastAPI()

    async def show(request: Request) -> dict[str, Any]:
        forwarded = [name for name in request.headers if "forwarded" in name]
        return {
            "url": str(request.url),
            "client": request.client.host if request.client else "",
            "forwarded": forwarded,
        }

    app.add_api_route("/", show)
    app.add_middleware(ForwardedHeaders, trusted=trusted)
    headers = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "hypo.example.org",
        "Forwarded": "for=203.0.113.9",
    }
    answer = TestClient(app, base_url="http://inner:80", client=(client, 1)).get("/", headers=headers)
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("trusted", [["10.0.0.5"], ["192.0.2.1", "10.0.0.0/8"]])
def test_a_configured_proxy_is_believed(trusted: list[str]) -> None:
    found = _seen(trusted, "10.0.0.5")
    assert found == {"url": "https://hypo.example.org/", "client": "203.0.113.9", "forwarded": []}


@pytest.mark.parametrize("client", ["127.0.0.1", "11.0.0.5", "testclient"])
def test_nobody_else_is(client: str) -> None:
    found = _seen(["10.0.0.0/8"], client)
    assert found == {"url": "http://inner/", "client": client, "forwarded": []}


def test_a_proxy_that_is_no_address_is_named() -> None:
    with pytest.raises(ValueError, match=r"'proxy\.local' is neither an address"):
        Settings(trusted_proxies="10.0.0.1, proxy.local").proxy_networks()


# --- headers ---------------------------------------------------------------------------------


def test_every_response_says_what_browsers_may_do(web: Web) -> None:
    ann = web("ann")
    for path in (
        "/",
        "/launch",
        "/login",
        "/healthz",
        "/page.js",
        "/theme.js",
        "/gradio_api/token",
        "/theme.css",
    ):
        headers = ann.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers
    refused = ann.get("/", headers={"host": "evil.example"})
    assert refused.headers["x-frame-options"] == "DENY"


def test_the_scripts_of_a_page_have_the_nonce_of_its_policy(web: Web) -> None:
    ann = web("ann")
    nonces = set()
    for _ in range(2):
        page = ann.get("/", headers=PAGE_LOAD)
        found = re.search(r"'nonce-([\w-]+)'", page.headers["content-security-policy"])
        assert found is not None
        scripts = re.findall(r"<script[^>]*>", page.text)
        assert len(scripts) >= 3
        last = page.text[: page.text.index("</head>")].split("<script")[-3:]
        assert [
            name for tag in last for name in ("en.js", "theme.js", "language.js") if f"{name}?v=" in tag
        ] == [
            "en.js",
            "theme.js",
            "language.js",
        ]
        assert all(f'nonce="{found[1]}"' in script for script in scripts)
        assert page.headers["cache-control"] == "no-store"
        nonces.add(found[1])
    assert len(nonces) == 2
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].split("style-src")[0]


# --- logins ----------------------------------------------------------------------------------


@pytest.fixture
def patient() -> None:
    login._failures.clear()


def test_the_login_page_and_refusals_speak_the_readers_language(web: Web, patient: None) -> None:
    russian = {"Accept-Language": "ru-RU,ru;q=0.9", "Accept": "text/html"}
    client = web()
    page = client.get("/login", headers=russian).text
    assert '<html lang="ru">' in page
    assert "Пароль" in page
    assert '<html lang="en">' in client.get("/login").text
    assert "Сначала войдите." in client.get("/nothing", headers=russian).text


def test_a_login_leads_to_the_page_that_was_asked_for(web: Web, patient: None) -> None:
    client = web()
    asked = client.get("/run?id=3", headers=PAGE_LOAD)
    assert asked.status_code == 303
    form = client.get(asked.headers["location"])
    assert 'value="/run?id=3"' in form.text
    given = {"username": "ann", "password": "ann's secret", "next": "/run?id=3"}
    done = client.post("/login", data=given)
    assert (done.status_code, done.headers["location"]) == (303, "/run?id=3")
    cookie = done.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/run?id=3").status_code == 200
    assert client.get("/login?next=/runs").headers["location"] == "/runs"


@pytest.mark.parametrize(
    "next",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "//[evil",
        "/\\evil.example",
        "/\t/evil.example",
        "/\x00/evil.example",
        "javascript:x",
        "",
    ],
)
def test_a_login_leads_to_no_other_site(web: Web, patient: None, next: str) -> None:
    given = {"username": "ann", "password": "ann's secret", "next": next}
    assert web().post("/login", data=given).headers["location"] == "/"


def test_what_the_form_repeats_is_escaped(web: Web, patient: None) -> None:
    page = web().get("/login", params={"next": '/"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text


@pytest.mark.parametrize(
    ("name", "word"), [("ann", "wrong"), ("ann", ""), ("eve", "x"), ("", ""), ("bob", "ann's secret")]
)
def test_a_wrong_login_is_told_and_begins_nothing(web: Web, patient: None, name: str, word: str) -> None:
    client = web()
    answer = client.post("/login", data={"username": name, "password": word})
    assert answer.status_code == 401
    assert "do not match" in answer.text
    assert "set-cookie" not in answer.headers


def test_guessing_is_slowed_down(web: Web, patient: None) -> None:
    client = web()
    guesses = [
        client.post("/login", data={"username": "ann", "password": str(n)}).status_code for n in range(12)
    ]
    assert guesses == [401] * 10 + [429] * 2
    right = client.post("/login", data={"username": "ann", "password": "ann's secret"})
    assert right.status_code == 429


def test_a_login_of_ones_own_allows_no_more_guesses_at_another(web: Web, patient: None) -> None:
    client = web()
    guesses = []
    for n in range(12):
        own = client.post("/login", data={"username": "bob", "password": "bob's secret"}).status_code
        guesses.append((own, client.post("/login", data={"username": "ann", "password": str(n)}).status_code))
    assert guesses == [(303, 401)] * 10 + [(429, 429)] * 2


def test_logging_out_ends_the_session_on_the_server(web: Web, patient: None) -> None:
    ann = web("ann")
    cookie = ann.cookies["hypo_session"]
    assert ann.get("/logout").status_code == 404
    assert ann.post("/logout").headers["location"] == "/login"
    assert web().get("/config", headers={"cookie": f"hypo_session={cookie}"}).status_code == 401


def test_the_token_itself_is_not_stored(web: Web, home: Path, patient: None) -> None:
    cookie = web("ann").cookies["hypo_session"]
    stored = b"".join(path.read_bytes() for path in home.glob("hypo.db*"))
    assert cookie.encode() not in stored


def test_a_user_who_was_taken_off_the_list_is_out(
    web: Web, monkeypatch: pytest.MonkeyPatch, patient: None
) -> None:
    ann = web("ann")
    assert ann.get("/config").status_code == 200
    monkeypatch.setenv("HYPO_AUTH", "bob:bob's secret")
    get_settings.cache_clear()
    assert ann.get("/config").status_code == 401
    monkeypatch.undo()
    get_settings.cache_clear()


# --- files -----------------------------------------------------------------------------------


def upload(client: TestClient, name: str = "pairs.jsonl", content: bytes = b"{}") -> Path:
    answer = client.post("/gradio_api/upload", files={"files": (name, content)})
    assert answer.status_code == 200, answer.text
    return Path(answer.json()[0])


def test_an_upload_lies_in_the_home_folder_for_its_user_alone(web: Web, home: Path) -> None:
    ann, bob = web("ann"), web("bob")
    file = upload(ann, content=b"hers")
    assert file.is_relative_to(home / "files")
    assert file.read_bytes() == b"hers"
    for folder in (home / "files", *list(file.parents)[:3]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    got = ann.get(f"/gradio_api/file={file}")
    assert (got.status_code, got.content) == (200, b"hers")
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["content-type"] == "application/octet-stream"
    assert bob.get(f"/gradio_api/file={file}").status_code == 403


@pytest.mark.parametrize(
    "path",
    ["/etc/hostname", "/proc/self/environ", "http://127.0.0.1/", "../../etc/hostname", "%00", "", "~/.ssh"],
)
def test_no_other_file_is_handed_out(web: Web, path: str) -> None:
    assert web("ann").get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_a_link_out_of_the_folder_is_not_followed(web: Web) -> None:
    ann = web("ann")
    link = upload(ann).with_name("link")
    link.symlink_to("/etc/hostname")
    assert ann.get(f"/gradio_api/file={link}").status_code == 403


@pytest.mark.parametrize(
    "name", ["../../evil.jsonl", "..\\evil.jsonl", "/etc/evil.jsonl", "evil.jsonl" * 50, "..", "\u202e.jsonl"]
)
def test_a_name_from_outside_stays_inside(web: Web, home: Path, name: str) -> None:
    file = upload(web("ann"), name=name)
    assert file.resolve().is_relative_to(home / "files")
    assert len(file.name) <= 100


def test_a_request_has_a_few_files_at_most(web: Web) -> None:
    many = [("files", (f"{n}.jsonl", b"{}")) for n in range(9)]
    answer = web("ann").post("/gradio_api/upload", files=many)
    assert answer.status_code == 400
    assert "Too many files" in answer.text


def test_a_user_may_store_so_much(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "user_files_mb", 1)
    bob = web("bob")
    upload(bob, content=b"x" * 600_000)
    answer = bob.post("/gradio_api/upload", files={"files": ("more.jsonl", b"x" * 600_000)})
    assert answer.status_code == 413
    assert "HYPO_USER_FILES_MB" in answer.text


def test_a_size_that_was_not_announced_counts_too(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "user_files_mb", 1)
    ann = web("ann")
    before = files.used_bytes("ann")
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jsonl"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(3):
            yield b"x" * 600_000
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = ann.post("/gradio_api/upload", content=body(), headers=headers)
    assert "content-length" not in answer.request.headers
    assert answer.status_code == 413
    assert files.used_bytes("ann") == before


def test_an_upload_that_is_no_form_is_refused_and_leaves_nothing(web: Web) -> None:
    ann = web("ann")
    folder = upload(ann).parents[2]
    before = set(folder.iterdir())
    answer = ann.post("/gradio_api/upload")
    assert answer.status_code == 400
    assert "not a form" in answer.text
    assert set(folder.iterdir()) == before


def test_an_upload_has_a_size(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "max_upload_mb", 1)
    answer = web("ann").post("/gradio_api/upload", files={"files": ("big.jsonl", b"x" * 1_500_000)})
    assert answer.status_code == 413


def test_files_are_deleted_after_a_day_or_when_they_were_used(web: Web) -> None:
    ann = web("ann")
    old, used, fresh = upload(ann), upload(ann), upload(ann)
    long_ago = time.time() - files.KEPT_SECONDS - 60
    for path in (old, old.parent, old.parent.parent):
        os.utime(path, (long_ago, long_ago))
    stray = files.root() / "stray"
    stray.touch()
    os.utime(stray, (long_ago, long_ago))
    files.sweep()
    files.discard(used)
    assert (old.exists(), stray.exists(), used.exists(), fresh.exists()) == (False, False, False, True)
    assert not used.parent.exists()
    assert not used.parent.parent.exists()
    assert fresh.exists()


# --- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":' * 5000, b"\xff\xfe"])
def test_a_body_that_is_no_object_is_refused(web: Web, body: bytes) -> None:
    answer = web("ann").post("/gradio_api/queue/join", content=body)
    assert answer.status_code == 400


@pytest.mark.parametrize("number", [99_999, -1, 10**40, 1.5, True, "0", None, [0], {}])
@pytest.mark.parametrize("door", ["queue/join", "run/predict"])
def test_a_handler_that_does_not_exist_is_not_found(web: Web, door: str, number: object) -> None:
    body = {"fn_index": number, "data": [], "session_hash": "own"}
    assert web("ann").post(f"/gradio_api/{door}", json=body).status_code == 404


def test_half_a_surrogate_pair_is_no_text(web: Web) -> None:
    body = rb'{"fn_index": 0, "data": ["\ud800"], "session_hash": "own"}'
    assert web("ann").post("/gradio_api/run/predict", content=body).status_code == 400


def test_a_huge_body_is_refused(web: Web) -> None:
    answer = web("ann").post("/gradio_api/queue/join", content=b" " * (5 * 2**20))
    assert answer.status_code == 413


@pytest.mark.parametrize("session", ["", "a/b", "x" * 65, 5, None, ["a"]])
def test_a_session_has_a_plain_name(web: Web, session: object) -> None:
    body = {"fn_index": 0, "data": [], "session_hash": session}
    assert web("ann").post("/gradio_api/queue/join", json=body).status_code in (400, 403)
