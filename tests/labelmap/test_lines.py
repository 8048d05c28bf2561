import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous._settings_files import read_lines
from atrous.errors import InputError

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
