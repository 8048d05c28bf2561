"""Search of the CRF's parameters on labeled images (Chen et al. 2015, section 5.1)."""
