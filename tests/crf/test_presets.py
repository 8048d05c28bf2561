import pytest

from atrous.crf import PRESETS


@pytest.mark.parametrize(
    ("name", "weight", "sxy", "srgb"),
    [  # the released models' parameters
        ("deeplab", 5, 50, 10),
        ("deeplab-msc", 3, 95, 3),
        ("deeplab-largefov", 4, 121, 5),
        ("deeplab-msc-largefov", 4, 83, 5),
        ("deeplab-coco-largefov", 5, 69, 5),
        ("deeplab-msc-coco-largefov", 4, 59, 5),
    ],
)
def test_released_parameters(name, weight, sxy, srgb):
    spatial, bilateral = PRESETS[name]
    assert (spatial.weight, spatial.sxy) == (3, 3)
    assert (bilateral.weight, bilateral.sxy, bilateral.srgb) == (weight, sxy, srgb)


def test_no_preset_is_untested():
    assert len(PRESETS) == 6
