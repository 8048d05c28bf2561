"""The file coco.json of `atrous segment`."""

from collections.abc import Iterable, Sequence
from json import dumps, loads
from pathlib import Path

from ..errors import InputError, as_input_error
from .jobs import COCO, Job


def check_coco(out: Path, photos: Iterable[Job]) -> None:
    """Raise InputError if the existing coco.json has images besides `photos`, or was not written by atrous."""
    path = out / COCO
    try:
        content = loads(path.read_bytes())
        made_here = content["info"] == _info()
        lost = {str(image["file_name"]) for image in content["images"]} - {_name(job) for job in photos}
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); choose another --out") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        made_here, lost = False, set()
    if not made_here:
        raise InputError(
            f"{path}: exists and was not written by atrous; move it away, use --overwrite or choose another --out"
        )
    if lost:
        images = f"{len(lost):,} image{'' if len(lost) == 1 else 's'}"
        raise InputError(
            f"{path}: has {images} besides these photos, such as {min(lost)}; segment them together, use --overwrite or"
            " choose another --out"
        )


def write_coco(out: Path, photos: Iterable[Job], classes: Sequence[str]) -> None:
    """Write coco.json with the regions of all masks, including those of earlier runs."""
    from .._io import write_bytes
    from ..labelmap import coco, read_labels

    # The error of an image without a mask was reported earlier.
    masks = ((job, out / f"{job.name}.png") for job in photos)
    content = coco(((_name(job), read_labels(mask)) for job, mask in masks if mask.is_file()), classes)
    with as_input_error(out / COCO):
        write_bytes(out / COCO, dumps({"info": _info()} | content).encode())


def _name(job: Job) -> str:
    return (job.name.parent / job.path.name).as_posix()


def _info() -> dict[str, str]:
    from ..labelmap import SOFTWARE

    return {"description": SOFTWARE}
