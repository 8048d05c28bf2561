"""Learning (Chen et al. 2015, sections 3 and 5; needs the extra "train")."""
