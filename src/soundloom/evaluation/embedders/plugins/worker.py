"""Run an embedder in this process for another one, over stdin and stdout: `python worker.py PLUGIN.py`.

This file needs Python 3.9 and NumPy, and nothing of soundloom. A message is a line of JSON; if it has a `shape`,
float32 values (little endian) of that shape follow. Requests are

    {"command": "info"}
    {"command": "embed", "shape": [b, samples]} or {"command": "classify", "shape": [b, samples]}, and values
    {"command": "embed_text", "texts": ["…"]}

Answers are what the embedder is, `{"shape": [b, dimensions]}` and values, or `{"error": "…"}`. The process ends with
its input. Whatever the plug-in prints goes to stderr.

A plug-in is a Python file whose function `open_embedder` returns a dictionary: `rate` in hertz, `window` in samples,
`dimensions`, `license`, `embed` (a function of float32 windows (b, samples) that returns (b, dimensions)); optionally
`classify` with `labels`, `embed_text`, `channels`, `padding`, `batch`, `version` (any text) and `module` (a PyTorch
module, whose weights become part of the embedder's hash).
"""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import sys
import traceback
from typing import Any, BinaryIO

import numpy as np

PROTOCOL = 1
FACTS = ("rate", "window", "dimensions", "license", "channels", "padding", "batch", "labels")
ARRAYS = ("embed", "classify")


def serve(path: str, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests, a binary stream, until it ends."""
    try:
        embedder = runpy.run_path(path)["open_embedder"]()
        facts = {name: embedder[name] for name in FACTS if name in embedder}
        facts.update(protocol=PROTOCOL, hash=embedder_hash(path, embedder), texts="embed_text" in embedder)
    except Exception as error:  # any that the plug-in's packages raise
        answer(answers, {"error": describe(error)})
        return
    for line in iter(requests.readline, b""):
        try:
            request = json.loads(line)
            command = request["command"]
            if command == "info":
                answer(answers, facts)
            elif command in ARRAYS and command in embedder:
                answer(answers, {}, embedder[command](read_array(requests, request["shape"])))
            elif command == "embed_text" and facts["texts"]:
                answer(answers, {}, embedder[command](request["texts"]))
            else:
                answer(answers, {"error": f"there is no command {command!r}"})
        except Exception as error:
            answer(answers, {"error": describe(error)})


def describe(error: Exception) -> str:
    """Return one line for an error, and print its traceback to stderr."""
    traceback.print_exc()
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def read_array(stream: BinaryIO, shape: list[int]) -> np.ndarray:
    size = 4 * int(np.prod(shape))
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("the input ended inside an array")
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)


def answer(stream: BinaryIO, message: dict[str, Any], array: Any = None) -> None:
    if array is not None:
        array = np.ascontiguousarray(array, "<f4")
        message = {**message, "shape": list(array.shape)}
    stream.write(json.dumps(message).encode() + b"\n")
    if array is not None:
        stream.write(array.tobytes())
    stream.flush()


def embedder_hash(path: str, embedder: dict[str, Any]) -> str:
    """Return the sha256 of the plug-in's source, its version, and the weights of its module."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123
        digest.update(file.read())
    digest.update(str(embedder.get("version", "")).encode())
    module = embedder.get("module")
    for name, tensor in sorted(module.state_dict().items()) if module is not None else ():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().double().contiguous().numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [path for path in sys.path if path != folder]  # plug-ins are named like the packages that they import
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of packages must not mix with answers
    sys.stdout = sys.stderr
    serve(sys.argv[1], requests, answers)


if __name__ == "__main__":
    main()
