"""Keys of `atrous segment` in its outputs, which tell what they were made from."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from json import dumps
from pathlib import Path

from ..errors import InputError
from .fetch import STDIN
from .jobs import Job


def output_keys(job: Job, settings: Sequence[object], cutout: Sequence[str] | None) -> dict[str, str]:
    """Return the keys of an image's mask and its cut-out by suffix, for `Segmentation.save`.

    A key stands for the image, by its size or its web address, and for the settings. Standard input has no key.
    """
    if job.address == STDIN:
        return {}
    image: str | int | None = job.address or None
    with suppress(OSError):  # reported when the image is read
        image = image or job.path.stat().st_size
    made_from = {".png": [image, *settings]}
    if cutout is not None:
        made_from[".cutout.png"] = [image, *settings, distinct(cutout)]
    return {suffix: hashlib.sha256(dumps(values).encode()).hexdigest()[:16] for suffix, values in made_from.items()}


def made_otherwise(job: Job, out: Path, keys: Mapping[str, str]) -> bool:
    """Return whether an image's mask, or the cut-out beside it, has another key.

    Files without a key, as of older versions, do not count; nor does a cut-out without a mask, which a kill may leave.
    """
    from ..labelmap import stored_key

    if not (out / f"{job.name}.png").is_file():
        return False
    return any(stored_key(out / f"{job.name}{suffix}") not in (None, key) for suffix, key in keys.items())


def model_key(path: Path | None) -> tuple[str, int]:
    """Return the name and the size of a model: an exported file, a folder, or None for the bundled model."""
    from ..backends import bundled_model_path

    path = bundled_model_path() if path is None else path
    try:
        real = Path(os.path.realpath(path))
        files = [each for each in real.iterdir() if each.is_file()] if real.is_dir() else [real]
        return real.name, sum(file.stat().st_size for file in files)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected a model") from None


def distinct(classes: Iterable[str]) -> list[str]:
    """Return class names in one order and one spelling, for keys."""
    from ..labelmap import display_name

    return sorted({display_name(name) for name in classes})
