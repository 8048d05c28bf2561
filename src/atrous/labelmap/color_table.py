"""Label maps drawn in colours: which colour stands for which class.

A colour table is a text file with a line `NAME R G B` for each colour, parted by spaces, tabs, commas or semicolons;
NAME is a class or `void`. A class may have several colours, of which the first is drawn. The line `void * * *` makes
void of every colour that is not listed; without it such a pixel is an error. A first line `name r g b` is a heading.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.errors import InputError
from atrous.image_io.decode import decode
from atrous.labelmap._lines import LONGEST_NAME, read_lines
from atrous.labelmap.voc_colormap import VOID

VOID_NAME = "void"
_EXPECTED = "lines such as 'sky 128 128 128', a class and its red, green and blue"

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ColourTable:
    """The class id of each colour.

    Attributes
    ----------
    ids : tuple of int
        A class id, or 255 for void, for each colour.
    colours : tuple of (red, green, blue)
        All different.
    others_void : bool
        Whether colours beside these are void, not mistakes.
    """

    ids: tuple[int, ...]
    colours: tuple[Colour, ...]
    others_void: bool = False

    def palette(self, classes: int) -> NDArray[np.uint8]:
        """Return the colour to draw each class in, (classes, 3) uint8: the first that stands for it."""
        return np.array([self.colours[self.ids.index(c)] for c in range(classes)], np.uint8)

    def read_labels(self, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
        """Read a label map drawn in these colours: a PNG of any 8-bit mode, taken as it looks.

        Returns
        -------
        (H, W) uint8
            Class ids, 255 void.

        Raises
        ------
        InputError
            The file cannot be decoded, is no PNG, has more than 8 bits a channel, or shows a colour that is not
            in the table; the message names the first such pixel and its colour.
        """
        image = decode(path, formats=("PNG",)).image
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{path}: a label map in colours has 8 bits a channel; got a picture of mode {image.mode}")
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
        labels = _id_of_colour(self).take(packed)
        if opaque is not None:
            labels[~opaque] = VOID
        if self.others_void:
            return labels
        unknown = labels == VOID
        voids = [_number(colour) for label, colour in zip(self.ids, self.colours, strict=True) if label == VOID]
        unknown[unknown] = ~np.isin(packed[unknown], voids)
        if opaque is not None:
            unknown |= ~opaque
        if unknown.any():
            y, x = divmod(int(unknown.argmax()), labels.shape[1])
            shown = f"{packed[y, x] & 255} {packed[y, x] >> 8 & 255} {packed[y, x] >> 16}"
            raise InputError(
                f"{path}: the pixel at x={x}, y={y} has the colour {shown}"
                f"{'' if opaque is None or opaque[y, x] else ' and is transparent'}, which is not in the colour table"
                f" ({int(unknown.sum())} such pixels); add it there, or the line '{VOID_NAME} * * *'"
            )
        return labels


def read_colour_table(
    path: str | os.PathLike[str], classes: tuple[str, ...] | None = None
) -> tuple[ColourTable, tuple[str, ...]]:
    """Read a colour table, for the format see the top of this module.

    Parameters
    ----------
    path
        The text file.
    classes : tuple of str, optional
        The names by id. If left out the table's own, in their order, are the classes.

    Returns
    -------
    ColourTable, and the classes.

    Raises
    ------
    InputError
        The file cannot be read, a line is not understood, names an unknown class or repeats a colour, or a class
        has no colour.
    """
    path = Path(path)
    names: list[str] = []
    colours: dict[Colour, int] = {}  # to the line
    others_void = False
    for number, line in enumerate(read_lines(path, _EXPECTED), 1):
        if not line:
            continue
        *words, red, green, blue = ["", "", "", *_words(line)]
        name = " ".join(word for word in words if word)
        channels = red, green, blue
        if number == 1 and tuple(c.lower() for c in channels) in (("r", "g", "b"), ("red", "green", "blue")):
            continue
        if name == VOID_NAME and channels == ("*", "*", "*"):
            others_void = True
            continue
        colour = _colour(channels)
        if not 0 < len(name) <= LONGEST_NAME or colour is None:
            raise InputError(f"{path}: line {number} is {line!r:.60}; expected {_EXPECTED}, 0 to 255 each")
        if colour in colours:
            raise InputError(f"{path}: line {number} repeats the colour of line {colours[colour]}; give it to one")
        colours[colour] = number
        names.append(name)
    if not names:
        raise InputError(f"{path}: no colour in it; expected {_EXPECTED}")
    if classes is None:
        classes = tuple(name for name in dict.fromkeys(names) if name != VOID_NAME)
    elif VOID_NAME in classes and VOID_NAME in (*names, *([VOID_NAME] if others_void else [])):
        raise InputError(f"{path}: '{VOID_NAME}' stands for no class here, but is one on the class list; rename that")
    ids = {_key(name): c for c, name in enumerate(classes)}
    for name, number in zip(names, colours.values(), strict=True):
        if name != VOID_NAME and name not in ids:
            raise InputError(f"{path}: line {number} names {name!r:.60}, which is not on the class list")
    if len(classes) > VOID:
        raise InputError(f"{path}: {len(classes)} classes; expected up to {VOID}, as {VOID} is void")
    there = set(names)
    if missing := [name for name in classes if _key(name) not in there]:
        raise InputError(f"{path}: the class {missing[0]!r:.60} has no colour; add a line for it")
    table = ColourTable(tuple(VOID if n == VOID_NAME else ids[n] for n in names), tuple(colours), others_void)
    return table, classes


def _words(line: str) -> list[str]:
    return line.replace(",", " ").replace(";", " ").replace('"', " ").split()


def _key(name: str) -> str:
    return " ".join(_words(name))


def _colour(channels: tuple[str, str, str]) -> Colour | None:
    if not all(c.isascii() and c.isdigit() and len(c) <= 3 and int(c) <= 255 for c in channels):
        return None
    red, green, blue = map(int, channels)
    return red, green, blue


def _packed(image: Image.Image) -> NDArray[np.uint32]:
    """Each pixel's red, green and blue as one number, red lowest, (H, W) uint32."""
    # Four channels are one 32-bit number a pixel; the fourth is masked out.
    rgba = np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))
    return rgba.view("<u4")[..., 0] & np.uint32(0xFFFFFF)


def _number(colour: Colour) -> int:
    red, green, blue = colour
    return red | green << 8 | blue << 16


@lru_cache(maxsize=2)
def _id_of_colour(table: ColourTable) -> NDArray[np.uint8]:
    """Each of the 2^24 colours' id, 16 MB; void where there is none."""
    ids = np.full(1 << 24, VOID, np.uint8)
    ids[[_number(colour) for colour in table.colours]] = table.ids
    return ids
