"""Training of the networks (Chen et al. 2015, sections 3 and 5; needs the extra "train")."""

from .. import network  # noqa: F401  # first: it names the extra if PyTorch is missing
from .checkpoint import checkpoint_folder
from .config import RECIPES, Recipe, RunOptions, parsed_setting, read_recipe
from .train import train

__all__ = ["RECIPES", "Recipe", "RunOptions", "checkpoint_folder", "parsed_setting", "read_recipe", "train"]
