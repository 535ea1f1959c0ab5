"""Styles of drums for `patterns`: ranges of tempo, and one-bar patterns.

A bar is a string of steps per drum: X is accented, x plain, o soft, a dot a rest. Steps divide the beat, which is what
BPM counts, in 4 (sixteenths), 3 (triplets) or 6 (sixteenths of a dotted quarter, for 6/8).
"""

from __future__ import annotations

from dataclasses import dataclass

ACCENTS = {"X": 112, "x": 88, "o": 58}
KICK, RIM, SNARE, CLAP, CLOSED, OPEN, RIDE, CRASH = 36, 37, 38, 39, 42, 46, 51, 49
LOW_TOM, HIGH_TOM, COWBELL, MARACAS, LOW_CONGA, HIGH_CONGA, TAMBOURINE = 41, 47, 56, 70, 64, 63, 54


@dataclass(frozen=True)
class Style:
    """A style: range of BPM, bars of drums, steps per beat and per bar, and the chance that steps swing."""

    low_bpm: int
    high_bpm: int
    drums: tuple[dict[int, str], ...]
    per_beat: int = 4
    swing: float = 0.0

    @property
    def steps(self) -> int:
        """Steps per bar."""
        return len(next(iter(self.drums[0].values())))


STYLES = {
    "rock": Style(
        *(84, 160),
        (
            {KICK: "X.......X.......", SNARE: "....X.......X...", CLOSED: "X.x.X.x.X.x.X.x."},
            {KICK: "X.....x.X.x.....", SNARE: "....X.......X...", CLOSED: "X.x.X.x.X.x.X.x."},
            {KICK: "X.x.....X.......", SNARE: "....X.......X...", RIDE: "X...X...X...X..."},
            {KICK: "X.......X.x...x.", SNARE: "....X.......X..o", CLOSED: "x.x.x.x.x.x.x.x."},
        ),
    ),
    "pop": Style(
        *(88, 132),
        (
            {
                KICK: "X.....x.X.......",
                CLAP: "....X.......X...",
                CLOSED: "x.x.x.x.x.x.x.x.",
                TAMBOURINE: "....x.......x...",
            },
            {KICK: "X..x..x...x.....", SNARE: "....X.......X...", MARACAS: "xoxoxoxoxoxoxoxo"},
            {KICK: "X...x...X...x...", SNARE: "....X.......X...", CLOSED: "x.x.x.x.x.x.x.xx"},
        ),
    ),
    "house": Style(
        *(116, 130),
        (
            {KICK: "X...X...X...X...", CLAP: "....X.......X...", OPEN: "..X...X...X...X."},
            {KICK: "X...X...X...X...", SNARE: "....X.......X...", OPEN: "..X...X...X...X.", CLOSED: "xxxxxxxxxxxxxxxx"},
            {KICK: "X...X...X...X...", CLAP: "....X.......X...", CLOSED: "..x...x...x...x.", RIM: "...x..x....x..x."},
        ),
    ),
    "techno": Style(
        *(122, 150),
        (
            {KICK: "X...X...X...X...", CLOSED: "..X...X...X...X.", RIM: "...x..x....x..x."},
            {KICK: "X...X...X...X...", OPEN: "..X...X...X...X.", LOW_TOM: "x..x..x.x..x..x."},
            {KICK: "X...X...X...X...", CLOSED: "xoxxxoxxxoxxxoxx"},
        ),
    ),
    "disco": Style(
        *(108, 130),
        (
            {KICK: "X...X...X...X...", SNARE: "....X.......X...", OPEN: "..X...X...X...X.", CLOSED: "x...x...x...x..."},
            {KICK: "X...X...X...X...", SNARE: "....X.......X...", CLOSED: "X.xxX.xxX.xxX.xx"},
        ),
    ),
    "hip hop": Style(
        *(72, 106),
        (
            {KICK: "X......x..X.....", SNARE: "....X.......X...", CLOSED: "x.x.x.x.x.x.x.x."},
            {KICK: "X.x....x.xX.....", SNARE: "....X.......X...", CLOSED: "x.x.x.xxx.x.x.x."},
            {KICK: "X.....x...x..x..", SNARE: "....X.......X...", CLOSED: "xxxxxxxxxxxxxxxx"},
        ),
        swing=0.4,
    ),
    "trap": Style(
        *(124, 160),
        (
            {KICK: "X.....x...X.....", CLAP: "........X.......", CLOSED: "x.x.x.xxx.x.xxxx"},
            {KICK: "X..x......x.....", SNARE: "........X.......", CLOSED: "x.x.x.x.x.x.x.x."},
        ),
    ),
    "drum and bass": Style(
        *(160, 180),
        (
            {KICK: "X.........X.....", SNARE: "....X.......X...", CLOSED: "x.x.x.x.x.x.x.x."},
            {KICK: "X.X.......X.....", SNARE: "....X..o.o..X...", RIDE: "x.x.x.x.x.x.x.x."},
        ),
    ),
    "funk": Style(
        *(88, 122),
        (
            {KICK: "X..x......x..x..", SNARE: "....X..o.o..X..o", CLOSED: "xoxoxoxoxoxoxoxo"},
            {KICK: "X.x...x...x.....", SNARE: "....X..o.o..X...", CLOSED: "x.x.x.x.x.x.x.x."},
            {KICK: "X.x....x..x..x..", SNARE: "....X..x....X..o", CLOSED: "xxxxxx.xxxxxxx.x"},
        ),
    ),
    "reggae": Style(
        *(60, 92),
        (
            {KICK: "........X.......", RIM: "........X.......", CLOSED: "X.x.X.x.X.x.X.x."},
            {KICK: "X...X...X...X...", RIM: "........X.......", CLOSED: "..x...x...x...x."},
        ),
        swing=0.3,
    ),
    "bossa": Style(
        *(100, 150),
        (
            {KICK: "X.....x.X.....x.", RIM: "X..x..x...x..x..", CLOSED: "x.x.x.x.x.x.x.x."},
            {KICK: "X.....x.X.....x.", RIM: "x..x..x...x.x...", MARACAS: "xxxxxxxxxxxxxxxx"},
        ),
    ),
    "latin": Style(
        *(88, 130),
        (
            {KICK: "X.....x.X.....x.", COWBELL: "X.x.xx.x.x.xx.x.", MARACAS: "xoxoxoxoxoxoxoxo"},
            {COWBELL: "X...x.x.X...x.x.", HIGH_CONGA: "..x...x...x...x.", LOW_CONGA: "......xx......xx"},
            {KICK: "X..x..X.X..x..X.", SNARE: "...x..x....x..x.", CLOSED: "x.x.x.x.x.x.x.x."},
        ),
    ),
    "ballad": Style(
        *(60, 84),
        (
            {KICK: "X.......X.......", SNARE: "....X.......X...", CLOSED: "x.x.x.x.x.x.x.x."},
            {KICK: "X......xX.......", RIM: "....X.......X...", CLOSED: "x.x.x.x.x.x.x.x."},
        ),
    ),
    "metal": Style(
        *(120, 180),
        (
            {KICK: "X.x.X.x.X.x.X.x.", SNARE: "....X.......X...", RIDE: "X...X...X...X..."},
            {KICK: "X...X...X...X...", SNARE: "..X...X...X...X.", CLOSED: "X...X...X...X..."},
        ),
    ),
    "march": Style(
        *(96, 130),
        ({KICK: "X.......X.......", SNARE: "x.xxx.x.x.xxx.xx"}, {KICK: "X...x...X...x...", SNARE: "..x...x...x.x.xx"}),
    ),
    "swing": Style(
        *(100, 180),
        (
            {RIDE: "x..x.xx..x.x", CLOSED: "...x.....x..", KICK: "o..o..o..o.."},
            {RIDE: "x..x.xx..x.x", CLOSED: "...x.....x..", SNARE: "..o.......o."},
        ),
        per_beat=3,
    ),
    "shuffle": Style(
        *(72, 140),
        (
            {KICK: "X.....X.x...", SNARE: "...X.....X..", CLOSED: "X.xX.xX.xX.x"},
            {KICK: "X..x..X..x..", SNARE: "...X.....X..", RIDE: "X.xX.xX.xX.x"},
        ),
        per_beat=3,
    ),
    "waltz": Style(
        *(84, 180),
        (
            {KICK: "X...........", SNARE: "....x...x...", CLOSED: "x...x...x..."},
            {KICK: "X...........", CLOSED: "....x...x...", RIDE: "x.x.x.x.x.x."},
        ),
    ),
    "six-eight": Style(
        *(60, 96),
        (
            {KICK: "X...........", SNARE: "......X.....", CLOSED: "X.x.x.X.x.x."},
            {KICK: "X.......x...", SNARE: "......X.....", RIDE: "X.x.x.X.x.x."},
        ),
        per_beat=6,
    ),
}
