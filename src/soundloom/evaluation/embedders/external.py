"""Embedders in a process of another Python environment, or of any other program.

No environment holds all published embedders, so one that soundloom cannot import runs elsewhere and exchanges arrays
over stdin and stdout; `plugins.worker` describes the messages. `embedders/NAME.toml` in the configuration folder says
how to start it:

    python = "~/envs/vggish/bin/python"     # runs the plug-in of this name that soundloom has
    plugin = "~/my_embedder.py"             # or another one, in that Python
    command = ["conda", "run", "…"]         # or a program that speaks the protocol itself
    timeout = 120.0                         # seconds for one batch
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from soundloom.config.parse import parse
from soundloom.config.toml import read_toml
from soundloom.errors import ConfigError, EngineError, ModelNotFoundError, SoundloomError, shown
from soundloom.evaluation.embedders.base import Embedder, EmbedderInfo, Floats, check_windows
from soundloom.evaluation.embedders.weights import embedder_hash
from soundloom.folders import config_folder, expanded

PROTOCOL = 1
PLUGIN_FOLDER = Path(__file__).parent / "plugins"
START_SECONDS = 1800.0  # packages may download their weights at first use
MAX_LINE_BYTES = 1 << 20
MAX_VALUES = 1 << 28  # of an answered array
STDERR_BYTES = 4096  # of the process's last words


@dataclass(frozen=True)
class ExternalConfig:
    """How to start an embedder's process; see the module."""

    python: str = ""
    plugin: str = ""
    command: tuple[str, ...] = ()
    timeout: float = 120.0


@dataclass(frozen=True)
class ExternalFacts:
    """What a process says about its embedder."""

    protocol: int
    rate: int
    window: int
    dimensions: int
    hash: str
    license: str = ""
    channels: int = 1
    padding: str = "silence"
    batch: int = 8
    labels: tuple[str, ...] = ()
    texts: bool = False


def config_file(name: str) -> Path:
    return config_folder() / "embedders" / f"{name}.toml"


def is_configured(name: str) -> bool:
    """Whether the configuration folder says how to start an embedder."""
    return all(c.isalnum() or c in "-_." for c in name) and config_file(name).is_file()


def configured() -> list[str]:
    """Return the names of all embedders that the configuration folder says how to start."""
    return sorted(path.stem for path in (config_folder() / "embedders").glob("*.toml") if is_configured(path.stem))


def load_external(name: str) -> Embedder:
    """Start the process of an embedder.

    Raises ModelNotFoundError without a configuration, ConfigError for an unusable one, EngineError when the process
    does not start, ends, hangs or says that it failed.
    """
    path = config_file(name)
    if not path.is_file():
        raise ModelNotFoundError(
            f"{name} runs in a Python environment of its own, and {path} does not say which",
            f'install its package in a virtual environment, and write python = "PATH" to {path}',
        )
    config = read_toml(ExternalConfig, path)
    return start_external(name, _command(name, config, path), config.timeout)


def start_external(name: str, command: Sequence[str], timeout: float = 120.0) -> Embedder:
    """Start an embedder by a command. Raises EngineError."""
    process = _Process(name, command)
    try:
        facts = _facts(name, process.ask({"command": "info"}, START_SECONDS)[0])
    except SoundloomError:
        process.end()
        raise
    info = EmbedderInfo(
        name,
        facts.rate,
        facts.window,
        facts.dimensions,
        embedder_hash(facts.hash, [facts.rate, facts.window, facts.channels]),
        facts.license,
        facts.channels,
        "repeat" if facts.padding == "repeat" else "silence",
        facts.batch,
        facts.labels,
    )
    kinds = {(False, False): ExternalEmbedder, (True, False): _Classifier, (False, True): _TextEmbedder}
    return kinds.get((bool(facts.labels), facts.texts), _TextClassifier)(info, process, timeout)


def _command(name: str, config: ExternalConfig, path: Path) -> list[str]:
    if config.command:
        return [str(expanded(config.command[0])), *config.command[1:]]
    plugin = expanded(config.plugin) if config.plugin else PLUGIN_FOLDER / f"{name.replace('-', '_')}.py"
    if not config.python or not plugin.is_file():
        lacks = f"names no plug-in, and soundloom has none for {name}" if config.python else "names no Python"
        raise ConfigError(f"{path} {lacks}", "write python and plugin, or command")
    return [str(expanded(config.python)), str(PLUGIN_FOLDER / "worker.py"), str(plugin)]


def _facts(name: str, answer: dict[str, Any]) -> ExternalFacts:
    try:
        facts = parse(ExternalFacts, answer)
    except ConfigError as error:
        raise EngineError(f"the process of {name} describes itself wrongly: {error.args[0]}") from error
    if facts.protocol != PROTOCOL or min(facts.rate, facts.window, facts.dimensions, facts.batch) < 1:
        raise EngineError(f"the process of {name} speaks protocol {facts.protocol}, or has a size below 1")
    return facts


class ExternalEmbedder:
    """An embedder in another process, which ends with this object."""

    def __init__(self, info: EmbedderInfo, process: _Process, timeout: float) -> None:
        self.info, self._process, self._timeout = info, process, timeout
        self._finalizer = weakref.finalize(self, process.end)

    def embed(self, windows: Floats) -> Floats:
        """Embed windows to vectors (b, dimensions). Raises EngineError when the process fails."""
        return self._run("embed", windows, self.info.dimensions)

    def close(self) -> None:
        """End the process."""
        self._finalizer()

    def _run(self, command: str, windows: Floats, width: int) -> Floats:
        windows = check_windows(self.info, windows)
        starts = range(0, len(windows), self.info.batch)
        parts = [self._ask({"command": command}, windows[i : i + self.info.batch], width) for i in starts]
        return np.concatenate([np.zeros((0, width), np.float32), *parts])

    def _ask(self, message: dict[str, Any], array: Floats | None, width: int) -> Floats:
        count = len(message["texts"]) if array is None else len(array)
        vectors = self._process.ask(message, self._timeout, array)[1]
        if vectors is None or vectors.shape != (count, width):
            found = "none" if vectors is None else vectors.shape
            raise EngineError(
                f"the process of {self.info.name} answered with an array of shape {found}, not {count, width}"
            )
        return vectors


class _Classifier(ExternalEmbedder):
    def classify(self, windows: Floats) -> Floats:
        """Return logits (b, classes)."""
        return self._run("classify", windows, len(self.info.labels))


class _TextEmbedder(ExternalEmbedder):
    def embed_text(self, texts: Sequence[str]) -> Floats:
        """Embed texts to vectors (b, dimensions)."""
        parts = [texts[i : i + self.info.batch] for i in range(0, len(texts), self.info.batch)]
        ask = self._ask
        vectors = [ask({"command": "embed_text", "texts": list(part)}, None, self.info.dimensions) for part in parts]
        return np.concatenate([np.zeros((0, self.info.dimensions), np.float32), *vectors])


class _TextClassifier(_TextEmbedder, _Classifier):
    pass


class _Process:
    """A process that answers one request at a time."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
        self._words = ""
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=-1
            )
        except OSError as error:
            self._stderr.close()
            raise EngineError(f"the process of {name} does not start: {shown(str(error))}") from error
        self._thread = ThreadPoolExecutor(1)

    def ask(
        self, message: dict[str, Any], timeout: float, array: Floats | None = None
    ) -> tuple[dict[str, Any], Floats | None]:
        """Send a message and an array; return those of the answer. Raises EngineError; then the process has ended."""
        if self._stderr.closed:
            raise self._failure("has ended")
        exchange = self._thread.submit(self._exchange, message, array)
        try:
            answer, values = exchange.result(timeout)
        except FutureTimeoutError as error:
            self.end()
            raise self._failure(f"did not answer within {timeout:g} s, and was ended") from error
        except (OSError, ValueError, EOFError) as error:
            self.end(patience=1.0)
            raise self._failure(f"does not answer: {error}") from error
        if "error" in answer:
            raise EngineError(f"the process of {self.name} failed: {shown(str(answer['error']))}")
        return answer, values

    def _exchange(self, message: dict[str, Any], array: Floats | None) -> tuple[dict[str, Any], Floats | None]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        shape = {"shape": list(array.shape)} if array is not None else {}
        stdin.write(json.dumps({**message, **shape}).encode() + b"\n")
        if array is not None:
            stdin.write(np.ascontiguousarray(array, "<f4").tobytes())
        stdin.flush()
        line = stdout.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError("its output ended")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("its answer is not an object")
        return answer, _read_array(stdout, answer["shape"]) if "shape" in answer else None

    def _failure(self, what: str) -> EngineError:
        words = f"it said: {self._words}" if self._words else ""
        return EngineError(f"the process of {self.name} {what} (exit code {self._process.poll()})", words)

    def end(self, patience: float = 0.0) -> None:
        """End the process, by force if it has not ended by itself within `patience` seconds."""
        if self._stderr.closed:
            return
        process = self._process
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._thread.shutdown(wait=True)  # its pipe has ended
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # the other end is gone
                if stream:
                    stream.close()
        self._words = _last_line(self._stderr)
        self._stderr.close()


def _last_line(stream: IO[bytes]) -> str:
    """Return the last line of what a process wrote."""
    stream.seek(0, 2)
    stream.seek(max(0, stream.tell() - STDERR_BYTES))
    lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    return shown(lines[-1].strip()) if lines else ""


def _read_array(stream: IO[bytes], shape: Any) -> Floats:
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("its answer has no valid shape")
    count = int(np.prod(shape, dtype=object))
    if count > MAX_VALUES:
        raise ValueError(f"its answer has {count} values, more than {MAX_VALUES}")
    data = stream.read(4 * count)
    if len(data) != 4 * count:
        raise EOFError("its output ended inside an array")
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
