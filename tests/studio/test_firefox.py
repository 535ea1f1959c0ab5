"""The player in Firefox, where it is installed: it renders without a device, and posts what differs from the ideal.

Firefox cannot hold such a rendering to act in the middle of it, so switches and jumps are tested in Chromium alone.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
FILES = {"/studio/js": FOLDER.parents[1] / "src/soundloom/serving/studio/js", "/sound": FOLDER / "sound"}
CALLS = {"bar()": 0, "loops(40)": 0, "span()": 0, "difference()": 0, "shorter()": 0, "leads()": 0}
PAGE = """<!doctype html><title>tests</title><script type="module">
const found = {};
try {
  const tests = await import("/sound/offline.js");
  for (const call of CALLS) found[call] = await tests[call.split("(")[0]](...JSON.parse(`[${call.split(/[()]/)[1]}]`));
} catch (error) {
  found.error = `${error} ${error.stack}`;
}
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
</script>""".replace("CALLS", json.dumps(list(CALLS)))


class Handler(BaseHTTPRequestHandler):
    """Serve the page, the player and its tests; keep what is posted."""

    found: queue.Queue[dict[str, object]] = queue.Queue()

    def do_GET(self) -> None:
        folder = next((name for name in FILES if self.path.startswith(f"{name}/")), None)
        data, kind = PAGE.encode(), "text/html"
        if folder is not None:
            data, kind = (FILES[folder] / self.path[len(folder) + 1 :]).read_bytes(), "text/javascript"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        Handler.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_check_21_and_24_loops_starts_and_differences_are_exact_in_firefox(tmp_path):
    firefox = os.environ.get("SOUNDLOOM_FIREFOX") or shutil.which("firefox") or shutil.which("firefox-esr")
    if firefox is None:
        pytest.skip("this test needs Firefox: apt-get install firefox-esr, or set SOUNDLOOM_FIREFOX")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [firefox, "--headless", "--no-remote", "--profile", tmp_path, f"http://127.0.0.1:{server.server_port}/"]
    variables = {**os.environ, "HOME": str(tmp_path), "MOZ_DISABLE_AUTO_SAFE_MODE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables)
    try:
        assert Handler.found.get(timeout=90) == CALLS
    finally:
        process.terminate()
        process.wait(20)
        server.shutdown()
        server.server_close()
