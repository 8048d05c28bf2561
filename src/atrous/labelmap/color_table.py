"""Color tables of label maps that are drawn in colors.

A color table is a text file with a line `NAME R G B` for each color, separated by spaces, tabs, commas or semicolons.
NAME is a class or void (see `is_void`). A class may have several colors; overlays use the first. The line `void * * *`
makes every unlisted color void; without it, unlisted colors are errors. A first line `name r g b` is a heading.
"""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from atrous._settings_files import LONGEST_NAME, read_json, read_lines
from atrous.errors import InputError
from atrous.image_io.decode import decode
from atrous.labelmap.class_names import display_name, is_void
from atrous.labelmap.voc_colormap import VOID

_EXPECTED = "lines such as 'sky 128 128 128', a class and its red, green and blue"

# A line of CVAT's labelmap.txt: name, color, parts and actions.
_CVAT = re.compile(r"^([^:]+):(\d+,\d+,\d+):[^:]*:[^:]*$")

Color = tuple[int, int, int]


@dataclass(frozen=True)
class ColorTable:
    """Mapping from colors to class ids.

    Attributes
    ----------
    ids : tuple of int
        Class id of each color, or 255 for void.
    colors : tuple of (red, green, blue)
        Distinct colors.
    others_void : bool
        Whether other colors are void instead of errors.
    """

    ids: tuple[int, ...]
    colors: tuple[Color, ...]
    others_void: bool = False

    def palette(self, classes: int, others: ArrayLike = ()) -> NDArray[np.uint8]:
        """Return the color of each class, (classes, 3) uint8: the first one in the table.

        Parameters
        ----------
        classes : int
            Number of classes.
        others : (n, 3), optional
            Colors by id, for classes that are not in the table. Needed for a table that is not `complete`.
        """
        first = dict(zip(reversed(self.ids), reversed(self.colors), strict=True))
        colors = np.asarray(others, np.uint8)
        return np.array([first[c] if c in first else colors[c] for c in range(classes)], np.uint8)

    def read_labels(self, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
        """Read a label map that is drawn in these colors: a PNG of any 8-bit mode.

        Returns
        -------
        (H, W) uint8
            Class ids, 255 void.

        Raises
        ------
        InputError
            If the file cannot be decoded, is not a PNG, has more than 8 bits per channel, or contains a color that is
            not in the table. The message names the first such pixel and its color.
        """
        image = decode(path, formats=("PNG",)).image
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{path}: expected a label map with 8 bits per channel, got an image of mode {image.mode}")
        opaque = None
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            alpha = np.asarray(rgba.getchannel("A"))
            opaque = None if alpha.min() == 255 else alpha == 255
            image = rgba
        return self._ids(_packed(image), opaque, path)

    def _ids(
        self, packed: NDArray[np.uint32], opaque: NDArray[np.bool_] | None, path: str | os.PathLike[str]
    ) -> NDArray[np.uint8]:
        labels = _id_of_color(self).take(packed)
        if opaque is not None:
            labels[~opaque] = VOID
        if self.others_void:
            return labels
        unknown = labels == VOID
        voids = [_number(color) for label, color in zip(self.ids, self.colors, strict=True) if label == VOID]
        unknown[unknown] = ~np.isin(packed[unknown], voids)
        if opaque is not None:
            unknown |= ~opaque
        if unknown.any():
            y, x = divmod(int(unknown.argmax()), labels.shape[1])
            shown = f"{packed[y, x] & 255} {packed[y, x] >> 8 & 255} {packed[y, x] >> 16}"
            raise InputError(
                f"{path}: expected colors of the color table, got {shown} at x={x}, y={y}"
                f"{'' if opaque is None or opaque[y, x] else ' (transparent)'}"
                f" ({int(unknown.sum())} such pixels); add it to the table, or the line 'void * * *'"
            )
        return labels


def read_color_table(
    path: str | os.PathLike[str], classes: tuple[str, ...] | None = None, *, complete: bool = True
) -> tuple[ColorTable, tuple[str, ...]]:
    """Read a color table. The module docstring describes the format.

    Parameters
    ----------
    path
        The text file.
    classes : tuple of str, optional
        Class names by id. Default: the names in the table, in their order.
    complete : bool
        Whether each class needs a color.

    Returns
    -------
    ColorTable, and the classes.

    Raises
    ------
    InputError
        If the file cannot be read, a line is invalid, names an unknown class or repeats a color, or a class without a
        color in a complete table.
    """
    path = Path(path)
    names: list[str] = []
    colors: dict[Color, int] = {}  # line number by color
    others_void = False
    lines = _lines_of_json(path) if path.suffix.lower() == ".json" else read_lines(path, _EXPECTED)
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and line.startswith("# label:")):
            continue
        line = _CVAT.sub(r"\1,\2", line)
        *words, red, green, blue = ["", "", "", *_words(line)]
        name = " ".join(word for word in words if word)
        channels = red, green, blue
        if number == 1 and tuple(c.lower() for c in channels) in (("r", "g", "b"), ("red", "green", "blue")):
            continue
        if is_void(name) and channels == ("*", "*", "*"):
            others_void = True
            continue
        color = _color(channels)
        if not 0 < len(name) <= LONGEST_NAME or color is None:
            raise InputError(f"{path}: expected {_EXPECTED}, 0 to 255 each, got {line!r:.60} in line {number}")
        if color in colors:
            raise InputError(f"{path}: line {number} repeats the color of line {colors[color]}; remove one")
        colors[color] = number
        names.append(name)
    if not names:
        raise InputError(f"{path}: expected {_EXPECTED}, got no color")
    if classes is None:
        classes = tuple(name for name in dict.fromkeys(names) if not is_void(name))
    ids = {_key(display_name(name)): c for c, name in enumerate(classes)}
    ids |= {_key(name): c for c, name in enumerate(classes)}  # a name takes precedence over another's display name
    for name, number in zip(names, colors.values(), strict=True):
        if not is_void(name) and name not in ids:
            raise InputError(f"{path}: line {number}: expected a name of the class list, got {name!r:.60}")
    if len(classes) > VOID:
        raise InputError(f"{path}: expected up to {VOID} classes, as id {VOID} is void, got {len(classes)}")
    there = {ids.get(name) for name in names}
    if complete and (missing := [name for c, name in enumerate(classes) if c not in there]):
        raise InputError(f"{path}: expected a color for class {missing[0]!r:.60}; add a line")
    table = ColorTable(tuple(ids.get(n, VOID) for n in names), tuple(colors), others_void)
    return table, classes


def _lines_of_json(path: Path) -> list[str]:
    """Return the lines of Supervisely's table, an object of colors by class; black is the background."""
    values = read_json(path, "an object with a color [R, G, B] for each class")
    if not isinstance(values, dict) or not all(isinstance(color, list) for color in values.values()):
        raise InputError(f"{path}: expected an object with a color [R, G, B] for each class")
    black = [] if [0, 0, 0] in values.values() else ["background,0,0,0"]
    return black + [",".join([" ".join(name.split()), *map(str, color)]) for name, color in values.items()]


def _words(line: str) -> list[str]:
    return line.replace(",", " ").replace(";", " ").replace('"', " ").split()


def _key(name: str) -> str:
    return " ".join(_words(name))


def _color(channels: tuple[str, str, str]) -> Color | None:
    if not all(c.isascii() and c.isdigit() and len(c) <= 3 and int(c) <= 255 for c in channels):
        return None
    red, green, blue = map(int, channels)
    return red, green, blue


def _packed(image: Image.Image) -> NDArray[np.uint32]:
    """Return each pixel's red, green and blue as one number, red in the lowest bits, (H, W) uint32."""
    # Four channels form a 32-bit number per pixel. The fourth one is masked out.
    rgba = np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))
    return rgba.view("<u4")[..., 0] & np.uint32(0xFFFFFF)


def _number(color: Color) -> int:
    red, green, blue = color
    return red | green << 8 | blue << 16


@lru_cache(maxsize=2)
def _id_of_color(table: ColorTable) -> NDArray[np.uint8]:
    """Return the ids of all 2^24 colors, 16 MB; void for unlisted colors."""
    ids = np.full(1 << 24, VOID, np.uint8)
    ids[[_number(color) for color in table.colors]] = table.ids
    return ids
