"""A fake Hugging Face hub on localhost that supports downloads."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0fef1392cd842149a2b6d445e181c97608faac06"  # the one that is pinned for small-music


class Hub(ThreadingHTTPServer):
    """A server with repositories (`repo` to `path` to bytes), a log of requests, and simulated failures."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.commits = [COMMIT, "b" * 40]
        self.gated: set[str] = set()
        self.cut_after: int | None = None  # bytes of a file after which the connection breaks
        self.cuts_left = 1
        self.failing = False
        self.ignores_ranges = False
        self.slow_after: int | None = None  # bytes of a file after which the rest comes slowly, until `go_on`
        self.go_on = threading.Event()
        self.requests: list[str] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        span = "" if self.server.ignores_ranges else self.headers.get("Range", "")
        self.server.requests.append(" ".join(filter(None, (self.command, self.path, span))))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commits/\w+", self.path):
            return self._open(match[1]) and self._commits()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/\w+(\?.*)?", self.path):
            return self._open(match[1]) and self._tree(match[1])
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/(\w+)/(.+)", self.path)
        return match and self._open(match[1]) and self._file(match[1], match[2], match[3], span)

    def _open(self, repo):
        if self.server.failing:
            return self._reply(500, {})
        if repo not in self.server.repos:
            return self._reply(404, {"X-Error-Code": "RepoNotFound"})
        if repo in self.server.gated:
            return self._reply(403, {"X-Error-Code": "GatedRepo"})
        return True

    def _commits(self):
        entries = [
            {"id": commit, "authors": [], "date": "2026-01-01T00:00:00.000Z", "title": "", "message": ""}
            for commit in self.server.commits
        ]
        self._reply(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())

    def _tree(self, repo):
        files = self.server.repos[repo].items()
        entries = [{"type": "file", "oid": "a" * 40, "size": len(body), "path": path} for path, body in files]
        self._reply(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())

    def _file(self, repo, revision, path, span):
        if path not in self.server.repos[repo]:
            return self._reply(404, {"X-Error-Code": "EntryNotFound"})
        body = self.server.repos[repo][path]
        commit = revision if len(revision) == 40 else self.server.commits[0]
        git_hash = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        headers = {"ETag": f'"{git_hash}"', "X-Repo-Commit": commit}
        start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
        if span:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self._reply(206 if span else 200, headers, body[start:])

    def _reply(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        cut = self.server.cut_after
        if self.command == "GET" and cut is not None and len(body) > cut and self.server.cuts_left:
            self.server.cuts_left -= 1
            self.wfile.write(body[:cut])
            self.close_connection = True
        elif self.command == "GET":
            with suppress(OSError):  # the client is gone
                self._send(body, self.server.slow_after)

    def _send(self, body, slow_after):
        start = len(body) if slow_after is None else min(slow_after, len(body))
        self.wfile.write(body[:start])
        while start < len(body) and not self.server.go_on.wait(0.01):
            self.wfile.write(body[start : start + 16])
            start += 16
        self.wfile.write(body[start:])


@contextmanager
def serve():
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


def point_client_at(url, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
