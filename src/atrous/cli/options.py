"""Meaning of arguments that several commands share."""

from pathlib import Path

BUNDLED = "bundled"


def weights_path(given: Path) -> Path:
    """Return the path of a weights argument; the word "bundled" names the model that ships with the package."""
    from ..backends import bundled_model_path

    return bundled_model_path() if str(given) == BUNDLED else given
