"""`atrous refine`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from ..errors import InputError


def refine(
    image: Annotated[Path, typer.Argument(help="The photo.")],
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="PROBS",
            help="Any network's output: probabilities (C, H, W) or (H, W, C) as .npy, or an index PNG of labels.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the mask and its overlay.")] = Path("segmentation"),
    preset: Annotated[str | None, typer.Option(help="A released model's parameters, such as deeplab-largefov.")] = None,
    weight: Annotated[float | None, typer.Option(help="Of the bilateral kernel [4].")] = None,
    sxy: Annotated[float | None, typer.Option(help="Its standard deviation in pixels [121].")] = None,
    srgb: Annotated[float | None, typer.Option(help="Its standard deviation in grey values [5].")] = None,
    spatial_weight: Annotated[float | None, typer.Option(help="Of the spatial kernel [3].")] = None,
    spatial_sxy: Annotated[float | None, typer.Option(help="Its standard deviation in pixels [3].")] = None,
    iterations: Annotated[int, typer.Option(help="Mean field steps.")] = 10,
    normalization: Annotated[str, typer.Option(help="after, symmetric, before or none.")] = "after",
    confidence: Annotated[
        float | None, typer.Option(help="For an index PNG: how sure its labels are, above 1 / classes and under 1.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.")] = None,
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write photo.overlay.jpg too.")] = True,
    probabilities: Annotated[bool, typer.Option(help="Write photo.probabilities.npy (float16) too.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace outputs that exist.")] = False,
) -> None:
    """Sharpen any network's output with the fully connected CRF alone."""
    from ..crf import Bilateral, DenseCRF, Spatial
    from ..crf.kernels import Kernel
    from ..crf.presets import resolve
    from ..data.images import read_image
    from ..data.metadata import VOC_CLASSES
    from ..palette import voc_palette
    from ..segmenter import Segmentation
    from .segment import Job, outputs

    existing = [p for p in outputs(out, Job(image, Path(image.stem)), overlay, probabilities) if p.exists()]
    if existing and not overwrite:
        raise InputError(f"{existing[0]}: exists; give --overwrite to replace it, or another --out")
    # Options take the place of the preset's values, one by one.
    spatial, bilateral = resolve(preset or "deeplab-largefov")
    assert isinstance(spatial, Spatial)
    assert isinstance(bilateral, Bilateral)
    kernels: list[Kernel] = [
        Spatial(
            weight=spatial.weight if spatial_weight is None else spatial_weight,
            sxy=spatial.sxy if spatial_sxy is None else spatial_sxy,
        ),
        Bilateral(
            weight=bilateral.weight if weight is None else weight,
            sxy=bilateral.sxy if sxy is None else sxy,
            srgb=bilateral.srgb if srgb is None else srgb,
        ),
    ]
    photo = read_image(image)
    given = read_probabilities(labels, photo.shape[:2], confidence)
    crf = DenseCRF(
        photo,
        kernels,
        iterations=iterations,
        normalization=normalization,  # type: ignore[arg-type]  # checked there
        threads=threads,
    )
    count = len(given)
    names = VOC_CLASSES if count == len(VOC_CLASSES) else tuple(f"class {c}" for c in range(count))
    colours = tuple((int(r), int(g), int(b)) for r, g, b in voc_palette(count))
    result = Segmentation(photo, crf(given), names, colours, image)
    mask = result.save(out, overlay=overlay, probabilities=probabilities)
    typer.echo(f"{mask}: {', '.join(f'{n} {100 * s:.1f}%' for n, s in result.shares().items())}")


def read_probabilities(path: Path, shape: tuple[int, int], confidence: float | None) -> NDArray[np.float32]:
    """Read what is known of each pixel's label, as (C, H, W) probabilities.

    Parameters
    ----------
    path : Path
        .npy with probabilities (C, H, W) or (H, W, C), or an index PNG; in the PNG 255 means unknown.
    shape : (H, W)
        Of the photo.
    confidence : float or None
        Probability of the PNG's labels; the rest is shared by the other labels. 0.7 if None.

    Raises
    ------
    InputError
        If the file cannot be read or does not fit the photo.
    """
    if path.suffix.lower() == ".npy":
        if confidence is not None:
            raise InputError(f"--confidence {confidence}: is for an index PNG, not for probabilities ({path})")
        return _fitted(_load(path), path, shape)
    from ..palette import read_labels

    ids = read_labels(path)
    if ids.shape != shape:
        raise InputError(f"{path}: {_size(ids.shape)}, but the photo is {_size(shape)}; they have to be of one size")
    return probabilities_from_labels(ids, 0.7 if confidence is None else confidence, str(path))


def probabilities_from_labels(ids: NDArray[np.uint8], confidence: float, source: str) -> NDArray[np.float32]:
    """Give each label of (H, W) ids the probability `confidence`; pixels of id 255 are uniform."""
    known = ids != 255
    if not known.any():
        raise InputError(f"{source}: all pixels are 255 (unknown); there is nothing to refine")
    count = max(int(ids[known].max()) + 1, 2)
    if not 1 / count < confidence < 1:
        raise InputError(f"--confidence {confidence}: expected above {1 / count:.3g} (1 / classes) and under 1")
    out = np.full((count, *ids.shape), (1 - confidence) / (count - 1), np.float32)
    rows, columns = np.nonzero(known)
    out[ids[known], rows, columns] = confidence
    out[:, ~known] = 1 / count
    return out


def _load(path: Path) -> NDArray[np.generic]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected probabilities (C, H, W) or (H, W, C) saved by numpy.save")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not an array saved by numpy.save ({str(error).splitlines()[0]})") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: an archive of arrays; expected one array saved by numpy.save")
    return array


def _fitted(array: NDArray[np.generic], path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise InputError(f"{path}: holds {array.dtype}; expected probabilities as floats, from 0 to 1")
    first, last = array.ndim == 3 and array.shape[1:] == shape, array.ndim == 3 and array.shape[:2] == shape
    if not first and not last:
        h, w = shape
        raise InputError(f"{path}: shape {array.shape} does not fit the photo; expected (C, {h}, {w}) or ({h}, {w}, C)")
    if first and last and array.shape[0] != array.shape[2]:
        raise InputError(f"{path}: shape {array.shape} could be (C, H, W) or (H, W, C) of this photo; crop it")
    values = array.astype(np.float32)
    values = values if first else np.ascontiguousarray(values.transpose(2, 0, 1))
    if np.isnan(values).any():
        place = np.argwhere(np.isnan(values))[0]
        raise InputError(f"{path}: NaN at class {place[0]}, row {place[1]}, column {place[2]}; expected 0 to 1")
    if values.min() < 0 or values.max() > 1.001:
        raise InputError(
            f"{path}: values from {values.min():.3g} to {values.max():.3g}; expected probabilities, 0 to 1"
            " (of scores take the softmax first)"
        )
    return values


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"
