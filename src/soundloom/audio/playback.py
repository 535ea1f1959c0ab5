"""Play a clip with an installed player."""

import shutil
import subprocess
import sys

from soundloom.atomic import temporary_folder
from soundloom.audio.clip import Clip
from soundloom.errors import AudioError, shown

PLAYERS = (
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
)


def play(clip: Clip) -> None:
    """Play a clip until it ends or Ctrl-C stops it. Raises AudioError without a working player."""
    player = find_player()
    with temporary_folder() as folder:
        path = clip.save(folder / "clip.wav", subtype="PCM_16")
        try:
            done = subprocess.run([*player, str(path)], stderr=subprocess.PIPE, text=True, check=False)
        except KeyboardInterrupt as stop:  # subprocess.run has stopped the player
            if type(stop) is not KeyboardInterrupt:  # Ctrl-C stops only the playback, other signals the command
                raise
            return
    # Without an audio device, ffplay exits with 0 and prints an error.
    if done.returncode or (player[0] == "ffplay" and done.stderr.strip()):
        reason = done.stderr.strip().splitlines()
        raise AudioError(f"{player[0]} could not play the clip: {shown(reason[-1] if reason else done.returncode)}")


def find_player() -> tuple[str, ...]:
    """Return the command of the first player on PATH, without the file."""
    players = (("afplay",), *PLAYERS) if sys.platform == "darwin" else PLAYERS
    for command in players:
        if shutil.which(command[0]):
            return command
    names = ", ".join(command[0] for command in players)
    raise AudioError("no audio player is installed", f"install one of {names}")
