"""Requests to a real server: what is sent, what is retried, what becomes a sentence."""

import gzip
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.endpoints import Asked, Client, Endpoint, EndpointError, Stopped, client
from tests.endpoint_server import EndpointServer, Reaction, serving

ASKED = Asked([{"role": "user", "content": "Why?"}], 64, 0.5, 0.9, 7)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointServer]:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    with serving() as found:
        yield found


def ask(server: EndpointServer, **values: Any) -> Any:
    made = Client(Endpoint(**server.entry(**values)))
    try:
        return made.complete(ASKED)
    finally:
        made.close()


def test_a_request_is_a_chat_completion(server: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT_KEY", "sk-1")
    server.say(Reaction("Because\x00.", reason="length"))
    reply = ask(server, api_key_env="GPT_KEY")
    assert (reply.text, reply.complete, reply.input_tokens, reply.output_tokens) == ("Because.", False, 10, 2)
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == ["Bearer sk-1"]
    assert server.requests == [
        {
            "model": "gpt-large",
            "messages": [{"role": "user", "content": "Why?"}],
            "max_tokens": 64,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
        }
    ]
    server.say(Reaction("", usage=None))
    reply = ask(server, max_tokens_field="max_completion_tokens")
    assert (reply.text, reply.complete, reply.input_tokens) == ("", True, None)
    assert server.requests[-1]["max_completion_tokens"] == 64
    assert server.keys[-1] is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_asked_again(server: EndpointServer, status: int) -> None:
    server.say(Reaction(status=status), Reaction(status=status), Reaction("At last."))
    assert ask(server).text == "At last."
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_told(server: EndpointServer) -> None:
    server.say(Reaction(status=429))
    with pytest.raises(
        EndpointError, match=r"^Endpoint GPT is busy \(status 429\)\. It was asked 6 times\.$"
    ):
        ask(server)
    assert len(server.requests) == client.ATTEMPTS


def test_retry_after_is_a_number_or_a_date(server: EndpointServer) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    for given in ("0.3", later):
        server.say(Reaction(status=429, headers={"Retry-After": given}), Reaction())
        started = time.monotonic()
        ask(server)
        if given == "0.3":
            assert 0.3 <= time.monotonic() - started < 5
    assert client._seconds(0, 9_999.0) == client.LONGEST_RETRY_AFTER
    assert client._seconds(30, None) <= client.LONGEST_PAUSE


@pytest.mark.parametrize(
    ("reaction", "sentence"),
    [
        (Reaction("bad sk-1 key", status=401), "refused the key .* check GPT_KEY"),
        (Reaction("no", status=404), "knows no such address or model"),
        (Reaction("sk-1 is too long. ", status=400), r"status 400\): … is too long\.$"),
        (Reaction(status=422, raw=b"<html>"), r"refused the request \(status 422\)\.$"),
        (Reaction(status=307, headers={"Location": "http://elsewhere.example/"}), "redirects elsewhere"),
        (Reaction(raw=b"<html>"), "no chat completion"),
        (Reaction(raw=b"[]"), "no chat completion"),
        (Reaction(raw=b'{"choices": []}'), "no chat completion"),
        (Reaction(raw=b"[" * 100_000), "no chat completion"),
        (Reaction(None), "declined to answer"),
        (Reaction("x", reason="content_filter"), "declined to answer"),
    ],
)
def test_what_does_not_pass_is_told_at_once(
    server: EndpointServer, monkeypatch: pytest.MonkeyPatch, reaction: Reaction, sentence: str
) -> None:
    monkeypatch.setenv("GPT_KEY", "sk-1")
    server.say(reaction)
    with pytest.raises(EndpointError, match=sentence) as caught:
        ask(server, api_key_env="GPT_KEY")
    assert "sk-1" not in str(caught.value)
    assert len(server.requests) == 1


def test_a_reply_is_bounded_after_unpacking(server: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_REPLY_BYTES", 1 << 20)
    packed = gzip.compress(b" " * (2 << 20))
    server.say(Reaction(raw=packed, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(EndpointError, match="sent more than 1 MiB"):
        ask(server)


def test_a_server_that_stalls_or_is_away_is_told(
    server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    server.say(Reaction(seconds=0.6))
    with pytest.raises(EndpointError, match=r"no reply within 0\.2 s; raise its timeout"):
        ask(server, timeout=0.2)
    assert len(server.requests) == 2
    with pytest.raises(EndpointError, match="cannot be reached"):
        ask(server, base_url="http://127.0.0.1:1/v1")


def test_a_pause_ends_when_that_is_wished(server: EndpointServer) -> None:
    server.say(Reaction(status=429, headers={"Retry-After": "100"}))
    made = Client(Endpoint(**server.entry()))
    with pytest.raises(Stopped):
        made.complete(ASKED, should_stop=lambda: bool(server.requests))
    made.close()
    assert len(server.requests) == 1
