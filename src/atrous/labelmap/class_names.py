"""Display names of classes."""

from collections.abc import Sequence

from atrous.errors import InputError

# Display names of VOC's classes whose names lack a space.
_SPACED = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}
_VOID = frozenset({"void", "unlabeled", "unlabelled", "ignore"})
_BACKGROUND = frozenset({"background", "_background_", "bg"})


def display_name(name: str) -> str:
    """Return a class name with spaces.

    Examples
    --------
    >>> display_name("diningtable"), display_name("traffic_light")
    ('dining table', 'traffic light')
    """
    return _SPACED.get(name, name.strip("_").replace("_", " ")) or name


def class_id(name: str, classes: Sequence[str]) -> int:
    """Return the id of a class by its name, with or without the spaces of `display_name`.

    Raises
    ------
    InputError
        If the name is not among the classes.
    """
    for names in (list(classes), [display_name(each) for each in classes]):
        if name in names:
            return names.index(name)
    raise InputError(f"class {name!r}: expected one of {', '.join(classes)}")


def is_background(name: str) -> bool:
    """Return whether a class is the background: its name is `background`, `_background_` or `bg`."""
    return name.strip().lower() in _BACKGROUND


def is_void(name: str) -> bool:
    """Return whether a name in a class list means void: `void`, `unlabeled` or `ignore`, also as `__ignore__`."""
    return name.strip(" _").lower() in _VOID
