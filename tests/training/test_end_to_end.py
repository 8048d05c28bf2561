import dataclasses
import json

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from torch.nn import functional as F

from atrous import Segmenter
from atrous.crf import Bilateral, Spatial
from atrous.data.metadata import CrfParameters
from atrous.errors import InputError
from atrous.meanfield import DenseCRFLayer
from atrous.network.deeplab import DeepLab
from atrous.network.weights import read_tensors
from atrous.training import checkpoint
from atrous.training.config import RECIPES, RunOptions
from atrous.training.end_to_end import EndToEnd, build, split
from atrous.training.optim import make_optimizer
from atrous.training.train import train

SMALL = {"crop": 33, "batch": 2, "iterations": 4, "frozen": "conv4", "precision": "float32"}
RECIPE = RECIPES["end-to-end"].changed({**SMALL, "crf_steps": 2})
COARSE = dataclasses.replace(RECIPE, crf_stride=8)
CRF = CrfParameters(weight=2, sxy=16, srgb=8, spatial_weight=1, spatial_sxy=3, normalization="symmetric")
RUN = RunOptions(workers=0, save_every=2, threads=1)


def images(count=2, side=33):
    torch.manual_seed(1)
    return torch.rand(count, 3, side, side) * 200 - 100


@pytest.fixture
def net(narrow_network):
    torch.manual_seed(0)
    return DeepLab(classes=3).eval()


def test_the_crf_refines_upsampled_scores(net):
    x = images()
    layer = DenseCRFLayer(
        [Spatial(weight=1, sxy=3), Bilateral(weight=2, sxy=16, srgb=8)],
        labels=3,
        iterations=2,
        normalization="symmetric",
    )
    colors = (x + torch.tensor([104.008, 116.669, 122.675])[:, None, None]).round()
    expected = layer(F.interpolate(net(x), (33, 33), mode="bilinear", align_corners=True), colors)
    model = EndToEnd(net, RECIPE)
    model.set_crf(CRF)
    assert torch.allclose(model(x), expected, atol=1e-6)
    assert not torch.allclose(model(x), EndToEnd(net, RECIPE)(x), atol=1e-3)


def test_at_stride_8_the_kernels_shrink_with_the_grid(net):
    model = EndToEnd(net, COARSE, CRF)
    spatial, bilateral = model.crf.kernels
    assert (spatial.sxy, bilateral.sxy, bilateral.srgb) == pytest.approx((3 / 8, 2, 8))
    assert model(images()).shape == (2, 3, 5, 5)
    assert model.crf_parameters == CRF


@pytest.mark.parametrize("recipe", [RECIPE, COARSE])
def test_padding_does_not_change_the_scores_inside(net, recipe):
    whole = images()
    padded = whole.clone()
    padded[0, :, 17:], padded[0, :, :, 25:] = 0, 0
    model = EndToEnd(net, recipe, CRF)
    stride = recipe.target_stride
    rows, columns = 16 // stride + 1, 24 // stride + 1
    found = model(padded)
    scores = F.interpolate(net(padded), found.shape[2:], mode="bilinear", align_corners=True)
    colors = (padded[:1, :, :17:stride, :25:stride] + torch.tensor([104.008, 116.669, 122.675])[:, None, None]).round()
    alone = model.crf(scores[:1, :, :rows, :columns], colors)
    assert torch.equal(found[:1, :, :rows, :columns], alone)
    assert not found[0, :, rows:].any()
    assert not found[0, :, :, columns:].any()
    assert torch.allclose(found[1], model(whole)[1], atol=1e-6)


def test_setting_the_crf_keeps_the_parameters(net):
    model = EndToEnd(net, dataclasses.replace(RECIPE, crf_sigmas=True))
    before = list(model.parameters())
    model.set_crf(CRF)
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    found = model.crf_parameters
    numbers = found.weight, found.sxy, found.srgb, found.spatial_weight, found.spatial_sxy
    assert numbers == pytest.approx((2, 16, 8, 1, 3), rel=1e-6)
    assert found.normalization == model.crf.normalization == "symmetric"


def test_weights_stay_at_0_or_above(net):
    model = EndToEnd(net, RECIPE, CRF)
    with torch.no_grad():
        model.crf.weights[1].fill_(-0.5)
    model(images())
    assert model.crf_parameters.weight == 0


def test_the_learning_rate_of_the_weights_is_higher(narrow_network):
    groups = {group["name"]: group for group in make_optimizer(build(RECIPE, 3), RECIPE).param_groups}
    assert groups["crf.weights.0"]["multiplier"] == 1000
    assert groups["crf.weights.0"]["weight_decay"] == 0
    assert groups["net.fc8.weight"]["multiplier"] == 5
    assert "crf.log_sxy.0" not in groups
    fast = dataclasses.replace(RECIPE, multipliers={"crf": 7.0})
    assert make_optimizer(build(fast, 3), fast).param_groups[-1]["multiplier"] == 7


@pytest.mark.parametrize("recipe", [RECIPE, dataclasses.replace(COARSE, crf_sigmas=True)])
def test_network_and_crf_are_trained_and_resume_with_the_same_bits(tmp_path, dataset, vgg, monkeypatch, recipe):
    samples = dataset.read("train")
    run = dataclasses.replace(RUN, validation=samples, evaluate_every=4)
    whole = train(tmp_path / "whole", samples, recipe, dataset, start=vgg, options=run)
    real = checkpoint.save

    def save_then_die(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "halves", samples, recipe, dataset, start=vgg, options=run)
    monkeypatch.setattr(checkpoint, "save", real)
    resumed = train(tmp_path / "halves", samples, recipe, dataset, start=vgg, options=run)
    for name in (checkpoint.MODEL, checkpoint.CRF, checkpoint.OPTIMIZER):
        one, two = read_tensors(whole / name), read_tensors(resumed / name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)

    crf = json.loads((whole / "state.json").read_text())["crf"]
    assert 3.9 < crf["weight"] < 4.1
    assert crf["weight"] != 4
    assert (crf["sxy"] == 121) != recipe.crf_sigmas
    segmenter = Segmenter.from_pretrained(whole)
    assert dataclasses.asdict(segmenter.crf) == crf
    (row,) = (tmp_path / "whole" / "evaluations.csv").read_text().splitlines()[1:]
    assert row.startswith("4,")


def test_a_run_begins_with_the_crf_of_its_checkpoint(tmp_path, dataset, vgg):
    samples = dataset.read("train")
    first = train(
        tmp_path / "first", samples, dataclasses.replace(RECIPE, crf_steps=0), dataset, start=vgg, options=RUN
    )
    state = json.loads((first / "state.json").read_text())
    assert "crf" not in state
    (first / "state.json").write_text(json.dumps(state | {"crf": dataclasses.asdict(CRF)}))
    one = dataclasses.replace(RECIPE, iterations=1)
    second = train(tmp_path / "second", samples, one, dataset, start=first, options=RUN)
    crf = json.loads((second / "state.json").read_text())["crf"]
    assert (crf["sxy"], crf["srgb"], crf["normalization"]) == (16, 8, "symmetric")
    assert crf["weight"] == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("wrong", [{"crf_steps": -1}, {"crf_steps": 101}, {"crf_stride": 2}, {"crf_sigmas": 3}])
def test_settings_out_of_range(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        RECIPE.changed(wrong)


def test_a_network_alone_has_no_crf(narrow_network):
    net = build(dataclasses.replace(RECIPE, crf_steps=0), 3)
    assert isinstance(net, DeepLab)
    assert split(net) == (net, None)
