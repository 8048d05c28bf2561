from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from torch.nn import functional as F

from atrous.network.decimation import channel_subset, decimate, tap_positions
from atrous.network.variants import VARIANTS


def test_the_papers_taps():
    assert tap_positions(7, 7) == [0, 1, 2, 3, 4, 5, 6]
    assert tap_positions(7, 4) == [0, 2, 4, 6]
    assert tap_positions(7, 3) == [0, 3, 6]
    assert tap_positions(3, 3) == [0, 1, 2]
    assert tap_positions(7, 5) is None
    assert tap_positions(3, 4) is None


def test_decimation_by_eye():
    numbered = torch.arange(49.0).reshape(1, 1, 7, 7)
    three = [[0, 3, 6], [21, 24, 27], [42, 45, 48]]
    four = [[0, 2, 4, 6], [14, 16, 18, 20], [28, 30, 32, 34], [42, 44, 46, 48]]
    assert decimate(numbered, 3).squeeze().tolist() == three
    assert decimate(numbered, 4).squeeze().tolist() == four
    assert decimate(numbered, 7).equal(numbered)
    assert decimate(numbered, 5) is None
    assert decimate(numbered[..., :6], 3) is None


@settings(deadline=None, max_examples=50)
@given(taps=st.integers(1, 40), kept=st.integers(1, 40))
def test_kept_taps_are_even_and_reach_both_ends(taps, kept):
    positions = tap_positions(taps, kept)
    if positions is None:
        assert kept == 1 or kept > taps or (taps - 1) % (kept - 1)
    else:
        assert (positions[0], positions[-1], len(positions)) == (0, taps - 1, kept)
        assert len({b - a for a, b in pairwise(positions)}) <= 1


@pytest.mark.parametrize("name", ["deeplab-7x7", "deeplab-4x4", "deeplab-largefov"])
def test_with_its_hole_a_kept_tap_meets_what_it_met_in_the_dense_vgg(name):
    """The full 7x7 filter at hole 4, its dropped taps at 0, against the decimated filter at the variant's hole."""
    row = VARIANTS[name]
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 3, 7, 7, generator=generator)
    image = torch.randn(1, 3, 33, 33, generator=generator)
    masked = torch.zeros_like(weight)
    kept = tap_positions(7, row.kernel)
    for y in kept:
        masked[:, :, y, kept] = weight[:, :, y, kept]
    full = F.conv2d(image, masked, padding=12, dilation=4)
    decimated = F.conv2d(image, decimate(weight, row.kernel), padding=row.padding, dilation=row.dilation)
    assert torch.allclose(decimated, full, atol=1e-4)


def test_every_fourth():
    assert channel_subset(16, 4, "fourth", torch.Generator()).tolist() == [0, 4, 8, 12]
    assert channel_subset(4096, 1024, "fourth", torch.Generator()).tolist() == list(range(0, 4096, 4))


@settings(deadline=None, max_examples=50)
@given(channels=st.integers(1, 300), data=st.data(), seed=st.integers(0, 2**32))
def test_random_channels_are_distinct_and_told_by_the_seed(channels, data, seed):
    kept = data.draw(st.integers(1, channels))
    first, again = (channel_subset(channels, kept, "random", torch.Generator().manual_seed(seed)) for _ in range(2))
    assert first.equal(again)
    assert len(first) == kept
    assert (first.diff() > 0).all()
    assert 0 <= first.min() <= first.max() < channels


def test_another_seed_draws_other_channels():
    a, b = (channel_subset(4096, 1024, "random", torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not a.equal(b)
