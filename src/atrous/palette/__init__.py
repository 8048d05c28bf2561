"""Label colours, label files and pictures of a segmentation."""

from atrous.palette.colours import voc_palette
from atrous.palette.labels import read_labels, write_labels
from atrous.palette.overlay import overlay

__all__ = ["overlay", "read_labels", "voc_palette", "write_labels"]
