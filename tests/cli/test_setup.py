"""`./sa3` and `scripts/setup`, with fakes for Python and pip."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for bash")
ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "env", "cat", "cksum", "dirname", "mkdir", "rm", "tail", "cp", "chmod", "grep", "sleep")
CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"
FAKE_PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$1 $2 $3" in
"-c import"*) [ -z "${TOO_OLD:-}" ] ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip config") echo "${PIP_SAYS:-}" ;;
"-m pip install")
  [ -z "${BROKEN:-}" ] || { echo "$BROKEN"; exit 1; }
  [ -z "${SLOW:-}" ] || { echo "  Downloading torch (190 MB)"; sleep "$SLOW"; }
  program=$(dirname "$0")/soundloom
  printf '#!/usr/bin/env bash\\nprintf "<%%s>" "$@"\\n' >"$program" && chmod +x "$program" ;;
esac
"""
FAKE_UV = """#!/usr/bin/env bash
echo "uv $*" >>"$CALLS"
[ "$1" != venv ] || exec python3 -m venv "${@: -1}"
"""


@pytest.fixture
def clone(tmp_path):
    """Copy the scripts to a folder with a space in its name, and put only a fake Python on PATH."""
    folder, programs = tmp_path / "a clone", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name in ("sa3", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))
    (programs / "python3").write_text(FAKE_PYTHON)
    (programs / "python3").chmod(0o755)
    return folder


@pytest.fixture
def call(clone, tmp_path):
    """Run a script of the clone from another folder; returns the process and the calls of pip."""

    def run(script, *arguments, **environment):
        calls = tmp_path / "calls"
        calls.write_text("")
        done = subprocess.run(
            [clone / script, *arguments],
            env={"PATH": str(tmp_path / "bin"), "CALLS": str(calls), "PIP_SAYS": "global.index-url='x'", **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, [line for line in calls.read_text().splitlines() if line.startswith("-m pip install")]

    return run


def test_only_the_first_run_installs(call, clone):
    done, installs = call("sa3", "--prompt", "kick drum loop, 120 BPM")
    assert (done.returncode, done.stdout) == (0, "<generate><--prompt><kick drum loop, 120 BPM>")
    assert installs == [f"-m pip install --disable-pip-version-check -c {clone}/constraints.txt -e {clone}"]
    assert "Installing soundloom into" in done.stderr
    done, installs = call("sa3", "a b", "--seed", "7")
    assert (done.stdout, done.stderr, installs) == ("<generate><a b><--seed><7>", "", [])


def test_installation_reports_progress_and_duration(call, clone):
    done, _ = call("sa3", "x", SLOW="0.5", SETUP_INTERVAL="0.1")
    assert "[1/2] Creating the environment with " in done.stderr
    assert "[2/2] Downloading and installing packages" in done.stderr
    assert re.search(r"^ +\d+ s  Downloading torch \(190 MB\)$", done.stderr, re.MULTILINE)
    assert re.search(r"Installed in \d+ s. To use the command soundloom in this shell: source ", done.stderr)
    assert f"source {clone}/.venv/bin/activate" in done.stderr


@pytest.mark.parametrize(
    "reason",
    [
        "Retrying ... [Errno -3] Temporary failure in name resolution')': /simple/numpy/",
        "error: error sending request for url\n  Caused by: dns error: failed to lookup address",
        "NewConnectionError('<pip._vendor ...>: Failed to establish a new connection: [Errno 101]')",
    ],
)
def test_offline_installation_explains_how_to_copy_packages(call, reason):
    done, _ = call("sa3", "x", BROKEN=reason)
    assert (done.returncode, done.stdout) == (1, "")
    assert "The packages could not be downloaded: this machine seems to be offline." in done.stderr
    assert "pip download -c constraints.txt -d wheels . hatchling editables" in done.stderr
    assert reason not in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is one build of PyTorch")
def test_machines_without_an_nvidia_driver_get_cpu_pytorch(call, clone, tmp_path):
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has an NVIDIA driver")
    assert CPU_INDEX in call("sa3", "x", PIP_SAYS="")[1][0]
    shutil.rmtree(clone / ".venv")
    (tmp_path / "bin" / "nvidia-smi").touch(mode=0o755)
    assert CPU_INDEX not in call("sa3", "x", PIP_SAYS="")[1][0]


@pytest.mark.parametrize("settings", ["global.index-url='x'", ":env:.extra-index-url='x'", "user.find-links='x'"])
def test_a_configured_index_is_respected(call, settings):
    assert CPU_INDEX not in call("sa3", "x", PIP_SAYS=settings)[1][0]


def test_sa3_without_arguments_starts_the_interactive_prompt(call):
    assert call("sa3")[0].stdout == "<>"  # printf shows no argument as an empty one


@pytest.mark.parametrize("file", ["constraints.txt", "pyproject.toml"])
def test_changed_requirements_trigger_reinstallation(call, clone, file):
    call("sa3", "x")
    with (clone / file).open("a") as text:
        text.write("\n# newer\n")
    assert len(call("sa3", "x")[1]) == 1
    assert call("sa3", "x")[1] == []


def test_a_dev_environment_includes_the_run_environment(call):
    assert len(call("scripts/setup", "run")[1]) == 1
    done, installs = call("scripts/setup", "dev")
    assert done.returncode == 0
    assert ":dev" in installs[-1]
    assert call("scripts/setup", "run")[1] == []


@pytest.mark.parametrize("command", ["serve", "studio"])
def test_sa3_serve_installs_what_the_server_needs(call, clone, command):
    assert len(call("sa3", "x")[1]) == 1
    done, installs = call("sa3", command, "--port", "0")
    assert (done.returncode, done.stdout) == (0, f"<{command}><--port><0>")
    assert installs == [f"-m pip install --disable-pip-version-check -c {clone}/constraints.txt -e {clone}[serve]"]
    done, installs = call("sa3", command)
    assert (done.stdout, done.stderr, installs) == (f"<{command}>", "", [])
    assert call("sa3", "x")[1] == []
    shutil.rmtree(clone / ".venv")
    assert len(call("sa3", command)[1]) == 1
    assert call("sa3", "x")[1] == []
    (clone / "constraints.txt").write_text("# newer")
    assert len(call("sa3", command)[1]) == 1


def test_a_server_without_a_network_names_its_packages(call):
    done, _ = call("sa3", "serve", BROKEN="Temporary failure in name resolution")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip download -c constraints.txt -d wheels '.[serve]' hatchling editables" in done.stderr


def test_a_failed_installation_shows_the_log_and_is_retried(call, clone):
    done, _ = call("sa3", "x", BROKEN="no such package")
    assert done.returncode == 1
    assert "no such package" in done.stderr
    assert f"the full log is in {clone}/.venv/setup.log" in done.stderr
    assert call("sa3", "x")[0].returncode == 0


def test_an_old_python_is_reported(call, clone):
    done, _ = call("sa3", "x", TOO_OLD="1")
    assert done.returncode == 1
    assert done.stderr.startswith("soundloom needs Python 3.11 or newer")
    assert not (clone / ".venv").exists()


def test_uv_is_preferred_with_pip_as_fallback(call, clone, tmp_path):
    uv = tmp_path / "bin" / "uv"
    uv.write_text(
        '#!/usr/bin/env bash\necho "uv $*" >>"$CALLS"\n[ "$1" = venv ] && exec python3 -m venv "${@: -1}"\nexit 0\n'
    )
    uv.chmod(0o755)
    done, installs = call("scripts/setup", "dev")
    assert (done.returncode, installs) == (0, [])
    assert f"uv pip install --python {clone}/.venv/bin/python" in (tmp_path / "calls").read_text()
    shutil.rmtree(clone / ".venv")
    uv.write_text("#!/usr/bin/env bash\nexit 1\n")
    done, installs = call("scripts/setup", "run")
    assert (done.returncode, len(installs)) == (0, 1)
