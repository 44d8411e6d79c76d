"""Chat completions over HTTP: a request, retried while the address is busy or away, with a bounded reply."""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from app.endpoints.config import Endpoint
from app.errors import AppError
from app.text import clean_text

ATTEMPTS: Final = 6
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
LONGEST_RETRY_AFTER: Final = 120.0
POLL_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 15.0
MAX_REPLY_BYTES: Final = 8 << 20
QUOTED_CHARS: Final = 200
BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""


class EndpointError(AppError):
    """An endpoint gave no usable reply. The message is one sentence that names the endpoint."""


class Stopped(Exception):
    """The caller asked to stop between two attempts."""


class _Away(EndpointError):
    """The endpoint is busy or away, and may answer later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat for which a reply is wanted."""

    messages: Sequence[Mapping[str, str]]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply. `complete` is false if it ended at the length limit; counts are None where not reported."""

    text: str
    complete: bool
    input_tokens: int | None
    output_tokens: int | None


class Client:
    """Requests to one endpoint. Threads may share it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._http = httpx.Client(
            timeout=httpx.Timeout(endpoint.timeout, connect=min(CONNECT_SECONDS, endpoint.timeout)),
            limits=httpx.Limits(max_connections=endpoint.max_concurrency),
            follow_redirects=False,  # the address is the operator's choice, not the server's
        )

    def close(self) -> None:
        self._http.close()

    def complete(self, asked: Asked, *, should_stop: Callable[[], bool] = lambda: False) -> Reply:
        """Ask until there is a reply, with pauses that double and vary, or as long as the server asks for.

        Args:
            should_stop: polled between attempts and during pauses.

        Raises:
            EndpointError: no usable reply, at once or after `ATTEMPTS`.
            Refused: the key is missing in the environment.
            Stopped: `should_stop` returned True.
        """
        for attempt in range(ATTEMPTS):
            if should_stop():
                raise Stopped
            try:
                return self._ask(asked)
            except _Away as error:
                if attempt + 1 == ATTEMPTS:
                    raise EndpointError(f"{error} It was asked {ATTEMPTS} times.") from error
                _pause(_seconds(attempt, error.retry_after), should_stop)
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, asked: Asked) -> Reply:
        endpoint, key = self._endpoint, self._endpoint.key()
        headers = {"Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        url, body = f"{endpoint.base_url}/chat/completions", self._body(asked)
        try:
            with self._http.stream("POST", url, json=body, headers=headers) as response:
                content = self._bounded(response)
        except httpx.TimeoutException as error:
            raise self._late() from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Away(f"Endpoint {endpoint.name} at {endpoint.host} cannot be reached.") from error
        if response.status_code != 200:
            raise self._refusal(response, content, key)
        return self._read(content)

    def _body(self, asked: Asked) -> dict[str, Any]:
        return {
            "model": self._endpoint.model,
            "messages": [dict(message) for message in asked.messages],
            self._endpoint.max_tokens_field: asked.max_tokens,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "seed": asked.seed,
        }

    def _bounded(self, response: httpx.Response) -> bytes:
        """The unpacked body, bounded in size and in time: a server may send a byte a minute."""
        end, parts, size = time.monotonic() + self._endpoint.timeout, [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise EndpointError(
                    f"Endpoint {self._endpoint.name} sent more than {MAX_REPLY_BYTES >> 20} MiB; ask for "
                    "shorter answers."
                )
            if time.monotonic() > end:
                raise self._late()
        return b"".join(parts)

    def _late(self) -> _Away:
        endpoint = self._endpoint
        return _Away(
            f"Endpoint {endpoint.name} gave no reply within {endpoint.timeout:g} s; raise its timeout in the "
            "file of HYPO_ENDPOINTS if that is too short."
        )

    def _refusal(self, response: httpx.Response, content: bytes, key: str) -> EndpointError:
        name, status = self._endpoint.name, response.status_code
        if status in BUSY:
            busy = f"Endpoint {name} is busy (status {status})."
            broken = f"Endpoint {name} has a problem (status {status})."
            return _Away(busy if status in (429, 503, 529) else broken, _retry_after(response))
        if status in (401, 403):
            where = self._endpoint.api_key_env or "api_key_env, which names no variable"
            return EndpointError(f"Endpoint {name} refused the key (status {status}); check {where}.")
        if response.is_redirect:
            return EndpointError(
                f"Endpoint {name} redirects elsewhere (status {status}), which is not followed; give its "
                "final address as base_url."
            )
        if status == 404:
            return EndpointError(
                f"Endpoint {name} knows no such address or model (status 404); check base_url and model."
            )
        said = _said(content).replace(key, "…") if key else _said(content)
        return EndpointError(f"Endpoint {name} refused the request (status {status}){said}.")

    def _read(self, content: bytes) -> Reply:
        try:
            given = json.loads(content)
            choice = given["choices"][0]
            message = choice["message"]
            text, reason = message.get("content"), choice.get("finish_reason")
            usage = given.get("usage") or {}
            counts = [_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise EndpointError(
                f"Endpoint {self._endpoint.name} replied with something that is no chat completion; check "
                "base_url."
            ) from error
        if reason == "content_filter" or not isinstance(text, str):
            raise EndpointError(f"Endpoint {self._endpoint.name} declined to answer this prompt.")
        return Reply(clean_text(text), reason != "length", *counts)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def _seconds(attempt: int, retry_after: float | None) -> float:
    """The pause after a failed attempt."""
    pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0)
    return max(pause, min(LONGEST_RETRY_AFTER, retry_after or 0.0))


def _pause(seconds: float, should_stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if should_stop():
            raise Stopped
        time.sleep(min(POLL_SECONDS, left))


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of the Retry-After header, which holds a number or a date."""
    given = response.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _said(content: bytes) -> str:
    """The server's own words, shortened; empty if it said nothing that can be read."""
    try:
        error = json.loads(content)["error"]
        said = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    line = " ".join(clean_text(said).split()).rstrip(".")
    shown = line if len(line) <= QUOTED_CHARS else f"{line[: QUOTED_CHARS - 1]}…"
    return f": {shown}" if shown else ""
