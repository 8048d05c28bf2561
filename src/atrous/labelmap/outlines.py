"""Outlines of masks as polygons and as COCO annotations."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.labelmap.class_names import is_background
from atrous.labelmap.regions import connected_regions
from atrous.labelmap.voc_colormap import VOID


def polygons(mask: NDArray[np.bool_]) -> list[NDArray[np.int32]]:
    """Return the outlines of a binary mask along the edges of its pixels.

    Parameters
    ----------
    mask : (H, W) bool

    Returns
    -------
    list of (n, 2) int32
        Closed polygons of (x, y) corners, with x from 0 to W and y from 0 to H. Outer outlines are clockwise in the
        displayed image, outlines of holes counterclockwise. The nonzero fill rule reproduces the mask exactly.

    Examples
    --------
    >>> polygons(np.array([[False, True, True], [False, True, True]]))[0].tolist()
    [[1, 0], [3, 0], [3, 2], [1, 2]]
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Directed edges with the mask on their right: top edges point right, right edges down, and so on.
    inside, outside_above = padded[1:-1, 1:-1], ~padded[:-2, 1:-1]
    sides = (
        (outside_above, (0, 0), (1, 0)),
        (~padded[1:-1, 2:], (1, 0), (1, 1)),
        (~padded[2:, 1:-1], (1, 1), (0, 1)),
        (~padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for outside, (x0, y0), (x1, y1) in sides:
        rows, columns = np.nonzero(inside & outside)
        starts = zip((columns + x0).tolist(), (rows + y0).tolist(), strict=True)
        ends = zip((columns + x1).tolist(), (rows + y1).tolist(), strict=True)
        for start, end in zip(starts, ends, strict=True):
            following.setdefault(start, []).append(end)
    found = []
    # Starting in reading order puts outer outlines before their holes.
    for start in sorted(following, key=lambda corner: corner[::-1]):
        while following[start]:
            found.append(_corners(_loop(following, start)))
    return found


def coco(label_maps: Iterable[tuple[str, NDArray[np.uint8]]], classes: Sequence[str]) -> dict[str, Any]:
    """Return label maps as COCO's detection format, which the module `json` can write.

    Parameters
    ----------
    label_maps : iterable of (str, (H, W) uint8)
        The file name of each image, and its class ids.
    classes : sequence of str
        Class names by id.

    Returns
    -------
    dict
        `images`, `annotations` (see `coco_annotations`) and `categories`, whose ids are the class ids.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, labels in label_maps:
        height, width = labels.shape
        images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
        for found in coco_annotations(labels, classes):
            annotations.append({"id": len(annotations) + 1, "image_id": len(images), **found})
    categories = [{"id": i, "name": name} for i, name in enumerate(classes) if i or not is_background(name)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_annotations(labels: NDArray[np.uint8], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return COCO annotations of a label map, one for each connected region.

    Background and void are omitted. A region is encoded as a polygon, or as uncompressed run lengths if it has holes,
    which COCO's polygons do not support.

    Parameters
    ----------
    labels : (H, W) uint8
    classes : sequence of str
        Class names by id.

    Returns
    -------
    list of dict
        Dictionaries with `category_id` (the class id), `segmentation`, `area` in pixels, `bbox` (x, y, width, height)
        and `iscrowd` 0, without `id` and `image_id`.
    """
    width = labels.shape[1]
    regions = connected_regions(labels)
    # The pixels of each region, one after the other: a search of the whole map for each would take too long.
    order = np.argsort(regions, axis=None, kind="stable")
    found = []
    for pixels in np.split(order, np.cumsum(np.bincount(regions.ravel()))[:-1]):
        label = int(labels.flat[pixels[0]])
        if label == VOID or (label == 0 and len(classes) and is_background(classes[0])):
            continue
        rows, columns = np.divmod(pixels, width)
        top, left = int(rows.min()), int(columns.min())
        mask = np.zeros((int(rows.max()) + 1 - top, int(columns.max()) + 1 - left), bool)
        mask[rows - top, columns - left] = True
        outlines = polygons(mask)
        segmentation: Any
        if len(outlines) == 1:
            segmentation = [(outlines[0] + (left, top)).ravel().tolist()]
        else:
            whole = np.zeros(labels.shape, bool)
            whole[rows, columns] = True
            segmentation = run_lengths(whole)
        bbox = [left, top, mask.shape[1], mask.shape[0]]
        found.append(
            {"category_id": label, "segmentation": segmentation, "area": len(rows), "bbox": bbox, "iscrowd": 0}
        )
    return found


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Return COCO's uncompressed run lengths of a mask, column by column, starting with a run of False.

    Examples
    --------
    >>> run_lengths(np.array([[True, False], [True, True]]))
    {'size': [2, 2], 'counts': [0, 2, 1, 1]}
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _loop(following: dict[tuple[int, int], list[tuple[int, int]]], start: tuple[int, int]) -> list[tuple[int, int]]:
    """Remove a closed loop of edges from `following`, the edges by their first corner."""
    loop = [start]
    corner = following[start].pop()
    while corner != start:
        before = loop[-1]
        loop.append(corner)
        ways = following[corner]
        if len(ways) == 1:
            corner = ways.pop()
            continue
        # Two pixels of the mask touch at this corner. Turning right stays at the same pixel.
        dx, dy = corner[0] - before[0], corner[1] - before[1]
        right = corner[0] - dy, corner[1] + dx
        ways.remove(right)
        corner = right
    return loop


def _corners(loop: list[tuple[int, int]]) -> NDArray[np.int32]:
    """Remove the points of a loop between two edges of the same direction."""
    points = np.array(loop, np.int32)
    steps = np.diff(points, axis=0, append=points[:1])
    return points[(steps != np.roll(steps, 1, axis=0)).any(axis=1)]
