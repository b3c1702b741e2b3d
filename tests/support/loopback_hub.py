"""A small Hub on 127.0.0.1, kept in memory, for the real huggingface_hub client to talk to.

It has the routes that pushing, loading, streaming and Spaces need, users with tokens, private
repositories, branches and pull requests, and can cut connections in the middle of a file.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest
import yaml
from huggingface_hub import HfFileSystem, constants

Files = dict[str, bytes]

ALICE, BOB = "token-of-alice", "token-of-bob"

LARGE = (".safetensors", ".parquet", ".png", ".jpg", ".bin")
DATE = "2024-01-01T00:00:00.000Z"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


class HubError(Exception):
    """An answer of the Hub that is not a success; `code` selects the client's exception."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class Repository:
    """The files of every commit, and which commit each branch and pull request is at."""

    owner: str
    private: bool
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str:
        """The commit of a branch, pull request or commit id."""
        commit = self.refs.get(revision, revision)
        if commit not in self.commits:
            raise HubError(404, f"no revision {revision}", "RevisionNotFound")
        return commit

    def files(self, revision: str = "main") -> Files:
        return self.commits[self.resolve(revision)]

    def commit(self, files: Files, revision: str) -> str:
        content = repr((len(self.commits), sorted(files.items()))).encode()
        commit = hashlib.sha1(content).hexdigest()
        self.commits[commit] = files
        self.refs[revision] = commit
        return commit


class LoopbackHub:
    """The server and what it holds.

    users: name by token. cut_after: bytes of a large file after which the connection is cut, in
    either direction. silent: commits are made, but the connection is cut before the answer.
    requests: "METHOD path" of all that was asked for.
    """

    def __init__(self) -> None:
        self.users = {ALICE: "alice", BOB: "bob"}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large_files: Files = {}
        self.cut_after: int | None = None
        self.silent = False
        self.requests: list[str] = []
        self.connections: set[socket.socket] = set()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, on open connections too; a second call changes nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self.connections):
            connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def files(self, repo_id: str, revision: str = "main", kind: str = "model") -> Files:
        """What a repository holds."""
        return self.repositories[kind, repo_id].files(revision)

    def put(self, repo_id: str, files: Files, kind: str = "model", private: bool = False) -> None:
        """Change or add files on main, as if their owner had pushed them."""
        key = (kind, repo_id)
        if key not in self.repositories:
            self.repositories[key] = Repository(repo_id.split("/")[0], private)
            self.repositories[key].commit({}, "main")
        repository = self.repositories[key]
        repository.commit(repository.files() | files, "main")

    @property
    def commits(self) -> list[str]:
        """The requests that made a commit."""
        return [line for line in self.requests if "/commit/" in line]

    def put_folder(self, repo_id: str, folder: Path, kind: str = "model") -> None:
        """`put` for all files of a folder."""
        paths = (path for path in folder.rglob("*") if path.is_file())
        self.put(repo_id, {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}, kind)

    def remove(self, repo_id: str, name: str) -> None:
        """Remove a file from main."""
        repository = self.repositories["model", repo_id]
        left = {path: data for path, data in repository.files().items() if path != name}
        repository.commit(left, "main")


@contextmanager
def connected_hub(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[LoopbackHub]:
    """A fresh Hub that alone this process's client talks to, as alice and with its cache in `home`.

    The client reads its environment when it is imported, but looks these constants up at each
    call; only its default `HfApi` has copied the address.
    """
    hub = LoopbackHub()
    url = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setenv("HF_TOKEN", ALICE)
    HfFileSystem.clear_instance_cache()
    yield hub
    hub.stop()


def connect_datasets(monkeypatch: pytest.MonkeyPatch, hub: LoopbackHub) -> None:
    """Let `datasets`, which has copied the client's constants, talk to the same Hub alone."""
    from datasets import config

    monkeypatch.setattr(config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(config, "HF_UPDATE_DOWNLOAD_COUNTS", False)  # asks another server
    monkeypatch.setattr(config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    url = hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}"
    monkeypatch.setattr(config, "HUB_DATASETS_URL", url)


def blob_id(data: bytes) -> str:
    """git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.hub.connections.add(self.connection)

    def finish(self) -> None:
        self.hub.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    # Requests --------------------------------------------------------------------------------

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.hub.requests.append(f"{self.command} {url.path}")
        self.query = parse_qs(url.query)
        try:
            for methods, pattern, route in ROUTES:
                match = re.fullmatch(pattern, url.path)
                if match and self.command in methods:
                    groups = {k: v and unquote(v) for k, v in match.groupdict().items()}
                    return route(self, **groups)
            raise HubError(404, f"no route {self.command} {url.path}")
        except HubError as error:
            self._body()  # what is left there would be taken for the next request
            headers = {"X-Error-Message": str(error)}
            if error.code is not None:
                headers["X-Error-Code"] = error.code
            self._send(error.status, json.dumps({"error": str(error)}).encode(), headers)

    def _body(self) -> bytes:
        """What was sent; once, as an error is answered only after it has been read."""
        length = int(self.headers.get("Content-Length", 0))
        del self.headers["Content-Length"]
        return self.rfile.read(length)

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # Who may do what -------------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        return self.hub.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _repository(self, kind: str, repo_id: str) -> Repository:
        found = self.hub.repositories.get((kind, repo_id))
        if found is None or (found.private and self.user != found.owner):
            status = 401 if self.user is None else 404
            raise HubError(status, "Repository not found", "RepoNotFound")
        return found

    def _own(self, kind: str, repo_id: str) -> Repository:
        """A repository to write to."""
        self._require_owner(repo_id)
        return self._repository(kind, repo_id)

    def _require_owner(self, repo_id: str) -> None:
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        if self.user != repo_id.split("/")[0]:
            raise HubError(403, f"{self.user} has no rights to write to {repo_id}")

    # Routes ----------------------------------------------------------------------------------

    def create(self) -> None:
        wanted = json.loads(self._body())
        kind = wanted.get("type") or "model"
        repo_id = f"{wanted.get('organization') or self.user}/{wanted['name']}"
        self._require_owner(repo_id)
        prefix = "" if kind == "model" else f"{kind}s/"
        content = json.dumps({"url": f"{self.hub.url}/{prefix}{repo_id}"}).encode()
        if (kind, repo_id) in self.hub.repositories:
            return self._send(409, content, {})
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.hub.put(repo_id, {".gitattributes": b"*.safetensors filter=lfs\n"}, kind, private)
        return self._send(200, content, {})

    def validate_yaml(self) -> None:
        header = re.match(r"---\n(.*?)\n---\n", json.loads(self._body())["content"], re.DOTALL)
        metadata = yaml.safe_load(header[1])
        errors = []
        if metadata.get("license") == "other" and "license_name" not in metadata:
            errors.append({"message": '"license_name" is required'})
        content = json.dumps({"errors": errors, "warnings": []}).encode()
        self._send(400 if errors else 200, content, {})

    def info(self, kind: str, repo_id: str, revision: str | None = None) -> None:
        repository = self._repository(KINDS[kind], repo_id)
        sha = repository.resolve(revision or "main")
        siblings = [{"rfilename": name} for name in repository.commits[sha]]
        content = {"id": repo_id, "sha": sha, "private": repository.private, "siblings": siblings}
        self._json(content | {"tags": [], "createdAt": DATE, "lastModified": DATE})

    def tree(self, kind: str, repo_id: str, revision: str, path: str | None = None) -> None:
        files = self._repository(KINDS[kind], repo_id).files(revision)
        entries = entries_of(files)
        below = f"{path}/" if path else ""
        if path and not any(name.startswith(below) for name in entries):
            raise HubError(404, f"no folder {path}", "EntryNotFound")
        deep = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        found = [e for name, e in entries.items() if name.startswith(below)]
        self._json([e for e in found if deep or "/" not in e["path"][len(below) :]])

    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        entries = entries_of(self._repository(KINDS[kind], repo_id).files(revision))
        wanted = parse_qs(self._body().decode())["paths"]
        self._json([entries[path] for path in wanted if path in entries])

    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        there = self._own(KINDS[kind], repo_id).files(revision)
        answers = []
        for file in json.loads(self._body())["files"]:
            path, large = file["path"], file["path"].endswith(LARGE)
            answer = {"path": path, "uploadMode": "lfs" if large else "regular"}
            if path in there:
                answer["oid"] = (sha256 if large else blob_id)(there[path])
            answers.append(answer | {"shouldIgnore": False})
        self._json({"files": answers})

    def large_batch(self, kind: str | None, repo_id: str) -> None:
        self._own(KINDS[kind or "models"], repo_id)
        answers = []
        for wanted in json.loads(self._body())["objects"]:
            if wanted["oid"] not in self.hub.large_files:
                target = {"href": f"{self.hub.url}/large/{wanted['oid']}"}
                wanted["actions"] = {"upload": target}
            answers.append(wanted)
        self._json({"transfer": "basic", "objects": answers})

    def put_large(self, oid: str) -> None:
        if self.hub.cut_after is not None:
            self.rfile.read(self.hub.cut_after)
            return self._cut()
        content = self._body()
        if sha256(content) != oid:
            raise HubError(400, "the content does not have the name it was announced with")
        self.hub.large_files[oid] = content
        return self._send(200, b"", {})

    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        repository = self._own(KINDS[kind], repo_id)
        files = dict(repository.files(revision))
        for line in self._body().splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.large_files[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        content = {}
        if "create_pr" in self.query:
            number = 1 + sum(ref.startswith("refs/pr/") for ref in repository.refs)
            revision = f"refs/pr/{number}"
            content["pullRequestUrl"] = f"{self.hub.url}/{repo_id}/discussions/{number}"
        sha = repository.commit(files, revision)
        if self.hub.silent:
            return self._cut()
        prefix = "" if kind == "models" else f"{kind}/"
        content["commitUrl"] = f"{self.hub.url}/{prefix}{repo_id}/commit/{sha}"
        return self._json(content | {"commitOid": sha, "success": True})

    def branch(self, kind: str, repo_id: str, name: str) -> None:
        repository = self._own(KINDS[kind], repo_id)
        self._body()
        if name in repository.refs:
            raise HubError(409, f"the branch {name} exists")
        repository.refs[name] = repository.resolve("main")
        self._json({})

    def variables(self, repo_id: str) -> None:
        repository = self._own("space", repo_id)
        if self.command == "POST":
            wanted = json.loads(self._body())
            repository.variables[wanted["key"]] = wanted["value"]
        elif self.command == "DELETE":
            del repository.variables[json.loads(self._body())["key"]]
        self._json({key: {"value": value} for key, value in repository.variables.items()})

    def download(self, kind: str | None, repo_id: str, revision: str, path: str) -> None:
        repository = self._repository(KINDS[kind or "models"], repo_id)
        commit = repository.resolve(revision)
        content = repository.commits[commit].get(path)
        if content is None:
            raise HubError(404, f"no file {path}", "EntryNotFound")
        large = path.endswith(LARGE)
        tag = f'"{sha256(content) if large else blob_id(content)}"'
        headers = {"X-Repo-Commit": commit, "ETag": tag, "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-ETag": tag, "X-Linked-Size": str(len(content))}
        status, start, end = 200, 0, len(content)
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            status, start = 206, int(match[1])
            end = min(end, int(match[2]) + 1) if match[2] else end
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        content = content[start:end]
        cut = self.hub.cut_after
        if cut is None or not large or self.command == "HEAD":
            return self._send(status, content, headers)
        self._send(status, content[:cut], headers | {"Content-Length": str(len(content))})
        return self._cut()

    def _cut(self) -> None:
        self.close_connection = True


def entries_of(files: Files) -> dict[str, dict[str, Any]]:
    """What the Hub lists for files and the folders they are in, by path."""
    last = {"id": "0" * 40, "title": "a commit", "date": DATE}
    entries: dict[str, dict[str, Any]] = {}
    for name, data in sorted(files.items()):
        for folder in reversed(Path(name).parents[:-1]):
            path = folder.as_posix()
            entry = {"type": "directory", "path": path, "oid": blob_id(path.encode())}
            entries[path] = entry | {"lastCommit": last}
        entry = {"type": "file", "path": name, "size": len(data), "oid": blob_id(data)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 100}
        entries[name] = entry | {"lastCommit": last}
    return entries


API = "/api/(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
PAGE = "/(?:(?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)"
REVISION = "(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate_yaml),
    ("GET POST DELETE", "/api/spaces/(?P<repo_id>[^/]+/[^/]+)/variables", _Handler.variables),
    ("GET", f"{API}(?:/revision/{REVISION})?", _Handler.info),
    ("GET", f"{API}/tree/{REVISION}(?:/(?P<path>.+))?", _Handler.tree),
    ("POST", f"{API}/paths-info/{REVISION}", _Handler.paths_info),
    ("POST", f"{API}/preupload/{REVISION}", _Handler.preupload),
    ("POST", f"{API}/commit/{REVISION}", _Handler.commit),
    ("POST", f"{API}/branch/(?P<name>[^/]+)", _Handler.branch),
    ("POST", f"{PAGE}\\.git/info/lfs/objects/batch", _Handler.large_batch),
    ("PUT", "/large/(?P<oid>[0-9a-f]+)", _Handler.put_large),
    ("GET HEAD", f"{PAGE}/resolve/{REVISION}/(?P<path>.+)", _Handler.download),
]
