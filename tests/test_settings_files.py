import json

import pytest

from atrous._settings_files import LARGEST, parse_json, parse_toml, read_bytes, read_json, read_toml
from atrous.errors import InputError


def test_what_is_read(tmp_path):
    path = tmp_path / "settings"
    path.write_text(json.dumps({"a": [1, "ü", None]}), encoding="utf-8")
    assert read_json(path, "settings") == {"a": [1, "ü", None]}
    path.write_bytes(b"\xef\xbb\xbf{}")  # as Windows' editors begin
    assert read_json(path, "settings") == {}
    path.write_text("a = 1\n# " + "." * 500 + '\n[b."c.d"]\ne = [0.5, 1e3]\n')
    assert read_toml(path, "settings") == {"a": 1, "b": {"c.d": {"e": [0.5, 1000.0]}}}
    assert read_bytes(path, "settings")[:5] == b"a = 1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"1" * 10_000,
        b"\0",
        b'{"a": "\n"}',
    ],
)
def test_what_is_no_json_is_one_line(tmp_path, content):
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    for read in (lambda: read_json(path, "settings"), lambda: parse_json(content, "settings.json", "settings")):
        with pytest.raises(InputError, match=r"settings\.json: expected settings, got") as caught:
            read()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "content",
    [
        b"a =",
        b"a = 1\na = 2",
        b"a = \xff",
        b"a = " + b"[" * 30_000,
        b"a = " + b"{b = " * 10_000,
        b".".join([b"a"] * 30_000) + b" = 1",
        b"[" + b".".join([b"a"] * 30_000) + b"]",
        b"[[" + b" . ".join([b"a"] * 10_000) + b"]]",
        b"a = " + b"1" * 10_000,
        b"\0",
    ],
)
def test_what_is_no_toml_is_one_line(tmp_path, content):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"recipe\.toml: expected a recipe, got .*not TOML") as caught:
        read_toml(path, "a recipe")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    for read in (read_bytes, read_json, read_toml):
        with pytest.raises(InputError, match=r"large: expected settings of up to [\d,]+ bytes"):
            read(path, "settings")


def test_a_file_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_json(path, "settings")


def test_no_toml_is_a_value_error():
    with pytest.raises(ValueError, match="deep"):
        parse_toml("a = " + "[" * 5_000)
    with pytest.raises(ValueError, match="line 2"):
        parse_toml("b = 1\n" + "a." * 5_000 + "a = 1")
