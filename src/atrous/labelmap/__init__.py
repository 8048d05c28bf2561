"""Label colors, label files and pictures of a segmentation."""

from atrous.labelmap.overlay import overlay
from atrous.labelmap.png import read_labels, write_labels
from atrous.labelmap.voc_colormap import voc_palette

__all__ = ["overlay", "read_labels", "voc_palette", "write_labels"]
