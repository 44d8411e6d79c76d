"""A real HTTP server that speaks OpenAI's chat completions, and misbehaves on demand."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Reaction:
    """What the server does: a completion with `text`, or a status, a raw body, a delay."""

    text: str | None = "Yes."
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    seconds: float = 0.0
    reason: str = "stop"
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 2}
    )

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.text}}).encode()
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self.reason}
        return json.dumps({"choices": [choice], "usage": self.usage}).encode()


React = Callable[[dict[str, Any]], Reaction]
"""Maps a request's body to the reaction."""


class EndpointServer:
    """The server, with the requests that it received."""

    def __init__(self) -> None:
        self.react: React = lambda _: Reaction()
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def say(self, *reactions: Reaction) -> None:
        """React to the next requests in this order; the last reaction stays."""
        left = list(reactions)
        self.react = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def entry(self, **values: Any) -> dict[str, Any]:
        """An entry of the configuration."""
        return {"name": "GPT", "base_url": self.url, "model": "gpt-large", **values}

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def received(self, body: dict[str, Any], path: str, key: str | None) -> Reaction:
        with self._lock:
            self.requests.append(body)
            self.paths.append(path)
            self.keys.append(key)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            reaction = self.react(body)
        time.sleep(reaction.seconds)
        with self._lock:
            self._now -= 1
        return reaction


def _handler_of(server: EndpointServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reaction = server.received(body, self.path, self.headers.get("Authorization"))
            content = reaction.body()
            self.send_response(reaction.status)
            for name, value in {"Content-Length": str(len(content)), **reaction.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    return Handler


@contextmanager
def serving() -> Iterator[EndpointServer]:
    """A server for the block."""
    server = EndpointServer()
    try:
        yield server
    finally:
        server.close()


def write_config(path: Path, *entries: dict[str, Any]) -> str:
    """Write a file for HYPO_ENDPOINTS and return its path."""
    path.write_text(yaml.safe_dump(list(entries)))
    return str(path)
