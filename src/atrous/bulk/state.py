"""What is done, what is missing, and whether an earlier run may be continued."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ..errors import InputError
from .config import Output, Settings
from .manifest import IMPOSSIBLE, Planned, read_plans, read_receipts, receipt_name
from .naming import assigned, folded
from .sources import Entry, Listing
from .storage import Storage

MOST_PHOTOS = 256  # of a part, unless told otherwise: what a killed worker has to do again is not much more
PARTS_PER_ACTOR = 8  # where there are fewer photos: so many end the run evenly


@dataclass
class State:
    """How far an output has come.

    Attributes
    ----------
    photos : list of Planned
        Of all plans, oldest first.
    plans : int
        Their number.
    receipts : dict of int to table
    """

    photos: list[Planned]
    plans: int
    receipts: dict[int, pa.Table]

    @classmethod
    def read(cls, output: Storage, kind: Output) -> "State":
        """Read the records; receipts of parts whose file is gone are removed."""
        photos, plans = read_plans(output)
        receipts = read_receipts(output)
        if kind != "png":
            there = {name for name, _ in output.walk() if "/" not in name} if receipts else set()
            full = {part for part, table in receipts.items() if "" in table["reason"].to_pylist()}
            for part in {part for part in full if part_name(part, kind) not in there}:
                output.remove(receipt_name(part))
                del receipts[part]
        return cls(photos, plans, receipts)

    def reasons(self) -> dict[str, tuple[Planned, str | None]]:
        """Return for each source its latest place and why it failed there; "": it is done; None: not tried yet."""
        found: dict[str, tuple[Planned, str | None]] = {}
        by_part = {part: iter(table["reason"].to_pylist()) for part, table in self.receipts.items()}
        for photo in self.photos:
            if photo.part == IMPOSSIBLE:
                found[photo.entry.source] = photo, photo.entry.reason
            elif photo.part in by_part:
                found[photo.entry.source] = photo, next(by_part[photo.part])
            else:
                found[photo.entry.source] = photo, None
        return found

    def missing_parts(self) -> dict[int, list[Planned]]:
        """Return the parts without a receipt."""
        missing: dict[int, list[Planned]] = {}
        for photo in self.photos:
            if photo.part != IMPOSSIBLE and photo.part not in self.receipts:
                missing.setdefault(photo.part, []).append(photo)
        return missing

    def new_photos(self, listing: Listing, settings: Settings, output: Storage) -> list[tuple[Entry, str]]:
        """Return the photos that have to be dealt out, with their keys.

        New ones, ones to be tried again, and ones whose mask is gone.

        Raises
        ------
        InputError
            If a photo that is done, or is about to be, is another one now.
        """
        known = self.reasons()
        gone = self._lost_masks(known, output) if settings.output == "png" else set()
        fresh: list[Entry] = []
        again: list[tuple[Entry, str]] = []
        for entry in listing.entries:
            if entry.source not in known:
                fresh.append(entry)
                continue
            photo, reason = known[entry.source]
            changed = entry.stamp != photo.entry.stamp
            if photo.part == IMPOSSIBLE:
                if (changed or settings.retry_errors) and not entry.reason:
                    fresh.append(entry)
            elif reason:
                if changed or (settings.retry_errors and not entry.reason):
                    again.append((entry, photo.key))
            elif entry.source in gone:
                again.append((entry, photo.key))
            elif changed and (reason == "" or listing.kind != "photos"):
                raise InputError(
                    f"{entry.source}: has changed since {output.url} was begun (size and time, or ETag, were"
                    f" {photo.entry.stamp}, are {entry.stamp}); choose another output folder"
                )
        taken = {folded(photo.key) for photo in self.photos if photo.part != IMPOSSIBLE}
        for entry, (key, free) in zip(fresh, assigned([entry.name for entry in fresh], taken), strict=True):
            clash = "" if free else f"another photo is called {key} too; rename one of them"
            again.append((replace(entry, reason=entry.reason or clash), key))
        return again

    def deal(self, photos: list[tuple[Entry, str]], size: int) -> list[Planned]:
        """Deal photos out to new parts of `size`, and add them."""
        part = 1 + max((photo.part for photo in self.photos), default=IMPOSSIBLE)
        possible = [(entry, key) for entry, key in photos if not entry.reason]
        dealt = [Planned(entry, key, part + i // size) for i, (entry, key) in enumerate(possible)]
        dealt += [Planned(entry, key, IMPOSSIBLE) for entry, key in photos if entry.reason]
        self.photos += dealt
        return dealt

    def _lost_masks(self, known: dict[str, tuple[Planned, str | None]], output: Storage) -> set[str]:
        done = {source: photo for source, (photo, reason) in known.items() if reason == ""}
        if not done:
            return set()
        there = {name for name, _ in output.walk(hidden=True)}  # a key may begin with a dot
        return {source for source, photo in done.items() if f"{photo.key}.png" not in there}


def part_name(part: int, kind: Output) -> str:
    """Return the name of a part's parquet file or tar below the output."""
    return f"part-{part:06}.{kind}"


def part_size(settings: Settings, photos: int, actors: int) -> int:
    """Return how many photos a part has."""
    return settings.part or max(1, min(MOST_PHOTOS, photos // (actors * PARTS_PER_ACTOR)))


def check_agrees(output: Storage, earlier: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise InputError, naming what differs, if an output was begun with other settings.

    Only what decides about the masks and their names counts.
    """
    differs = [
        f"{name} {_value(earlier.get(name))}, not {_value(now[name])}"
        for name in now
        if name not in FREE and _compared(earlier.get(name)) != _compared(now[name])
    ]
    if differs:
        raise InputError(f"{output.url}: was begun with {'; '.join(differs)}; choose another output folder")


# Written down to be known, free to change.
FREE = frozenset({"atrous", "classes"})


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f"{value.get('name')} (sha256 {str(value.get('sha256'))[:12]})"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else str(value)


def _compared(value: object) -> object:
    return value.get("sha256") if isinstance(value, dict) else value


def failures(state: State, listed: Iterable[Entry]) -> list[tuple[str, str, str]]:
    """Return key, source and reason of the photos of the input that have failed, in its order."""
    known = state.reasons()
    found = ((entry.source, *known[entry.source]) for entry in listed if entry.source in known)
    return [(photo.key, source, reason) for source, photo, reason in found if reason]
