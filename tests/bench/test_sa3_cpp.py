"""The script that compares networks with sa3.cpp, on a program that stands in for its own."""

import sys

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from benchmarks.cross_check_sa3_cpp import Sa3Cpp, relative_error

# Returns x, plus 1 if there is a file of the local embedding.
PROGRAM = f"""#!{sys.executable}
import sys
from pathlib import Path
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = Path(flags["--in"])
assert flags["--ctx"] == "3" and (folder / "dit_cross.f32").stat().st_size == 3 * 5 * 4
import numpy as np
x = np.fromfile(folder / "dit_x.f32", np.float32)
(x + (folder / "dit_local.f32").exists()).tofile(Path(flags["--out"]) / "dit_vel.f32")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script")
def test_arrays_keep_their_layout_and_the_local_embedding_is_optional(tmp_path):
    program = tmp_path / "sa3-dit"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    x, cross = np.arange(8, dtype=np.float32).reshape(2, 4), np.ones((3, 5), np.float32)
    peer, inputs = Sa3Cpp(tmp_path, tmp_path), {"x": x, "cross": cross}
    with_local = inputs | {"local": np.zeros((4, 3), np.float32)}
    assert (peer.velocity(tmp_path / "dit.gguf", with_local) == x + 1).all()
    assert (peer.velocity(tmp_path / "dit.gguf", inputs) == x).all()


def test_the_relative_error_is_that_of_norms():
    assert relative_error(np.float32([3, 4]), np.float32([3, 0])) == pytest.approx(4 / 3)
