"""A stand-in for the Hub: the part of its API that an upload of huggingface_hub calls."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_right"
_LARGE = (".safetensors", ".parquet", ".png")


class HubStandIn:
    """What was sent: repositories with their kind and visibility, and files by branch.

    ``refuse``: part of a path -> the status of the answer to it.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.created: dict[str, dict[str, Any]] = {}
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.messages: list[str] = []
        self.refuse: dict[str, int] = {}
        self.blobs: dict[str, bytes] = {}

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        """Status and content of the answer to a request."""
        for part, status in self.refuse.items():
            if part in path:
                return status, {"error": f"refused with {status}"}
        if method == "PUT":
            self.blobs[path.rpartition("/")[2]] = body
            return 200, {}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            return 200, {"errors": [], "warnings": []}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": list(map(self._action, _objects(body)))}
        if method == "GET":  # whether there is such a repository
            return 404, {"error": "Repository not found"}
        kind, owner, name, what, branch = path.removeprefix("/api/").split("/")
        repo = f"{owner}/{name}"
        assert self.created[repo]["type"] == kind.removesuffix("s")
        if what == "preupload":
            return 200, {"files": [_mode(file["path"]) for file in json.loads(body)["files"]]}
        if what == "branch":
            return 200, {}
        assert what == "commit"
        self._commit(self.files.setdefault((repo, branch), {}), body)
        return 200, {"commitUrl": f"{self.endpoint}/{repo}/commit/1", "commitOid": "1"}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        repo = f"{asked['organization'] or 'me'}/{asked['name']}"
        prefix = "datasets/" if asked.get("type") == "dataset" else ""
        found = {"url": f"{self.endpoint}/{prefix}{repo}"}
        if repo in self.created:
            return 409, {"error": "You already created this repo", **found}
        self.created[repo] = {"type": "model", **asked}
        return 200, found

    def _action(self, wanted: dict[str, Any]) -> dict[str, Any]:
        return {**wanted, "actions": {"upload": {"href": f"{self.endpoint}/lfs/{wanted['oid']}"}}}

    def _commit(self, files: dict[str, bytes], body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert entry["key"] == "lfsFile"
                blob = self.blobs[value["oid"]]
                assert hashlib.sha256(blob).hexdigest() == value["oid"]
                files[value["path"]] = blob


def _objects(body: bytes) -> list[dict[str, Any]]:
    return list(json.loads(body)["objects"])


def _mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(_LARGE) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """A stand-in that listens on this machine."""
    hub = HubStandIn()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            status, content = hub.answer(
                self.command, path, self.headers.get("Authorization", ""), body
            )
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            if status >= 400:
                self.send_header("X-Error-Message", content["error"])
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = _reply

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
