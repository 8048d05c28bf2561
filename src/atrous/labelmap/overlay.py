"""A picture of a segmentation: the photo, its regions colored, outlined and named."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from atrous.errors import InputError
from atrous.labelmap.png import SOFTWARE
from atrous.labelmap.voc_colormap import VOID, full_palette

GRID = 160  # cells along the longer side in which regions are found and names placed
SIZEABLE = 0.004  # share of the picture from which a region gets its name
SMALLEST_TEXT = 9  # pixels; below this a name cannot be read


def overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    palette: ArrayLike | None = None,
    *,
    opacity: float = 0.45,
    names: bool = True,
) -> Image.Image:
    """Draw labels over their photo.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    labels
        (H, W) uint8 ids. 0 is background and stays uncolored, as does void (255).
    classes
        The name of each id.
    palette
        (n, 3) colors; VOC's for ids beyond it. They are drawn lighter than in the mask, so that the
        photo shows through.
    opacity
        How much of a region's color covers the photo, 0 to 1.
    names
        Write each sizeable region's class on it, or beside it where it is small.
    """
    if image.shape != (*labels.shape, 3):
        raise InputError(f"labels {labels.shape} do not fit an image of shape {image.shape}")
    colors = lightened(full_palette(palette))
    objects = (labels != 0) & (labels != VOID)

    share = round(opacity * 256)
    photo = np.multiply(image, 256 - share, dtype=np.uint16)
    blended = (photo + np.multiply(colors[labels], share, dtype=np.uint16)) >> 8
    drawn = np.where(objects[..., None], blended, image).astype(np.uint8)

    width = max(1, round(max(labels.shape) / 500))
    border = _inner_border(labels, width) & objects
    drawn[border] = colors[labels[border]]
    drawn[_outer_border(labels, border, objects, width)] = 255

    picture = Image.fromarray(drawn)
    if names:
        _draw_names(picture, labels, classes, colors)
    return picture


def overlay_jpeg(picture: Image.Image) -> bytes:
    """Return an overlay as a JPEG, marked as made by this package."""
    content = io.BytesIO()
    # Full color resolution keeps the outlines crisp.
    picture.save(content, format="JPEG", quality=92, subsampling=0, comment=SOFTWARE)
    return content.getvalue()


def lightened(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colors, (n, 3) uint8, as an overlay draws them."""
    # VOC's colors are mostly half as bright as can be; the square root keeps them apart and lifts them.
    return np.rint(255 * np.sqrt(palette / 255)).astype(np.uint8)


def _inner_border(labels: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Pixels within `width` of a pixel with another label, along a row or a column."""
    border = np.zeros(labels.shape, dtype=bool)
    for axis in (0, 1):
        lines, found = np.moveaxis(labels, axis, 0), np.zeros(labels.shape, dtype=bool)
        near = np.moveaxis(found, axis, 0)
        changes = lines[1:] != lines[:-1]
        near[1:] |= changes
        near[:-1] |= changes
        # Doubled again and again: long photos have wide borders.
        reach = 1
        while reach < width:
            step = min(reach, width - reach)
            before = near.copy()
            near[step:] |= before[:-step]
            near[:-step] |= before[step:]
            reach += step
        border |= found
    return border


def _outer_border(
    labels: NDArray[np.uint8], border: NDArray[np.bool_], objects: NDArray[np.bool_], width: int
) -> NDArray[np.bool_]:
    """Background pixels that touch a region: a thin white line makes its edge visible on any photo."""
    return _inner_border(labels, width) & ~objects & (labels != VOID) & ~border


def _draw_names(
    picture: Image.Image, labels: NDArray[np.uint8], classes: Sequence[str], colors: NDArray[np.uint8]
) -> None:
    step = -(-max(labels.shape) // GRID)
    grid = labels[step // 2 :: step, step // 2 :: step]
    if grid.size == 0:
        return
    regions = connected_regions(grid)
    objects = (grid != 0) & (grid != VOID)
    taken = np.zeros(grid.shape, dtype=bool)
    draw = ImageDraw.Draw(picture)

    found, sizes = np.unique(regions[objects], return_counts=True)
    for index in np.argsort(-sizes, kind="stable"):
        if sizes[index] < SIZEABLE * grid.size:
            break
        label = int(grid.flat[found[index]])
        name = classes[label] if label < len(classes) else f"class {label}"
        for size in _text_sizes(max(picture.size)):
            font = ImageFont.load_default(size)
            margin = max(2, size // 4)
            left, _, right, _ = draw.textbbox((0, 0), name, font=font)
            ascent, descent = _metrics(font)
            box_width = int(np.ceil(right - left)) + 2 * margin
            box_height = ascent + descent + margin
            # one cell more than the box needs keeps it inside the picture when a cell is cut at its end
            cells = (-(-box_height // step), -(-box_width // step))
            if box_height > picture.height or box_width > picture.width:
                continue
            place = place_for_box(regions == found[index], objects, taken, *cells)
            if place is None:
                continue
            row, column = place
            taken[row : row + cells[0], column : column + cells[1]] = True
            x = min(column * step, picture.width - box_width)
            y = min(row * step, picture.height - box_height)
            fill = tuple(int(channel) for channel in colors[label])
            dark = 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] < 140
            draw.rounded_rectangle(
                (x, y, x + box_width - 1, y + box_height - 1),
                radius=margin,
                fill=fill,
                outline="white" if dark else "black",
                width=max(1, size // 16),
            )
            draw.text((x + margin - left, y + margin / 2), name, font=font, fill="white" if dark else "black")
            break


def _text_sizes(longer_side: int) -> list[int]:
    full = max(SMALLEST_TEXT, round(0.034 * longer_side))
    return sorted({full, max(SMALLEST_TEXT, round(0.7 * full)), SMALLEST_TEXT}, reverse=True)


def _metrics(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> tuple[int, int]:
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.getmetrics()
    return 11, 0  # Pillow built without FreeType has one small bitmap font


def connected_regions(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Number the 4-connected regions of equal labels.

    Each region is named by the smallest flat index among its pixels. That minimum is passed along whole
    runs of equal labels, along rows and columns in turn, until nothing changes.

    Examples
    --------
    >>> connected_regions(np.array([[1, 1, 0], [0, 1, 0]], dtype=np.uint8))
    array([[0, 0, 2],
           [3, 0, 2]])
    """
    region = np.arange(labels.size).reshape(labels.shape)
    row_runs, column_runs = _runs(labels), _runs(labels.T)
    while True:
        spread = _spread(_spread(region, *row_runs).T, *column_runs).T
        if np.array_equal(spread, region):
            return region
        region = spread


def _runs(labels: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    begins = np.ones(labels.shape, dtype=bool)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    return np.flatnonzero(begins), np.cumsum(begins).reshape(labels.shape) - 1


def _spread(region: NDArray[np.intp], starts: NDArray[np.intp], run: NDArray[np.intp]) -> NDArray[np.intp]:
    smallest: NDArray[np.intp] = np.minimum.reduceat(region.ravel(), starts)
    return smallest[run]


def box_sums(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Sum `values` (h, w) over every height x width box that lies inside: (h-height+1, w-width+1)."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    table[1:, 1:] = values.cumsum(0, dtype=np.float64).cumsum(1)
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    return sums.astype(np.float32)


def place_for_box(
    region: NDArray[np.bool_],
    objects: NDArray[np.bool_],
    taken: NDArray[np.bool_],
    height: int,
    width: int,
) -> tuple[int, int] | None:
    """Find where a name's box sits best: on its region if that is roomy, beside it if it is small.

    Parameters
    ----------
    region, objects, taken
        (h, w): the region to be named, all that is not background, and the boxes already placed.
    height, width
        The box, in cells of the same grid.

    Returns
    -------
    (row, column) of the box's first cell, the whole box inside the grid, or None where no place is free.
    """
    if height > region.shape[0] or width > region.shape[1]:
        return None
    area = height * width
    inside = box_sums(region.astype(np.float32), height, width)
    others = box_sums((objects & ~region).astype(np.float32), height, width) / area
    overlap = box_sums(taken.astype(np.float32), height, width) / area

    rows, columns = np.nonzero(region)
    row_offset = np.arange(inside.shape[0])[:, None] + height / 2 - (rows.mean() + 0.5)
    column_offset = np.arange(inside.shape[1])[None, :] + width / 2 - (columns.mean() + 0.5)
    distance = np.hypot(row_offset, column_offset) / np.hypot(*region.shape)

    hidden = inside / len(rows)
    merit = inside / area - 3 * hidden - others - 3 * distance
    merit = np.where(overlap > 0, -np.inf, merit)
    best = int(merit.argmax())
    if not np.isfinite(merit.flat[best]):
        return None
    row, column = divmod(best, merit.shape[1])
    return row, column
