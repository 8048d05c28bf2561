"""Learning (Chen et al. 2015, sections 3 and 5; needs the extra "train")."""

from .. import network as network  # first of all: it says in one line which extra is missing
