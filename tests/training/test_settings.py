import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.errors import InputError
from atrous.training.recipe import Recipe
from atrous.training.settings import parsed_setting


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
    with pytest.raises(InputError, match="expected key=value"):
        parsed_setting(text)


@given(st.sampled_from(sorted(Recipe.__dataclass_fields__)), st.text(max_size=20))
def test_any_text_gives_a_recipe_or_one_line(key, text):
    refused = ""
    try:
        recipe = Recipe().changed(dict([parsed_setting(f"{key}={text}")]))
    except InputError as error:
        refused = str(error)
    assert len(refused.splitlines()) == 1 if refused else isinstance(recipe, Recipe)
