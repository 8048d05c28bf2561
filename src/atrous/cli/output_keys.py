"""Keys that `atrous segment` stores in its outputs, to detect outputs of other inputs or settings."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from json import dumps
from pathlib import Path

from ..errors import as_input_error
from .fetch import STDIN
from .jobs import Job

_BLOCK = 1 << 14  # bytes


def output_keys(job: Job, settings: Sequence[object], cutout: Sequence[str] | None) -> dict[str, str]:
    """Return the keys of an input's outputs by suffix: a video's overlay, or an image's mask and its cut-out.

    A key is a hash of the settings and of the input: parts of its content, or its web address. Standard input has no
    key.
    """
    if job.address == STDIN:
        return {}
    source: str | None = job.address or None
    with suppress(OSError):  # reported when the input is read
        source = source or _fingerprint(job.path)
    if job.is_video:
        return {".overlay.mp4": _digest(source, *settings)}
    keys = {".png": _digest(source, *settings)}
    if cutout is not None:
        keys[".cutout.png"] = _digest(source, *settings, distinct(cutout))
    return keys


def made_otherwise(job: Job, out: Path, keys: Mapping[str, str]) -> bool:
    """Return whether a video's overlay, or an image's mask or the cut-out beside it, has another key.

    Files without a key, from older versions, are ignored, as is a cut-out without a mask, which a killed run may leave.
    """
    from ..labelmap import stored_key

    if job.is_video:
        from ..video import stored_key as of_video

        return any(of_video(out / f"{job.name}{suffix}") not in (None, key) for suffix, key in keys.items())
    if not (out / f"{job.name}.png").is_file():
        return False
    return any(stored_key(out / f"{job.name}{suffix}") not in (None, key) for suffix, key in keys.items())


def model_key(path: Path | None) -> tuple[str, list[str]]:
    """Return the name and fingerprints of a model: an exported file, a folder, or None for the bundled model."""
    from ..backends import bundled_model_path, model_files

    real = Path(os.path.realpath(bundled_model_path() if path is None else path))
    with as_input_error(path or real, "read", "; expected a model"):
        return real.name, sorted(map(_fingerprint, model_files(real)))


def distinct(classes: Iterable[str]) -> list[str]:
    """Return the distinct display names of classes, sorted, for keys."""
    from ..labelmap import display_name

    return sorted({display_name(name) for name in classes})


def _fingerprint(path: Path) -> str:
    """Return the size of a file and a hash of five evenly spaced blocks, which is fast for large files, too."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for quarter in range(5):
            file.seek(max(0, (size - _BLOCK) * quarter // 4))
            digest.update(file.read(_BLOCK))
    return f"{size} {digest.hexdigest()}"


def _digest(*values: object) -> str:
    return hashlib.sha256(dumps(values).encode()).hexdigest()[:16]
