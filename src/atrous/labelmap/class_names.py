"""Display names of classes."""

# Display names of VOC's classes whose names lack a space.
_SPACED = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}
_BACKGROUND = frozenset({"background", "_background_", "bg"})


def display_name(name: str) -> str:
    """Return a class name with spaces.

    Examples
    --------
    >>> display_name("diningtable"), display_name("traffic_light")
    ('dining table', 'traffic light')
    """
    return _SPACED.get(name, name.strip("_").replace("_", " ")) or name


def is_background(name: str) -> bool:
    """Return whether a class is the background: its name is `background`, `_background_` or `bg`."""
    return name.strip().lower() in _BACKGROUND
