"""Jobs of `atrous segment`: inputs, output names, and detection of complete outputs."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from json import dumps
from pathlib import Path

from ..errors import InputError, as_input_error, installation
from .fetch import STDIN, file_name, is_web_address

_FULL = (errno.ENOSPC, errno.EDQUOT)

COCO = "coco.json"  # regions of all images of a run

_MOST_KINDS = 5  # kinds of skipped files in a note


@dataclass(frozen=True)
class Job:
    """An image or a video, and the name of its outputs.

    Attributes
    ----------
    path : Path
        The file; a file name for an image that is not a file.
    name : Path
        Relative to the output folder and without suffix.
    address : str
        Web address, or "-" for standard input, of an image that is not a file.
    """

    path: Path
    name: Path
    address: str = ""

    @property
    def label(self) -> str:
        """The input in messages."""
        return "standard input" if self.address == STDIN else self.address or str(self.path)

    @property
    def is_video(self) -> bool:
        """Whether the file is a video."""
        from ..image_io import VIDEO_SUFFIXES

        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_jobs(
    paths: Iterable[str],
    out: Path,
    fail: Callable[[str], None],
    note: Callable[[str], None],
    *,
    cutout: bool = False,
) -> Iterator[Job]:
    """Yield a job for each image and video.

    Parameters
    ----------
    paths : iterable of str
        Files, folders, web addresses, or "-" for standard input.
    out : Path
        Output folder; its files are no inputs.
    fail : callable
        Called with a line for each path that is none of these, and for each folder that has no images or cannot be
        read completely.
    note : callable
        Called with a line for each folder in which files are skipped.
    cutout : bool
        Whether cut-outs are written; that of `a` and the mask of `a.cutout` have the same name.

    Raises
    ------
    InputError
        If two inputs would have outputs of the same name.
    """
    from ..image_io import VIDEO_SUFFIXES

    found: dict[str, tuple[Path, Path, str]] = {}  # path, path below the output folder, address

    for given in paths:
        path = Path(given)
        if given == STDIN or is_web_address(given):
            name = Path("stdin" if given == STDIN else file_name(given))
            if name.suffix.lower() in VIDEO_SUFFIXES:
                fail(f"{given}: expected a photo, got a video; download it first")
                continue
            found.setdefault(given, (name, name, given))
        elif (problem := _problem(path)) is not None:
            fail(f"{given}: {problem}")
        elif path.is_dir():
            for image in _images_of(path, out, fail, note):
                found.setdefault(str(_real(image)), (image, image.relative_to(path), ""))
        else:
            found.setdefault(str(_real(path)), (path, Path(path.name), ""))
    stems = Counter(_lower(relative.with_suffix("")) for _, relative, _ in found.values())
    taken: dict[str, str] = {}  # label by name
    for path, relative, address in found.values():
        job = Job(path, relative.with_suffix("") if stems[_lower(relative.with_suffix(""))] == 1 else relative, address)
        for ending in ("", ".cutout") if cutout else ("",):
            if (other := taken.setdefault(_lower(job.name) + ending, job.label)) != job.label:
                raise InputError(
                    f"{job.label}: its outputs would have the names of those of {other}; rename one of the two, or"
                    " segment them into different folders (--out)"
                )
        yield job


def _images_of(folder: Path, out: Path, fail: Callable[[str], None], note: Callable[[str], None]) -> list[Path]:
    from ..image_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    unreadable: list[OSError] = []
    skipped: Counter[str] = Counter()
    images = images_below(folder, out, unreadable.append, skipped)
    if unreadable:
        first = f"{unreadable[0].filename}: cannot be read ({unreadable[0].strerror})"
        fail(first + (f", and {len(unreadable) - 1:,} more folders" if len(unreadable) > 1 else ""))
    if not images:
        looked_for = ", ".join(sorted(IMAGE_SUFFIXES) + sorted(VIDEO_SUFFIXES))
        there = f"; skipped {_counts(skipped)}" if skipped else ""
        fail(f"{folder}: expected images or videos in this folder, found none of {looked_for}{there}")
    elif skipped:
        note(f"{folder}: skipped {_counts(skipped)}")
    return images


def _counts(skipped: Counter[str]) -> str:
    """Return the kinds of skipped files with their numbers, the most frequent first."""
    kinds = [f"{kind} ({count:,})" for kind, count in skipped.most_common(_MOST_KINDS)]
    if rest := skipped.total() - sum(count for _, count in skipped.most_common(_MOST_KINDS)):
        kinds.append(f"others ({rest:,})")
    remedy = f"; to read HEIC: {installation('heif')}" if skipped.keys() & {".heic", ".heif"} else ""
    return ", ".join(kinds) + remedy


def images_below(
    folder: Path, out: Path, unreadable: Callable[[OSError], None], skipped: Counter[str] | None = None
) -> list[Path]:
    """Return images and videos in a folder and its subfolders, without outputs of this command and hidden files.

    Parameters
    ----------
    folder : Path
    out : Path
        Output folder. Inside `folder`, it is skipped as a whole; outputs beside the images are detected by their
        headers.
    unreadable : callable
        Called with the error of each folder that cannot be listed.
    skipped : Counter, optional
        Counts the other files by suffix, and links that are not followed.
    """
    from ..data import files_below
    from ..image_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    top, results = _real(folder), _real(out)
    inside = results != top and results.is_relative_to(top)
    skipped = Counter() if skipped is None else skipped
    images = []
    for path in files_below(folder, unreadable, links=True):
        if inside and _real(path).is_relative_to(results):
            continue
        if not path.is_file():  # never opened: a pipe would wait for a writer
            skipped[_kind(path)] += 1
        elif path.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES or _is_script(path):
            if path.name != COCO and not path.name.endswith(".probabilities.npy"):
                skipped[path.suffix.lower() or "no suffix"] += 1
        elif not _made_here(path):
            images.append(path)
    return sorted(images)


def _kind(path: Path) -> str:
    """Return what a path that is no regular file is."""
    if path.is_dir():
        return "links to folders"
    return "pipes and devices" if path.exists() else "broken links"


def unfinished(
    jobs: list[Job], is_unfinished: Callable[[Job], bool], fail: Callable[[str], None]
) -> tuple[list[Job], list[Job]]:
    """Return the unfinished jobs and the finished ones; report impossible ones to `fail`."""
    todo: list[Job] = []
    done: list[Job] = []
    for job in jobs:
        try:
            (todo if is_unfinished(job) else done).append(job)
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
    """Return whether to write the outputs of an image; raise InputError if they would replace other files.

    Outputs of standard input are always written, because each run may read another image.
    """
    from ..segmenter import output_files, outputs_missing

    targets = output_files(
        (out / job.name).parent, job.name.name, overlay=overlay, probabilities=probabilities, cutout=cutout
    )
    for target in targets:
        with as_input_error(target, remedy="; rename the photo"):
            if file_keys([target]) & inputs:
                raise InputError(f"{target}: is an input and would be replaced; choose another --out")
            if target.is_dir():
                raise InputError(
                    f"{target}: expected a file or nothing, got a folder; move it away or choose another --out"
                )
    return overwrite or outputs_missing(targets, again=job.address == STDIN)


def older_outputs(jobs: Iterable[Job], out: Path, *, overlay: bool, probabilities: bool, cutout: bool) -> list[Path]:
    """Return the existing outputs of the images that a run with these outputs does not replace."""
    from ..segmenter import output_files

    found = []
    for job in jobs:
        files = partial(output_files, (out / job.name).parent, job.name.name)
        new = files(overlay=overlay, probabilities=probabilities, cutout=cutout)
        found += [path for path in files(overlay=True, probabilities=True, cutout=True) if path not in new]
    return [path for path in found if path.exists()]


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


def _problem(path: Path) -> str | None:
    """Return the problem with a given path, or None."""
    try:
        path.stat()
    except FileNotFoundError:
        return "no such file or folder"
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


def failure_line(job: Job, out: Path, error: Exception) -> str:
    """Return a line with the reason why a job failed."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or out / job.name}: cannot be written ({error.strerror or error})"
    if isinstance(error, MemoryError):
        kind = "video" if job.is_video else "photo"
        return f"{job.label}: not enough memory for a {kind} of this size; scale it down first"
    return f"{job.label}: {error}"


def ends_run(error: Exception) -> bool:
    """Return whether the next job would fail, too, because the disk or the user's quota is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def report_line(image: str | Path, found: str, seconds: float, reduction: int = 1) -> str:
    """Return a line with an image, its classes from `listed_classes`, the time, and the block size of a reduced CRF."""
    reduced = f", CRF on means of {reduction} x {reduction} pixels" if reduction > 1 else ""
    return f"{image}: {found} ({seconds:.2f} s{reduced})"


def listed_classes(shares: dict[str, float], nothing: str = "nothing it knows") -> str:
    """Return the classes with their shares, without the background; `nothing` if there are none."""
    from ..labelmap import display_name, is_background

    listed = ", ".join(
        f"{display_name(name)} {f'{100 * share:.1f}' if share >= 0.0005 else '<0.1'} %"
        for name, share in shares.items()
        if not is_background(name)
    )
    return listed or nothing


def empty_cutout(shares: dict[str, float], cutout: Sequence[str]) -> str:
    """Return a note if no class of a cut-out was found, else "". Without classes, all but the background count."""
    from ..labelmap import display_name, is_background

    wanted = {display_name(name) for name in cutout} or {
        display_name(name) for name in shares if not is_background(name)
    }
    if wanted.intersection(map(display_name, shares)):
        return ""
    return f"no {' or '.join(cutout) or 'object'} found, so the cut-out is empty"


def json_line(found: Mapping[str, object], shares: dict[str, float], seconds: float) -> str:
    """Return a line of JSON with an input's outputs, the shares of its classes, and the time."""
    rounded = {name: round(share, 6) for name, share in shares.items()}
    return dumps({**found, "shares": rounded, "seconds": round(seconds, 3)}, ensure_ascii=True)
