"""A stand-in for the server of Weights & Biases, which the real client sends its runs to."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

ENTITY = "me"


class Server(http.server.ThreadingHTTPServer):
    """Takes runs, and remembers which.

    Attributes:
        refuses: Whether each question about a run is answered with "permission denied".
        runs: The ids of the runs that were opened or changed, in the order in which that was asked for.
        rows: Run's id -> the rows of history that came in.
        exits: Run's id -> the exit code it was finished with.
        uploads: The names of files that came in.
    """

    daemon_threads = True

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuses = refuses
        self.runs: list[str] = []
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.exits: dict[str, int] = {}
        self.uploads: list[str] = []
        self._connections: list[Any] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The address for `base_url`."""
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection, and keep it in mind."""
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client go away."""

    def die(self) -> None:
        """Answer nobody from here on."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.close()

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question in GraphQL."""
        errors = {"errors": [{"message": "permission denied" if self.refuses else "not understood"}]}
        found = None if self.refuses else self._data(query, given)
        return errors if found is None else {"data": found}

    def _data(self, query: str, given: dict[str, Any]) -> dict[str, Any] | None:
        project = {"id": "1", "name": given.get("project") or "", "entity": {"id": "1", "name": ENTITY}}
        if "mutation UpsertBucket" in query:
            self.runs.append(given["name"])
            known = {"id": "1", "name": given["name"], "displayName": "bright-run-1", "project": project}
            return {"upsertBucket": {"bucket": {**known, "historyLineCount": 0}, "inserted": True}}
        if "mutation CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        if "mutation CreateArtifact (" in query:
            made = {"id": "1", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "1"}}}
            return {"createArtifact": {"artifact": made}}
        if "query RunResumeStatus" in query:
            return {"model": {**project, "bucket": self._known(given["name"])}}
        if "query ArtifactType" in query:
            return {"project": None}
        if "query Viewer" in query:
            return {"viewer": {"id": "1", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}}
        return None

    def _known(self, run: str) -> dict[str, Any] | None:
        """Return what is known of a run that is to go on; None for a new one."""
        rows = self.rows.get(run)
        if rows is None:
            return None
        counts = {"historyLineCount": len(rows), "eventsLineCount": 0, "logLineCount": 0}
        texts = {"config": "{}", "summaryMetrics": "{}", "eventsTail": "[]", "wandbConfig": json.dumps({"t": 1})}
        texts["historyTail"] = json.dumps([json.dumps(rows[-1])])
        return {"id": "1", "name": run, "displayName": "bright-run-1", "tags": [], **counts, **texts}

    def stream(self, run: str, sent: dict[str, Any]) -> None:
        """Take a part of a run's history, which says after how many rows it comes, or its end."""
        part = sent.get("files", {}).get("wandb-history.jsonl")
        if part is not None:
            self.rows.setdefault(run, [])[part["offset"] :] = map(json.loads, part["content"])
        if sent.get("complete"):
            self.exits[run] = sent["exitcode"]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = self.server.answer(asked["query"], asked.get("variables") or {})
        elif self.path.endswith("/file_stream"):
            self.server.stream(self.path.split("/")[-2], json.loads(body))
        elif self.path.startswith("/upload/"):
            self.server.uploads.append(self.path.removeprefix("/upload/"))
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *_given: Any) -> None:
        pass


@contextlib.contextmanager
def serving(*, refuses: bool = False) -> Iterator[Server]:
    """Keep a stand-in running while the block runs."""
    server = Server(refuses=refuses)
    try:
        yield server
    finally:
        server.die()
