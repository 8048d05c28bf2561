"""Defaults of the library and of the commands, which must not import NumPy to print their help."""

# Longest side for the network, in pixels.
MAX_SIDE = 513

# Limit on the image of the CRF. Above it, labels from means of 2 x 2 pixels hardly differ from those of each pixel, and
# take about half of the time and memory (docs/benchmarks.md).
MAX_CRF_PIXELS = 4_000_000
