"""Options of commands that write many files: names, a table, and a choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.shared import name_flag
from soundloom.errors import RequestError, shown
from soundloom.folders import expanded


@dataclass(frozen=True)
class ManyOptions:
    """Many files."""

    name: str | None = name_flag(
        metavar="PATTERN",
        help="the name of the file in the folder of --out, such as step_{n:02}; the suffix is optional",
    )
    csv: str | None = flag("--csv", metavar="FILE", help="also write a table of the clips: file, prompt, seed, level …")
    pick: int | None = flag(
        "--pick", type=int, metavar="N", help="keep the N best of --count clips per prompt; move others to rejected/"
    )
    drop_rejected: bool = switch("--drop-rejected", help="with --pick, delete the other clips")

    def table(self) -> Path | None:
        """Return the file of --csv. Raises RequestError."""
        if self.csv is None:
            return None
        path = expanded(self.csv)
        if path.suffix.lower() != ".csv" or path.is_dir():
            raise RequestError(f"--csv names a file that ends in .csv, not {shown(self.csv)}", "--csv made.csv")
        return path

    def picks(self) -> bool:
        """Whether the best clips are to be picked. Raises RequestError for flags that then have no effect."""
        if self.drop_rejected and self.pick is None:
            raise RequestError("--drop-rejected has no effect without --pick", "--count 20 --pick 5 keeps five")
        return self.pick is not None

    def check_pick(self, count: int) -> None:
        """Raise RequestError unless --pick fits `count` clips per prompt."""
        if self.pick is not None and not 1 <= self.pick <= count:
            made = "the one clip" if count == 1 else f"the {count} clips"
            raise RequestError(
                f"--pick {self.pick} does not choose among {made} of each prompt, which --count sets",
                "for example --count 20 --pick 5",
            )
