"""What is written of a part: a PNG for each photo, one parquet file, or one tar."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InputError
from ..palette.labels import label_png, read_labels
from .inputs import one_line
from .job import Job
from .records import RECEIPT, Planned, receipt_name, shown
from .state import part_name
from .storage import OF_A_NAME, Storage
from .tables import parquet_bytes
from .tars import as_json, tar_bytes


class OutputError(InputError):
    """The output takes nothing more: the run has to stop."""


@dataclass(frozen=True)
class Outcome:
    """What became of a photo.

    Attributes
    ----------
    photo : Planned
    reason : str
        Why there is no mask; empty if there is one.
    height, width : int
    shares : (C,) float32
        Of the pixels, for each class.
    mask : bytes
        The mask as a PNG, if it is still to be written with the part.
    """

    photo: Planned
    reason: str = ""
    height: int = 0
    width: int = 0
    shares: NDArray[np.float32] | None = None
    mask: bytes = b""


class Writer:
    """Writes what becomes of photos.

    Parameters
    ----------
    job : Job
    output : Storage
    palette : sequence of (red, green, blue)
    """

    def __init__(self, job: Job, output: Storage, palette: tuple[tuple[int, int, int], ...]) -> None:
        self.job = job
        self.output = output
        self.palette = palette

    def finish(self, photo: Planned, labels: NDArray[np.uint8]) -> Outcome:
        """Encode a photo's mask, and write it if it gets a file of its own.

        Raises
        ------
        OutputError
        """
        mask = label_png(labels, self.palette)
        if self.job.settings.output == "png":
            try:
                self.output.write(f"{photo.key}.png", mask)
            except OSError as error:
                if error.errno not in OF_A_NAME:
                    raise self.stop(error) from None
                return Outcome(photo, f"its mask {photo.key}.png cannot be written ({one_line(error)})")
            except Exception as error:  # remote stores have errors of their own
                raise self.stop(error) from None
            mask = b""
        return Outcome(photo, "", labels.shape[0], labels.shape[1], self._shares(labels), mask)

    def found(self, photo: Planned) -> Outcome | None:
        """Return what became of a photo whose PNG an earlier attempt has written; None if it has not."""
        name = f"{photo.key}.png"
        if self.job.settings.output != "png" or not self.output.is_file(name):
            return None
        try:
            labels = read_labels(Path(self.output.path(name)) if self.output.local else self.output.read(name), name)
        except (InputError, OSError):
            return None
        return Outcome(photo, "", labels.shape[0], labels.shape[1], self._shares(labels))

    def close(self, part: int, outcomes: list[Outcome]) -> None:
        """Write the part's file if it has one, and then its receipt.

        Raises
        ------
        OutputError
        """
        done = [outcome for outcome in outcomes if not outcome.reason]
        kind = self.job.settings.output
        try:
            names = {f"{outcome.photo.key}.png" for outcome in done}
            if kind != "png" and done:
                content = self._table(done) if kind == "parquet" else self._tar(done)
                self.output.write(part_name(part, kind), content)
                names = {part_name(part, kind)}
            self.output.sync(names)
            self.output.write(receipt_name(part), parquet_bytes(_receipt(outcomes)))
        except Exception as error:
            raise self.stop(error) from None

    def _shares(self, labels: NDArray[np.uint8]) -> NDArray[np.float32]:
        counts = np.bincount(labels.ravel(), minlength=len(self.job.classes))[: len(self.job.classes)]
        return (counts / labels.size).astype(np.float32)

    def _table(self, done: Iterable[Outcome]) -> bytes:
        done = list(done)
        table = pa.table(
            {
                "key": [outcome.photo.key for outcome in done],
                "source": [shown(outcome.photo.entry.source) for outcome in done],
                "height": pa.array([outcome.height for outcome in done], pa.int32()),
                "width": pa.array([outcome.width for outcome in done], pa.int32()),
                "mask": pa.array([outcome.mask for outcome in done], pa.binary()),
                **share_columns(np.stack([_known(outcome) for outcome in done]), self.job.classes),
            }
        )
        return parquet_bytes(table)

    def _tar(self, done: Iterable[Outcome]) -> bytes:
        return tar_bytes((outcome.photo.key, self._sample(outcome)) for outcome in done)

    def _sample(self, outcome: Outcome) -> dict[str, bytes]:
        shares = {name: round(float(column[0]), 6) for name, column in self._shares_by_name(outcome).items()}
        about = {
            "key": outcome.photo.key,
            "source": shown(outcome.photo.entry.source),
            "height": outcome.height,
            "width": outcome.width,
            "shares": {name: share for name, share in shares.items() if share},
        }
        return {"png": outcome.mask, "json": as_json(about)}

    def _shares_by_name(self, outcome: Outcome) -> dict[str, NDArray[np.float32]]:
        return share_columns(_known(outcome)[None], self.job.classes)

    def stop(self, error: Exception) -> OutputError:
        """Return the error that ends the run."""
        return OutputError(f"{self.output.url}: cannot be written ({one_line(error)}); what is written is whole")


def share_columns(shares: NDArray[np.float32], classes: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    """Return (n, C) shares as columns called like the classes; one whose name is taken has its id added."""
    columns: dict[str, NDArray[np.float32]] = {}
    for i, name in enumerate(classes):
        taken = name in columns or name in ("key", "source", "height", "width", "mask")
        columns[f"{name} ({i})" if taken else name] = shares[:, i]
    return columns


def _receipt(outcomes: list[Outcome]) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "key": outcome.photo.key,
            "source": shown(outcome.photo.entry.source),
            "height": outcome.height,
            "width": outcome.width,
            "reason": shown(" ".join(outcome.reason.split())),
            "shares": None if outcome.shares is None else outcome.shares.tolist(),
        }
        for outcome in outcomes
    ]
    return pa.Table.from_pylist(rows, schema=RECEIPT)


def _known(outcome: Outcome) -> NDArray[np.float32]:
    assert outcome.shares is not None
    return outcome.shares
