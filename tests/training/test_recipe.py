import dataclasses

import pytest

from atrous.errors import InputError
from atrous.training.recipe import RECIPES, Recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_survives_its_dictionary(recipe):
    assert Recipe.from_dict(recipe.as_dict()) == recipe


def test_an_unknown_key_is_an_error():
    with pytest.raises(InputError, match="'learningrate'.*learning_rate"):
        Recipe.from_dict({"learningrate": 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 320}, "crop=320.*321 is nearest"),
        ({"crop": 200}, "crop=200.*193 is nearest"),
        ({"batch": 0}, "batch=0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"optimizer": "adam"}, "optimizer='adam'.*'adamw'"),
    ],
)
def test_mistakes_say_what_would_do(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(RECIPES["paper"], **change)


def test_the_paper_recipe_is_the_papers():
    paper = RECIPES["paper"]
    assert (paper.crop, paper.batch, paper.iterations) == (321, 20, 6000)
    assert (paper.learning_rate, paper.momentum, paper.weight_decay) == (1e-3, 0.9, 5e-4)
    assert (paper.dropout, paper.frozen, paper.clip_norm) == (0.5, None, None)
