"""Label maps: colors, files, overlays, regions and outlines."""

from atrous.labelmap.outlines import coco, coco_annotations, polygons
from atrous.labelmap.overlay import overlay, overlay_palette
from atrous.labelmap.png import read_labels, write_labels
from atrous.labelmap.regions import connected_regions, remove_small_regions
from atrous.labelmap.voc_colormap import voc_palette

__all__ = [
    "coco",
    "coco_annotations",
    "connected_regions",
    "overlay",
    "overlay_palette",
    "polygons",
    "read_labels",
    "remove_small_regions",
    "voc_palette",
    "write_labels",
]
