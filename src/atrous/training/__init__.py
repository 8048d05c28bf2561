"""Training of the networks (Chen et al. 2015, sections 3 and 5; needs the extra "train")."""

from .config import RECIPES, Recipe, RunOptions, read_recipe
from .train import train

__all__ = ["RECIPES", "Recipe", "RunOptions", "read_recipe", "train"]
