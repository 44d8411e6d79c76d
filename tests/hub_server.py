"""A local stand-in of the hub's HTTP API, as far as pushing needs it: repositories, commits, large files."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_right"
OWNER = "ann"
LARGE = (".safetensors", ".parquet")

_REPO = re.compile(r"/api/(dataset|model)s/([^/]+/[^/]+)(/revision/main|/preupload/main|/commit/main)?")
_BATCH = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class Repository:
    """A repository: its files with their content, and the messages of its commits."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b""})
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


@dataclass
class Hub:
    """What the server has and was asked. `fails` holds parts of addresses with a status, each used once."""

    address: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    fails: list[tuple[str, int]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)


class Refusal(Exception):
    """A response other than 200."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_given: Any) -> None:
        pass

    def _serve(self) -> None:
        body = self._body()
        path = self.path.partition("?")[0]
        self.hub.asked.append((self.command, path))
        try:
            self._fail_on_purpose(path)
            if path.startswith("/large/"):
                self.hub.large[path.rpartition("/")[2]] = body
                self._send(200, {})
                return
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refusal(401, "", "Invalid credentials in Authorization header")
            self._send(200, self._answer(path, body))
        except Refusal as refusal:
            status, code, message = refusal.args
            self._send(status, {"error": message}, code)

    do_GET = do_POST = do_PUT = _serve

    def _body(self) -> bytes:
        """The body of the request, which may come in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _fail_on_purpose(self, path: str) -> None:
        for failure in self.hub.fails:
            if failure[0] in path:
                self.hub.fails.remove(failure)
                raise Refusal(failure[1], "", "on purpose")

    def _answer(self, path: str, body: bytes) -> Any:
        if path == "/api/whoami-v2":
            return {"type": "user", "name": OWNER}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if match := _BATCH.fullmatch(path):
            return self._batch(json.loads(body))
        match = _REPO.fullmatch(path)
        repository = self.hub.repositories.get((match[1], match[2])) if match else None
        if match is None or repository is None:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        if match[3] in (None, "/revision/main"):
            files = [{"rfilename": name} for name in repository.files]
            return {"id": match[2], "sha": repository.sha, "private": repository.private, "siblings": files}
        if match[3].startswith("/preupload"):
            return {"files": [_mode(file, repository) for file in json.loads(body)["files"]]}
        return self._commit(repository, match[2], body)

    def _create(self, given: dict[str, Any]) -> Any:
        key = (given.get("type") or "model", f"{given['organization'] or OWNER}/{given['name']}")
        if not key[1].startswith(f"{OWNER}/"):
            raise Refusal(403, "", "You don't have the rights to create a repository under this namespace")
        if key in self.hub.repositories:
            raise Refusal(409, "", "You already created this repository")
        self.hub.repositories[key] = Repository(private=given["visibility"] == "private")
        return {"url": f"{self.hub.address}/{'datasets/' if key[0] == 'dataset' else ''}{key[1]}"}

    def _batch(self, given: dict[str, Any]) -> Any:
        objects = []
        for one in given["objects"]:
            upload = {"upload": {"href": f"{self.hub.address}/large/{one['oid']}"}}
            objects.append(one if one["oid"] in self.hub.large else {**one, "actions": upload})
        return {"transfer": "basic", "objects": objects}

    def _commit(self, repository: Repository, repo_id: str, body: bytes) -> Any:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                repository.commits.append(value["summary"])
            elif entry["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.large[value["oid"]]
            else:
                repository.files[value["path"]] = base64.b64decode(value["content"])
        address = f"{self.hub.address}/{repo_id}/commit/{repository.sha}"
        return {"success": True, "commitOid": repository.sha, "commitUrl": address}

    def _send(self, status: int, value: Any, code: str = "") -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)


def _mode(file: dict[str, Any], repository: Repository) -> dict[str, Any]:
    """How a file is to be sent, and the hash of the one that is there."""
    content, large = repository.files.get(file["path"]), file["path"].endswith(LARGE)
    oid = None
    if content is not None:
        blob = b"blob %d\0" % len(content) + content
        oid = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(blob).hexdigest()
    mode = "lfs" if large else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serve a new hub on a free port of this machine."""
    hub = Hub()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
