"""Jobs of `atrous segment`: inputs, output names, and detection of complete outputs."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True)
class Job:
    """An image or a video, and the name of its outputs, relative to the output folder and without suffix."""

    path: Path
    name: Path


def find_jobs(paths: list[Path], out: Path, fail: Callable[[str], None]) -> Iterator[Job]:
    """Yield a job for each image and video; report other paths and folders without images to `fail`."""
    from ..image_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    found: dict[Path, Path] = {}  # place below the output folder, with suffix, by path
    seen: set[Path] = set()

    def add(image: Path, place: Path) -> None:
        if (real := _real(image)) not in seen:
            seen.add(real)
            found[image] = place

    for path in paths:
        if (trouble := _trouble(path)) is not None:
            fail(f"{path}: {trouble}")
        elif path.is_dir():
            images = images_below(path, out, fail)
            if not images:
                looked_for = ", ".join(sorted(IMAGE_SUFFIXES) + sorted(VIDEO_SUFFIXES))
                fail(f"{path}: expected images or videos in this folder, found none of {looked_for}")
            for image in images:
                add(image, image.relative_to(path))
        else:
            add(path, Path(path.name))
    stems = Counter(_lower(place.with_suffix("")) for place in found.values())
    taken: set[str] = set()
    for image, place in found.items():
        name = place.with_suffix("") if stems[_lower(place.with_suffix(""))] == 1 else place
        if _lower(name) in taken:
            fail(f"{image}: another photo has the name {place}, too; segment them into different folders (--out)")
            continue
        taken.add(_lower(name))
        yield Job(image, name)


def images_below(folder: Path, out: Path, fail: Callable[[str], None]) -> list[Path]:
    """Return images and videos in a folder and its subfolders, without outputs of this command and hidden files.

    Folders that cannot be listed are reported to `fail`.
    """
    from ..data import files_below
    from ..image_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    # An output folder inside is skipped as a whole. Outputs beside the images are detected by their headers.
    top, results = _real(folder), _real(out)
    inside = results != top and results.is_relative_to(top)
    return sorted(
        path
        for path in files_below(folder, lambda error: fail(f"{error.filename}: cannot be read ({error.strerror})"))
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
        and path.is_file()
        and not _is_script(path)
        and not (inside and _real(path).is_relative_to(results))
        and not _made_here(path)
    )


def unfinished(
    jobs: list[Job], is_unfinished: Callable[[Job], bool], fail: Callable[[str], None]
) -> tuple[list[Job], int]:
    """Return the unfinished jobs and the number of finished ones; report impossible ones to `fail`."""
    todo, done = [], 0
    for job in jobs:
        try:
            if is_unfinished(job):
                todo.append(job)
            else:
                done += 1
        except InputError as error:
            fail(str(error))
    return todo, done


def image_unfinished(
    job: Job,
    out: Path,
    inputs: set[tuple[int, int]],
    *,
    overlay: bool,
    probabilities: bool,
    overwrite: bool,
    cutout: bool = False,
) -> bool:
    """Return whether outputs of an image are missing; raise InputError if they would replace other files."""
    from ..segmenter import output_files, outputs_missing

    targets = output_files(
        (out / job.name).parent, job.name.name, overlay=overlay, probabilities=probabilities, cutout=cutout
    )
    for target in targets:
        try:
            if file_keys([target]) & inputs:
                raise InputError(f"{target}: is an input and would be replaced; choose another --out")
            if target.is_dir():
                raise InputError(
                    f"{target}: expected a file or nothing, got a folder; move it away or choose another --out"
                )
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror or error}); rename the photo") from None
    return overwrite or outputs_missing(targets)


def file_keys(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Return the device and inode numbers of the files that exist, which identify them under any name."""
    keys = set()
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = path.stat()
            keys.add((status.st_dev, status.st_ino))
    return keys


def check_out(out: Path) -> None:
    """Raise InputError if a folder is not writable, before the work starts."""
    from .._io import written

    try:
        if out.exists() or out.is_symlink():
            with written(b"", out):
                pass
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error}); expected a folder") from None


def _trouble(path: Path) -> str | None:
    """Return the problem with a given path, or None."""
    try:
        path.stat()
    except FileNotFoundError:
        is_address = path.parts and path.parts[0].lower() in ("http:", "https:")
        return "web addresses are not supported; download the photo first" if is_address else "no such file or folder"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _real(path: Path) -> Path:
    """Return the target of a path; a circular link is its own target."""
    try:
        return Path(os.path.realpath(path))
    except OSError as error:  # the working folder was deleted
        raise InputError(f"{path}: cannot be found from the working folder ({error.strerror or error})") from None


def _is_script(path: Path) -> bool:
    """Return whether a file called .ts or .mts is TypeScript and no MPEG transport stream."""
    if path.suffix.lower() not in (".ts", ".mts"):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(5)
    except OSError:
        return False
    return b"G" not in (head[:1], head[4:])  # the sync byte, which cameras put behind a time code of 4 bytes


def _made_here(path: Path) -> bool:
    from ..image_io import VIDEO_SUFFIXES
    from ..labelmap import made_here

    if path.suffix.lower() in VIDEO_SUFFIXES:
        return path.stem.lower().endswith(".overlay")
    return made_here(path)


def _lower(path: Path) -> str:
    # Some file systems treat Photo.png and photo.png as the same file.
    return path.as_posix().lower()


def report_line(image: Path, shares: dict[str, float], seconds: float) -> str:
    """Return a line with an image, its classes with their shares of the pixels, and the time."""
    return f"{image}: {things(shares)} ({seconds:.2f} s)"


def things(shares: dict[str, float]) -> str:
    """Return the classes with their shares, without the background."""
    from ..labelmap import display_name, is_background

    listed = ", ".join(
        f"{display_name(name)} {f'{100 * share:.1f}' if share >= 0.0005 else '<0.1'} %"
        for name, share in shares.items()
        if not is_background(name)
    )
    return listed or "nothing it knows"


def reduction_line(image: Path, reduction: int) -> str:
    """Return a note for an image whose CRF was computed at reduced size."""
    return (
        f"note: {image}: too noisy for a CRF of each pixel in limited memory; computed on means of"
        f" {reduction} x {reduction} pixels"
    )
