import pytest

av = pytest.importorskip("av", reason="av is not installed (extra video)")

from atrous.segmenter import Segmenter


@pytest.fixture(scope="session")
def segmenter(tiny_model):
    """The network alone: red above blue is red; a CRF would be small to no purpose."""
    return Segmenter(tiny_model, crf=None, threads=1)
