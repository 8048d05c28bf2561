"""Which version of this package it is."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Return the installed version of this package; "unknown" where it runs from a source tree."""
    try:
        return version("atrous")
    except PackageNotFoundError:
        return "unknown"
