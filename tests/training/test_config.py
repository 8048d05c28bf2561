import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.errors import InputError
from atrous.training.config import RECIPES, Recipe, parsed_setting, read_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_dictionary_and_its_file(name, tmp_path):
    recipe = RECIPES[name]
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert read_recipe(str(tmp_path / "recipe.toml")) == recipe
    assert read_recipe(name) == recipe


def test_a_file_changes_the_recipe_that_it_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('recipe = "cpu"\ncrop = 321\nscales = [0.5, 1]\nclip_norm = "none"\n[multipliers]\nfc8 = 20\n')
    expected = {"crop": 321, "scales": (0.5, 1.0), "clip_norm": None, "multipliers": {"fc8": 20.0}}
    assert read_recipe(str(path)) == dataclasses.replace(RECIPES["cpu"], **expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop = ", r"mine\.toml: .*TOML"),
        ("crops = 321", r"mine\.toml: .*crop.*'crops'"),
        ("crop = 320", r"mine\.toml: crop=320: expected 8 k - 7"),
        ('recipe = "gpu"', r"mine\.toml: recipe: .*paper.*'gpu'"),
        ('recipe = ["cpu"]', r"mine\.toml: recipe: .*paper.*\['cpu'\]"),
        ("[crop]\nside = 1", r"mine\.toml: crop=\{'side': 1.0\}: expected a whole number"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(str(path))


def test_no_such_recipe_or_file(tmp_path):
    with pytest.raises(InputError, match=r"recipe: .*paper.*'fast'"):
        read_recipe("fast")
    with pytest.raises(InputError, match=r"none\.toml: "):
        read_recipe(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    "key", ["learning_rate", "seed", "crop", "clip_norm", "scales", "multipliers", "class_weights", "dropout"]
)
def test_a_number_of_many_digits_is_one_short_line(key):
    number = 10**400
    value = {"scales": [number, number], "multipliers": {"fc8": number}, "class_weights": [number]}.get(key, number)
    with pytest.raises(InputError, match=f"^{key}=.*expected") as caught:
        Recipe().changed({key: value})
    assert len(str(caught.value)) < 200


def test_an_unknown_key_is_an_error():
    with pytest.raises(InputError, match=r"learning_rate.*'learningrate'"):
        Recipe.from_dict({"learningrate": 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "vgg"}, "variant='vgg': expected one of deeplab-7x7"),
        ({"crop": 320}, "crop=320.*such as 321"),
        ({"crop": 200}, "crop=200.*such as 201"),
        ({"crop": "big"}, "crop='big': expected a whole number"),
        ({"crop": 0}, "crop=0"),
        ({"crop": 8_000_000_001}, "crop=8000000001: expected 1 to"),
        ({"batch": 0}, "batch=0"),
        ({"batch": 10**12}, "batch=1000000000000: expected 1 to"),
        ({"seed": 2**64}, "seed=18446744073709551616: expected a whole number"),
        ({"batch": 2.5}, "batch=2.5: expected a whole number"),
        ({"batch": 10, "accumulate": 3}, "accumulate=3: expected a divisor of batch=10"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": True}, "learning_rate=True: expected a number"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"optimizer": "adam"}, "optimizer='adam'.*'adamw'"),
        ({"policy": "cosine"}, "policy='cosine': expected 'step' or 'poly'"),
        ({"frozen": "conv9"}, "frozen='conv9': expected 'conv1' or .* or none"),
        ({"frozen": "fc8"}, "without multiscale"),
        ({"scales": (2.0, 1.0)}, r"scales=\(2.0, 1.0\): expected two factors"),
        ({"scales": (1.0,)}, "expected a list of 2 numbers"),
        ({"class_weights": "rare"}, "class_weights='rare': expected 'equal' or 'median-frequency' or a list"),
        ({"class_weights": (1.0, -1.0)}, "expected"),
        ({"multipliers": {"fc8": float("inf")}}, "expected names with numbers"),
        ({"seed": -1}, "seed=-1"),
        ({"clip_norm": 0.0}, "clip_norm=0.0"),
        ({"clip_norm": float("inf")}, "clip_norm=inf.*none"),
        ({"mirror": 1}, "mirror=1: expected true or false"),
    ],
)
def test_mistakes_say_what_would_do(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(RECIPES["paper"], **change)


def test_the_paper_recipe_is_the_papers():
    paper = RECIPES["paper"]
    assert (paper.variant, paper.crop, paper.batch, paper.iterations) == ("deeplab-largefov", 321, 20, 6000)
    assert (paper.policy, paper.step_size, paper.gamma) == ("step", 2000, 0.1)
    assert (paper.learning_rate, paper.momentum, paper.weight_decay) == (1e-3, 0.9, 5e-4)
    assert (paper.dropout, paper.frozen, paper.clip_norm) == (0.5, None, None)
    assert (paper.scales, paper.mirror, paper.balanced, paper.class_weights) == ((1.0, 1.0), True, False, "equal")
    poly = RECIPES["poly"]
    assert (poly.policy, poly.power, poly.batch, poly.iterations) == ("poly", 0.9, 10, 20_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crop=193", ("crop", 193)),
        ("learning_rate = 1e-4", ("learning_rate", 1e-4)),
        ("mirror=false", ("mirror", False)),
        ("policy=poly", ("policy", "poly")),
        ('policy="poly"', ("policy", "poly")),
        ("frozen=none", ("frozen", "none")),
        ("scales=[0.5, 1.5]", ("scales", [0.5, 1.5])),
        ("multipliers={fc8 = 10}", ("multipliers", {"fc8": 10})),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_parsed(text, expected):
    assert parsed_setting(text) == expected


@pytest.mark.parametrize("text", ["crop", "", "=3", "x" * 50_000])
def test_no_key_or_value(text):
    with pytest.raises(InputError, match="key=value"):
        parsed_setting(text)


@given(st.sampled_from(sorted(Recipe.__dataclass_fields__)), st.text(max_size=20))
def test_any_text_gives_a_recipe_or_one_line(key, text):
    refused = ""
    try:
        recipe = Recipe().changed(dict([parsed_setting(f"{key}={text}")]))
    except InputError as error:
        refused = str(error)
    assert len(refused.splitlines()) == 1 if refused else isinstance(recipe, Recipe)


@pytest.mark.parametrize("text", ["a" + ".a" * 100_000 + " = 1", "a = " + "[" * 50_000, "# " + "x" * 70_000])
def test_a_file_that_would_take_all_memory_is_refused(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=r"mine\.toml"):
        read_recipe(str(tmp_path / "mine.toml"))


def test_messages_quote_no_more_than_60_characters():
    for change in ({"variant": "x" * 5000}, {"y" * 5000: 1}, {"optimizer": "z" * 5000}):
        with pytest.raises(InputError) as caught:
            Recipe().changed(change)
        assert len(str(caught.value)) < 1000
