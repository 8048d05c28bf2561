"""DeepLab for Python: a VGG-16 made dense by the hole algorithm, sharpened by a fully connected CRF."""
