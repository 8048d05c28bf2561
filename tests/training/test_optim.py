import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.errors import InputError
from atrous.network.deeplab import DeepLab
from atrous.training.config import RECIPES, Recipe
from atrous.training.optim import learning_rate, make_optimizer, parameter_groups, set_lr


def test_poly_rate():
    recipe = Recipe(learning_rate=1e-3, policy="poly", power=0.9, iterations=10)
    rates = [learning_rate(step, recipe) for step in range(10)]
    assert rates[0] == 1e-3
    assert rates[5] == pytest.approx(1e-3 * 0.5**0.9)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0


def test_the_papers_steps():
    paper = RECIPES["paper"]
    rates = [learning_rate(step, paper) for step in (0, 1999, 2000, 3999, 4000, 5999)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_the_branches_classifiers_learn_as_fc8():
    with torch.device("meta"):
        net = DeepLab(multiscale=True)
    groups = {g["name"]: g["multiplier"] for g in parameter_groups(net, RECIPES["msc"])}
    assert groups["branches.pool4.layer1.weight"] == 1
    assert groups["branches.image.classifier.weight"] == 10
    assert groups["branches.image.classifier.bias"] == 20


def test_the_papers_multipliers():
    with torch.device("meta"):
        net = DeepLab()
    groups = {g["name"]: (g["multiplier"], g["weight_decay"]) for g in parameter_groups(net, RECIPES["paper"])}
    assert len(groups) == 32
    assert groups["conv1_1.weight"] == (1, 5e-4)
    assert groups["conv1_1.bias"] == (2, 0)
    assert groups["fc7.weight"] == (1, 5e-4)
    assert groups["fc8.weight"] == (10, 5e-4)
    assert groups["fc8.bias"] == (20, 0)


def test_frozen_layers_have_no_rate():
    with torch.device("meta"):
        net = DeepLab()
    recipe = RECIPES["cpu"]
    net.freeze_through(recipe.frozen)
    optimizer = make_optimizer(net, recipe)
    set_lr(optimizer, 1e-4)
    rates = {g["name"]: g["lr"] for g in optimizer.param_groups}
    assert "conv3_3.weight" not in rates
    assert rates["conv4_1.weight"] == pytest.approx(1e-4)
    assert rates["fc6.weight"] == pytest.approx(5e-4)


def test_a_multiplier_of_no_layer_is_an_error():
    with torch.device("meta"):
        net = DeepLab()
    with pytest.raises(InputError, match="fc_8"):
        parameter_groups(net, Recipe(multipliers={"fc_8": 10.0}))
    # One of a layer that is frozen is no mistake.
    net.freeze_through("conv2")
    assert parameter_groups(net, Recipe(multipliers={"conv1": 2.0, "fc8": 10.0}))
