"""Play a clip with a player that the machine already has."""

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
    """Play the clip and return when it has ended or Ctrl-C stopped it; raises AudioError when nothing can
    play it.
    """
    player = find_player()
    with temporary_folder() as folder:
        path = clip.save(folder / "clip.wav", subtype="PCM_16")
        try:
            done = subprocess.run([*player, str(path)], stderr=subprocess.PIPE, text=True, check=False)
        except KeyboardInterrupt as stop:  # subprocess.run has stopped the player
            if type(stop) is not KeyboardInterrupt:  # not Ctrl-C, which ends the sound alone, but the command's end
                raise
            return
    # ffplay ends well also where it found no device, and only says so.
    if done.returncode or (player[0] == "ffplay" and done.stderr.strip()):
        reason = done.stderr.strip().splitlines()
        raise AudioError(f"{player[0]} could not play the clip: {shown(reason[-1] if reason else done.returncode)}")


def find_player() -> tuple[str, ...]:
    """The command of the first player on PATH; the file to play goes behind it."""
    players = (("afplay",), *PLAYERS) if sys.platform == "darwin" else PLAYERS
    for command in players:
        if shutil.which(command[0]):
            return command
    names = ", ".join(command[0] for command in players)
    raise AudioError("there is no program here that plays sound", f"install one of {names}")
