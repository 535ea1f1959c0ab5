"""Run a command, and print its seconds and peak memory in bytes as JSON: python child.py COMMAND [ARGUMENT …].

A process of its own, because the system counts the memory of a process that starts a command as that of the command
too: this one is small. The peak is that of the largest process that the command ran, or null where the system does not
tell.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time


def peak_of_children() -> int | None:
    """Return the peak resident memory of the largest finished child process, in bytes."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(command: list[str]) -> int:
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, "bytes": peak_of_children()}) + "\n")
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
