"""A blind comparison: which system's picture of an item people prefer (a user study)."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from .fingerprints import files_fingerprint
from .intervals import share_interval
from .picture_sets import PictureFiles
from .report import Table
from .storage import differences

MOST_SYSTEMS = 9
"""As many as there are keys to vote by."""

NEITHER = "no difference"


@dataclass(frozen=True)
class Item:
    """What is judged at once: a picture by each system, and what is shown beside them, by name."""

    name: str
    pictures: Mapping[str, Path]
    beside: Mapping[str, Path]


@dataclass(frozen=True)
class Trial:
    """An item with its systems from left to right."""

    item: Item
    sides: tuple[str, ...]


@dataclass(frozen=True)
class Vote:
    """Of an item the system that was preferred; None where there was no difference."""

    item: str
    preferred: str | None


def open_items(systems: Mapping[str, Path], beside: Mapping[str, Path] | None = None) -> list[Item]:
    """The items of folders of results, by name.

    systems, beside: folders by name; those of systems hold files of the same names and, item by
    item, of one size, those beside them (conditions, exemplars) of the same names up to the suffix.
    Raises ValueError, naming folders and files, for whatever is missing, left over or of another
    size, for files that are no pictures, and for fewer than 2 systems or more than there are keys.
    """
    if not 2 <= len(systems) <= MOST_SYSTEMS:
        raise ValueError(f"2 to {MOST_SYSTEMS} folders are compared, got {len(systems)}.")
    files = {name: _by(folder, "name") for name, folder in systems.items()}
    shown = {name: _by(folder, "stem") for name, folder in (beside or {}).items()}
    first, expected = next(iter(files.items()))
    for name, found in files.items():
        if difference := sorted(expected.keys() ^ found.keys()):
            holder = first if difference[0] in expected else name
            raise ValueError(
                f"All folders must hold files of the same names, but {len(difference)} are not in "
                f"both '{systems[first]}' ({len(expected)}) and '{systems[name]}' ({len(found)}): "
                f"{difference[0]} is of '{holder}' alone. Remove what has no partner, or paint it."
            )
    items = []
    for file in expected:
        stem = Path(file).stem
        if lacking := [name for name, found in shown.items() if stem not in found]:
            folder = (beside or {})[lacking[0]]
            raise ValueError(f"'{folder}' holds no picture called {stem}, to be shown with {file}.")
        pictures = {name: found[file] for name, found in files.items()}
        sizes = {name: _size(path) for name, path in pictures.items()}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{w} x {h} of '{name}'" for name, (w, h) in sizes.items())
            raise ValueError(
                f"The pictures of an item must have one size, but {file} is {told}; bring all to "
                f"one size by one named filter first."
            )
        items.append(Item(file, pictures, {name: found[stem] for name, found in shown.items()}))
    return items


def _by(folder: Path, key: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in PictureFiles.of_folder(folder).paths:
        other = found.setdefault(getattr(path, key), path)
        if other != path:
            raise ValueError(f"'{folder}' holds both {other.name} and {path.name}; keep one.")
    return found


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read as a picture: {error}.") from error


def _fingerprint(paths: Sequence[Path]) -> str:
    return files_fingerprint(paths, paths[0].parent)


class Study:
    """Trials in an order of chance, and a file of the votes on them, with which it goes on.

    items: of `open_items`. path: of the file of JSON lines, the first of which says what is judged;
    every vote and every undo is appended. question: what is asked. seed: decides, with the voter,
    the order of the items and of the systems in each, and which items where `limit` leaves some
    out. voter: whose votes these are; several people share a file by different names.

    Raises ValueError for a limit below 1, and for a file that holds anything but votes on this.
    """

    def __init__(
        self,
        items: Sequence[Item],
        path: Path,
        question: str = "Which picture is better?",
        seed: int = 0,
        limit: int | None = None,
        voter: str = "",
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be 1 or more, got {limit}.")
        if limit is not None and limit < len(items):  # the same for all voters
            items = random.Random(seed).sample(items, limit)
        self.path, self.question, self.voter = path, question, voter
        self.systems = sorted(items[0].pictures)
        chance = random.Random(f"{seed} {voter}")
        self.trials = [
            Trial(item, tuple(chance.sample(self.systems, len(self.systems))))
            for item in chance.sample(items, len(items))
        ]
        pictures = {name: _fingerprint([i.pictures[name] for i in items]) for name in self.systems}
        self._keep_header({"question": question, "seed": seed, "pictures": pictures})
        self.votes = self.all_votes().get(voter, [])
        order = [trial.item.name for trial in self.trials[: len(self.votes)]]
        if [vote.item for vote in self.votes] != order:
            raise ValueError(
                f"the votes of '{voter}' in {path} are not on the first items of its order, each "
                f"once: two commands wrote them at once, or a line was moved. Choose another file."
            )

    @property
    def current(self) -> Trial | None:
        """What is to be judged next; None once all is."""
        return self.trials[len(self.votes)] if len(self.votes) < len(self.trials) else None

    def vote(self, side: int | None) -> None:
        """Prefer the current trial's system on this side, from 0; None: no difference.

        Raises ValueError for another side and after the last trial.
        """
        trial = self.current
        if trial is None or side not in (None, *range(len(self.systems))):
            raise ValueError(
                f"a side is 0 to {len(self.systems) - 1} or None, while anything is left to judge; "
                f"got {side} with {len(self.votes)} of {len(self.trials)} judged."
            )
        preferred = None if side is None else trial.sides[side]
        seen = {"voter": self.voter, "item": trial.item.name, "sides": trial.sides}
        self._append(seen | {"preferred": preferred})
        self.votes.append(Vote(trial.item.name, preferred))

    def undo(self) -> None:
        """Take the last vote back, if there is one."""
        if self.votes:
            self._append({"voter": self.voter, "undone": self.votes[-1].item})
            self.votes.pop()

    def all_votes(self) -> dict[str, list[Vote]]:
        """The file's votes by voter, less those taken back. Raises ValueError for other lines."""
        found: dict[str, list[Vote]] = {}
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines()[1:], 2):
            try:
                row = json.loads(line)
                own = found.setdefault(row["voter"], [])
                if "undone" in row:
                    own.pop()
                elif row["preferred"] in (None, *self.systems):
                    own.append(Vote(row["item"], row["preferred"]))
                else:
                    raise ValueError(f"no system is called {row['preferred']}")
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise ValueError(
                    f"line {number} of {self.path} is no vote of this study ({error!r}): mend it, "
                    f"or choose another file."
                ) from error
        return found

    def table(self) -> tuple[Table, str]:
        """Each system's share of all votes with its interval, the most preferred first, and what
        it rests on, in words."""
        found = self.all_votes()
        votes = [vote for own in found.values() for vote in own]
        return preference_table(votes, self.systems), (
            f"{self.question} Votes: {len(votes)}, voters: {sum(map(bool, found.values()))}, "
            f"items: {len({vote.item for vote in votes})}. The intervals are Wilson's, for as many "
            f"independent votes as there are items, since several votes on one are alike."
        )

    def _keep_header(self, header: dict[str, Any]) -> None:
        if not self.path.is_file() or not self.path.stat().st_size:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append({"study": header})
        content = self.path.read_bytes()
        try:
            before = json.loads(content.partition(b"\n")[0])["study"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is no file of votes; choose another.") from error
        if differing := "; ".join(differences(before, header)):
            raise ValueError(
                f"{self.path} holds the votes of another study: {differing}. Choose another file."
            )
        if not content.endswith(b"\n"):  # else somebody may have voted since it was read
            os.truncate(self.path, content.rfind(b"\n") + 1)

    def _append(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def preference_table(votes: Sequence[Vote], systems: Sequence[str]) -> Table:
    """Each system's votes and share of all votes with its 95 % interval, then what had none.

    The most preferred first. The interval is Wilson's for as many independent votes as there are
    items: several people's votes on one item are alike. Without votes there are no rows.
    """
    count = Counter(vote.preferred for vote in votes)
    items = len({vote.item for vote in votes})
    names: list[str | None] = [*sorted(systems, key=lambda name: -count[name]), None]
    rows = []
    for name in names if votes else []:
        share = count[name] / len(votes)
        low, high = share_interval(share, items)
        interval = f"{100 * low:.0f} to {100 * high:.0f} %"
        rows.append([name or NEITHER, str(count[name]), f"{100 * share:.0f} %", interval])
    return Table(["preferred", "votes", "share", "95 % interval"], rows)
