"""The authors' trimap curves, to be drawn beside ours."""

# Of Chen et al. 2015 on the 1,449 images of VOC 2012 val, the basic model "DeepLab", at the half-widths of
# `trimap.WIDTHS`: from the authors' released evaluation. In per cent: mean IoU, pixel accuracy.
DEEPLAB_TRIMAP: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "DeepLab": ((39.14, 40.92, 45.51, 50.83, 56.42, 60.43), (59.76, 62.10, 67.88, 74.05, 80.09, 84.98)),
    "DeepLab-CRF": ((45.86, 47.79, 51.66, 55.68, 60.15, 63.67), (67.81, 69.84, 73.96, 78.20, 82.77, 86.86)),
}
