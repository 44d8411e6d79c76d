"""The endpoints that the operator configured: names, addresses, models and prices, but no keys.

Only the operator names addresses. A form that took a URL would let any user reach the operator's network.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.errors import NotFound, Refused
from app.settings import get_settings

MAX_BYTES: Final = 1 << 20
MILLION: Final = 1_000_000


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class Endpoint(BaseModel):
    """A model behind an address that speaks OpenAI's chat completions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$", description="Its display name.")
    base_url: str = Field(description="Address before /chat/completions, such as https://host/v1.")
    model: str = Field(min_length=1, max_length=200, description="The model's name at this address.")
    api_key_env: str = Field(
        "",
        pattern=r"^[A-Za-z_]?[A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the key; empty sends none.",
    )
    max_concurrency: int = Field(4, ge=1, le=64, description="Requests of one worker at the same time.")
    timeout: float = Field(120.0, gt=0, le=3600, description="Longest time for one reply, in seconds.")
    input_price: Price = Field(None, description="Price of a million input tokens.")
    output_price: Price = Field(None, description="Price of a million output tokens.")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="How this address names the limit of a reply."
    )

    @field_validator("base_url")
    @classmethod
    def _is_plain_address(cls, value: str) -> str:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for a port out of range
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it must start with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("it must hold no user, password, query or fragment; name the key in api_key_env")
        return value.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_private(cls, value: str) -> str:
        if value.startswith("HYPO_"):
            raise ValueError("a variable that starts with HYPO_ reaches every process; choose another name")
        return value

    @property
    def host(self) -> str:
        """The host and port of the address."""
        return urlsplit(self.base_url).netloc

    def key(self) -> str:
        """The key of this process's environment; empty if none is needed.

        Raises:
            Refused: the variable is not set.
        """
        if not self.api_key_env:
            return ""
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise Refused(
                f"Endpoint {self.name} needs a key, and {self.api_key_env} is not set; set it for the "
                "endpoints worker and start that worker again."
            )
        if not key.isascii() or not key.isprintable():
            raise Refused(f"{self.api_key_env} holds no key; set it to the key alone.")
        return key

    def cost(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        """The price of a reply, in the currency of the prices; None where a price or a count is unknown."""
        if None in (self.input_price, self.output_price, input_tokens, output_tokens):
            return None
        paid = (self.input_price or 0) * (input_tokens or 0) + (self.output_price or 0) * (output_tokens or 0)
        return paid / MILLION


def configured() -> list[Endpoint]:
    """All endpoints, in the order of the file; none without HYPO_ENDPOINTS or with an empty file.

    The file is read once; a change needs a restart.

    Raises:
        Refused: when the file cannot be used; the sentence names the entry and the field.
    """
    path = get_settings().endpoints
    return list(_read(path)) if path else []


def get(name: str) -> Endpoint:
    """One endpoint.

    Raises:
        NotFound: when none has this name.
        Refused: when the file cannot be used.
    """
    found = {endpoint.name: endpoint for endpoint in configured()}
    if name not in found:
        if not found:
            raise NotFound(f"There is no endpoint {name}; HYPO_ENDPOINTS names none.")
        raise NotFound(f"There is no endpoint {name}; there are {', '.join(found)}.")
    return found[name]


def key_names() -> list[str]:
    """The environment variables that hold keys.

    Raises:
        Refused: when the file cannot be used.
    """
    return list(dict.fromkeys(found.api_key_env for found in configured() if found.api_key_env))


@lru_cache(maxsize=4)
def _read(path: str) -> tuple[Endpoint, ...]:
    entries = _entries(Path(path).expanduser())
    found: list[Endpoint] = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(Endpoint.model_validate(entry))
        except ValidationError as error:
            raise _bad(f"entry {number}, {_first(error)}.") from error
    names = [endpoint.name for endpoint in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _bad(f"two entries are named {twice}; give one another name.")
    return tuple(found)


def _entries(path: Path) -> list[Any]:
    """The entries of the file: a list, in YAML or JSON."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        given = yaml.safe_load(content[:MAX_BYTES].decode("utf-8"))
    except OSError as error:
        raise _bad(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"{path} is not YAML or JSON.") from error
    if given is None:
        return []
    if len(content) > MAX_BYTES or not isinstance(given, list):
        raise _bad(f"{path} must hold a list of entries, each with name, base_url and model.")
    return given


def _first(error: ValidationError) -> str:
    """The first problem of an entry: its field, and what is wrong. Values are not repeated."""
    problem = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, problem["loc"])) or "the entry"
    return f"{field}: {problem['msg'].removeprefix('Value error, ')}"


def _bad(what: str) -> Refused:
    return Refused(f"HYPO_ENDPOINTS: {what}")
