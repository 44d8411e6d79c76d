"""A folder becomes one commit of a repository on the hub.

The client reads HF_ENDPOINT, HF_TOKEN and its own login file; the token is neither stored nor printed.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from app.errors import AppError, InvalidInput, Refused

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
Kind = Literal["dataset", "model"]

WAITS: Final = (1.0, 4.0)
"""Seconds before a step that failed on the hub's side is tried again."""
_PASSING: Final = (429, 500, 502, 503, 504)
_PART: Final = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?"
_ID: Final = re.compile(rf"(?:{_PART}/)?{_PART}", re.ASCII)
_FIRST_FILES: Final = frozenset({".gitattributes"})
"""Files of a repository to which nothing was pushed yet."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to push.

    Attributes:
        public: everybody may read the repository.
        update: the repository may exist and have files.
    """

    repo_id: str
    kind: Kind
    public: bool = False
    update: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """A commit on the hub."""

    repo_id: str
    address: str
    commit: str
    commit_address: str
    public: bool
    files: tuple[str, ...]


def checked_repo_id(given: str, kind: Kind) -> str:
    """Validate a repository's id, NAME or OWNER/NAME.

    Raises:
        InvalidInput: it is neither.
    """
    repo_id = given.strip().strip("/")
    if not _ID.fullmatch(repo_id) or "--" in repo_id or ".." in repo_id:
        raise InvalidInput(
            f"{given[:100]!r} is not the id of a {kind} repository; write NAME or OWNER/NAME.", field="repo"
        )
    return repo_id


def push_folder(folder: Path, target: Target, message: str) -> Pushed:
    """Push all files of a folder as one commit. A repository that does not exist is created.

    A call that failed can be repeated: files that arrived are not sent again, and a repository without files
    counts as new.

    Raises:
        InvalidInput: for an invalid id.
        Refused: without a token, offline, without the right to write, for a repository that has files or is
            public although neither was asked for, and when the hub does not answer.
    """
    hub = _connect()
    repo_id = checked_repo_id(target.repo_id, target.kind)
    try:
        if "/" not in repo_id:
            repo_id = f"{_tried(lambda: hub.whoami())['name']}/{repo_id}"
        public = _tried(lambda: _prepare(hub, repo_id, target))
        return _tried(lambda: _commit(hub, folder, repo_id, target.kind, message, public=public))
    except AppError:
        raise
    except Exception as error:  # the client does not wrap the errors of its HTTP library
        raise Refused(_sentence(error, repo_id)) from error


def _connect() -> "HfApi":
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    if constants.is_offline_mode():
        raise Refused("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it first.")
    token = get_token()
    if token is None:
        raise Refused("There is no token for the hub: set HF_TOKEN, or log in with `hf auth login`.")
    return HfApi(token=token, library_name="hypo-studio")


def _prepare(hub: "HfApi", repo_id: str, target: Target) -> bool:
    """Find or create the repository; returns whether it is public.

    Raises:
        Refused: it has files or is public, and neither was asked for.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        read = hub.dataset_info if target.kind == "dataset" else hub.model_info
        found = read(repo_id, timeout=30)
    except RepositoryNotFoundError:
        hub.create_repo(repo_id, repo_type=target.kind, private=not target.public)
        return target.public
    files = {sibling.rfilename for sibling in found.siblings or []}
    if files - _FIRST_FILES and not target.update:
        raise Refused(f"{repo_id} exists on the hub and has files; --update adds a commit to it.")
    if not found.private and not target.public:
        raise Refused(
            f"{repo_id} is public, so everybody could read what is pushed; give --public if that is meant."
        )
    return not found.private


def _commit(hub: "HfApi", folder: Path, repo_id: str, kind: Kind, message: str, *, public: bool) -> Pushed:
    from huggingface_hub import CommitOperationAdd

    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    made = hub.create_commit(
        repo_id,
        [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names],
        commit_message=message,
        repo_type=kind,
    )
    address = f"{hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
    return Pushed(repo_id, address, made.oid, str(made.commit_url), public, tuple(names))


def _tried(step: Callable[[], T]) -> T:
    """Run a step, and again after a pause if the hub failed."""
    for seconds in WAITS:
        try:
            return step()
        except Exception as error:
            if isinstance(error, AppError) or not _passes(error):
                raise
            time.sleep(seconds)
    return step()


def _status(error: BaseException | None) -> int | None:
    """The HTTP status of an error or of one that caused it."""
    while error is not None:
        code = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(code, int):
            return code
        error = error.__cause__ or error.__context__
    return None


def _passes(error: BaseException | None) -> bool:
    """Whether the hub or the way to it failed, so that the step may be tried again."""
    status = _status(error)
    if status is not None:
        return status in _PASSING
    while error is not None:
        transport = type(error).__module__.startswith("httpx")  # the client's HTTP library
        if transport or isinstance(error, ConnectionError | TimeoutError | json.JSONDecodeError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _sentence(error: Exception, repo_id: str) -> str:
    status = _status(error)
    if status == 401:
        return "The hub does not accept the token; set HF_TOKEN to a valid one, or log in again."
    if status == 403:
        return f"The token may not write to {repo_id}; give it the right to write, or choose another owner."
    if status == 404:
        return f"The hub has no {repo_id}, or the token may not see it; check the owner's name."
    if _passes(error):
        said = "cannot be reached" if status is None else f"answered {status} again and again"
        return f"The hub {said}; repeat the command later, what has arrived is not sent again."
    return f"The push to {repo_id} failed: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    said = getattr(error, "server_message", None) or str(error)
    return next((line.strip() for line in str(said).splitlines() if line.strip()), "no reason given")[:300]
