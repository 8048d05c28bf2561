"""Fonts for class names in any script."""

import sys
import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_MISSING = "\U0010ffff"  # a character that no font has
_FOLDERS = {
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts",),
}
# Parts of the file names of sans-serif fonts with large character sets, which are tried first.
_PREFERRED = (
    "dejavusans.",
    "notosanscjk-regular",
    "notosans-regular",
    "arialuni",
    "arial.",
    "segoeui.",
    "msyh",
    "noto",
)


def font_for(text: str, size: int, otherwise: str) -> tuple[str, Font]:
    """Return the text to draw and a font that contains its characters.

    Pillow's own font contains Latin letters. For other characters the system's fonts are searched. If no font contains
    all of them, accents are removed; if that does not help, `otherwise` is returned.

    Parameters
    ----------
    text : str
    size : int
        Font size in pixels.
    otherwise : str
        ASCII text as a fallback.
    """
    for each in (text, _without_accents(text)):
        if each and (found := _font_with(frozenset(each), size)) and _lays_out(found, each):
            return each, found
    return otherwise, _default(size)


@lru_cache(maxsize=64)
def _font_with(characters: frozenset[str], size: int) -> Font | None:
    if characters <= set(map(chr, range(32, 127))) or _has(_default(size), characters):
        return _default(size)
    for path in _system_fonts():
        try:
            font = ImageFont.truetype(path, size)
            if _has(font, characters):
                return font
        except OSError:
            continue
    return None


@lru_cache(maxsize=16)
def _default(size: int) -> Font:
    return ImageFont.load_default(size)


def _has(font: Font, characters: frozenset[str]) -> bool:
    """Return whether a font draws each character differently from a missing one."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return False
    try:
        missing = bytes(font.getmask(_MISSING))
        return all(each.isspace() or bytes(font.getmask(each)) != missing for each in characters)
    except ValueError:  # of Pillow's layout engine, for some odd characters
        return False


def _lays_out(font: Font, text: str) -> bool:
    """Return whether Pillow's layout engine copes with a text; it fails for some odd ones."""
    try:
        font.getbbox(text)
    except (ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=1)
def _system_fonts() -> list[Path]:
    folders = [Path(folder).expanduser() for folder in _FOLDERS.get(sys.platform, _FOLDERS["linux"])]
    if (spec := find_spec("matplotlib")) and spec.origin:  # includes DejaVu Sans
        folders.append(Path(spec.origin).parent / "mpl-data/fonts/ttf")
    found = [path for folder in folders for path in sorted(folder.rglob("*.[tToO][tT][fFcC]"))]

    def rank(path: Path) -> int:
        name = path.name.lower()
        return next((i for i, part in enumerate(_PREFERRED) if name.startswith(part)), len(_PREFERRED))

    return sorted(found, key=rank)


def _without_accents(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().strip()
