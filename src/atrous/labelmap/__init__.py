"""Label maps: colors, files, overlays, regions and outlines."""

from atrous.labelmap.class_names import class_id, display_name, is_background
from atrous.labelmap.color_table import ColorTable, read_color_table
from atrous.labelmap.outlines import coco, coco_annotations, polygons, run_lengths
from atrous.labelmap.overlay import overlay, overlay_jpeg, overlay_palette
from atrous.labelmap.png import SOFTWARE, label_png, made_here, png_bytes, read_labels, stored_key, write_labels
from atrous.labelmap.regions import connected_regions, remove_small_regions
from atrous.labelmap.voc_colormap import VOID, voc_palette

__all__ = [
    "SOFTWARE",
    "VOID",
    "ColorTable",
    "class_id",
    "coco",
    "coco_annotations",
    "connected_regions",
    "display_name",
    "is_background",
    "label_png",
    "made_here",
    "overlay",
    "overlay_jpeg",
    "overlay_palette",
    "png_bytes",
    "polygons",
    "read_color_table",
    "read_labels",
    "remove_small_regions",
    "run_lengths",
    "stored_key",
    "voc_palette",
    "write_labels",
]
