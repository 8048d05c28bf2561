import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous._settings_files import LARGEST, parse_json, parse_toml, read_bytes, read_json, read_lines, read_toml
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
    with pytest.raises(InputError, match=r"recipe\.toml: .*TOML") as caught:
        read_toml(path, "a recipe")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    for read in (read_bytes, read_json, read_toml):
        with pytest.raises(InputError, match=r"large: .*[\d,]+ bytes"):
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


# Names as they may come: any characters but control characters, line ends and half characters; no space at the ends.
NAMES = st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=8).map(str.strip).filter(bool)


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(NAMES.filter(lambda name: not name.startswith("\ufeff")), min_size=1, max_size=6),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
    blank=st.integers(0, 3),
    indent=st.sampled_from(["", " ", "\t"]),
)
def test_the_same_names_however_they_were_saved(tmp_path_factory, names, ending, mark, blank, indent):
    path = tmp_path_factory.mktemp("lines") / "names.txt"
    text = ending.join(indent + name + indent for name in names) + ending * blank
    path.write_bytes(text.encode("utf-8-sig" if mark else "utf-8"))
    assert read_lines(path, "names") == names


def test_empty_lines_between_stay(tmp_path):
    (tmp_path / "names.txt").write_text("\na\n\nb\n\n")
    assert read_lines(tmp_path / "names.txt", "names") == ["", "a", "", "b"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected names, got an empty file"),
        (b"\r\n \r\n", "got an empty file"),
        ("Kühe\nCafé".encode("latin-1"), "line 1"),
        (b"a\nb\n\xff\xfec", "line 3"),
        ("names".encode("utf-16"), "line 1"),
        ("names".encode("utf-16-le"), "NUL bytes"),
    ],
)
def test_what_is_no_text(tmp_path, content, says):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_lines(tmp_path / "names.txt", "names")
    assert str(caught.value).startswith(str(tmp_path / "names.txt"))


def test_a_file_of_more_than_any_list_has(tmp_path):
    with (tmp_path / "names.txt").open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(InputError, match="expected names of up to"):
        read_lines(tmp_path / "names.txt", "names")


def test_what_is_no_file(tmp_path):
    with pytest.raises(InputError, match="No such file.*expected names"):
        read_lines(tmp_path / "none.txt", "names")
    with pytest.raises(InputError, match=r"directory.*expected names|[Pp]ermission"):
        read_lines(tmp_path, "names")


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_lines_or_one_line_of_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("lines") / "names.txt"
    path.write_bytes(content)
    try:
        lines = read_lines(path, "names")
    except InputError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # either outcome will do
    else:
        assert lines[-1]
        assert all(line == line.strip() for line in lines)
