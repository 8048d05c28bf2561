import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atrous.errors import InputError
from atrous.labelmap.color_table import ColorTable, read_color_table

SKY, ROAD, LANE, EDGE = (128, 128, 128), (128, 64, 128), (0, 0, 64), (0, 0, 0)
TABLE = ColorTable((0, 1, 1, 255), (SKY, ROAD, LANE, EDGE))
CLASSES = ("sky", "road")


def table_of(tmp_path, text, classes=CLASSES):
    (tmp_path / "colors.txt").write_text(text)
    return read_color_table(tmp_path / "colors.txt", classes)


@pytest.mark.parametrize("classes", [("dining table", "diningtable"), ("diningtable", "dining table")])
def test_a_name_takes_precedence_over_the_display_name_of_another_class(tmp_path, classes):
    table, _ = table_of(tmp_path, "dining table 1 2 3\ndiningtable 4 5 6\n", classes)
    assert table.palette(2).tolist() == (
        [[1, 2, 3], [4, 5, 6]] if classes[1] == "diningtable" else [[4, 5, 6], [1, 2, 3]]
    )


def mask(tmp_path, rows, mode="RGB", name="mask.png"):
    image = Image.fromarray(np.array(rows, np.uint8))
    image = image.quantize(256) if mode == "P" else image.convert(mode)
    image.save(tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize(
    "text",
    [
        "sky 128 128 128\nroad 128 64 128\nroad 0 0 64\nvoid 0 0 0\n",
        "name,r,g,b\nsky,128,128,128\nroad,128,64,128\n\nroad, 0, 0, 64\nvoid,0,0,0",
        '"sky";128;128;128\n"road"\t128\t64\t128\r\nroad  0;0;64\r\nvoid 000 00 0',
        "\ufeffClass Red Green Blue\nsky 128 128 128\nroad 128 64 128\nroad 0 0 64\nvoid 0 0 0",
    ],
)
def test_a_table_in_the_forms_that_it_may_have(tmp_path, text):
    assert table_of(tmp_path, text) == (TABLE, CLASSES)
    assert table_of(tmp_path, text, None) == (TABLE, CLASSES)


def test_ids_are_the_class_lists_and_names_may_have_spaces(tmp_path):
    table, classes = table_of(tmp_path, "night sky 1 2 3\nwall, brick 4 5 6\n", ("wall, brick", "night sky"))
    assert (table.ids, table.colors) == ((1, 0), ((1, 2, 3), (4, 5, 6)))
    assert classes == ("wall, brick", "night sky")
    assert table.palette(2).tolist() == [[4, 5, 6], [1, 2, 3]]


def test_names_as_the_program_prints_them(tmp_path):
    path = tmp_path / "colors.txt"
    path.write_text("tv monitor 1 2 3\ncat 4 5 6\n")
    table, _ = read_color_table(path, ("cat", "tvmonitor"))
    assert table.palette(2).tolist()[:2] == [[4, 5, 6], [1, 2, 3]]


def test_the_first_color_of_a_class_is_drawn():
    assert TABLE.palette(2).tolist() == [list(SKY), list(ROAD)]


def test_a_table_of_some_classes(tmp_path):
    (tmp_path / "colors.txt").write_text("road 1 2 3\n")
    table, classes = read_color_table(tmp_path / "colors.txt", CLASSES, complete=False)
    assert classes == CLASSES
    assert table.palette(2, [SKY, ROAD, LANE]).tolist() == [list(SKY), [1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sky 128 128\nroad 1 2 3", "'sky 128 128' in line 1"),
        ("sky 128 128 256\nroad 1 2 3", "0 to 255 .* line 1"),
        ("sky 1 2 3\nroad 1 2 -3", "line 2"),
        ("sky 1 2 3\nroad 1 2 ٣", "line 2"),
        ("sky 1 2 3\n4 5 6\nroad 1 1 1", "'4 5 6' in line 2"),
        ("sky 1 2 3\nname r g b\nroad 1 1 1", "line 2"),
        ("sky * * *\nroad 1 1 1", "line 1"),
        ("# a comment\nsky 1 2 3\nroad 1 1 1", "line 1"),
        ("sky 1 2 3\nroad 1 2 3", "line 2 repeats the color of line 1"),
        ("sky 1 2 3\nroad 1 1 1\nraod 5 5 5", "line 3: .* 'raod'"),
        ("sky 1 2 3\n\nvoid 0 0 0", "a color for class 'road'"),
        ("name r g b\n", "got no color"),
        ("void * * *", "got no color"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_right_is_one_line(tmp_path, text, says):
    with pytest.raises(InputError, match=says) as caught:
        table_of(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "colors.txt"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["void", "Unlabeled", "__ignore__"])
def test_void_by_its_names_unless_a_class_has_the_name(tmp_path, name):
    assert table_of(tmp_path, f"sky 1 2 3\n{name} 0 0 0", None)[1] == ("sky",)
    assert table_of(tmp_path, f"sky 1 2 3\n{name} 0 0 0", ("sky",))[0].ids == (0, 255)
    assert table_of(tmp_path, f"sky 1 2 3\n{name} 0 0 0", ("sky", name))[0].ids == (0, 1)


PIXELS = [[SKY, ROAD, LANE], [EDGE, EDGE, SKY]]
IDS = [[0, 1, 1], [255, 255, 0]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colors_become_ids(tmp_path, mode):
    labels = TABLE.read_labels(mask(tmp_path, PIXELS, mode))
    assert labels.dtype == np.uint8
    assert labels.tolist() == IDS


@pytest.mark.parametrize("mode", ["L", "1"])
def test_a_gray_file_is_taken_as_it_looks(tmp_path, mode):
    table = ColorTable((0, 1), ((0, 0, 0), (255, 255, 255)))
    rows = np.array([[[0] * 3, [255] * 3]])
    assert table.read_labels(mask(tmp_path, rows, mode)).tolist() == [[0, 1]]


def test_an_unknown_color_is_named_with_its_first_pixel(tmp_path):
    path = mask(tmp_path, [[SKY, ROAD, SKY], [EDGE, (128, 128, 127), (9, 9, 9)]])
    with pytest.raises(InputError, match=r"mask\.png: .*128 128 127.*x=1, y=1"):
        TABLE.read_labels(path)
    lenient = ColorTable(TABLE.ids, TABLE.colors, others_void=True)
    assert lenient.read_labels(path).tolist() == [[0, 1, 0], [255, 255, 255]]


def test_others_void_is_a_line_of_the_table(tmp_path):
    assert table_of(tmp_path, "sky 1 2 3\nroad 1 1 1\nvoid * * *")[0].others_void
    assert not table_of(tmp_path, "sky 1 2 3\nroad 1 1 1")[0].others_void


def test_transparent_pixels_have_no_color(tmp_path):
    rows = [[(*SKY, 255), (*ROAD, 0)]]
    path = mask(tmp_path, rows, "RGBA")
    with pytest.raises(InputError, match="x=1, y=0 .transparent"):
        TABLE.read_labels(path)
    assert ColorTable(TABLE.ids, TABLE.colors, others_void=True).read_labels(path).tolist() == [[0, 255]]


def test_files_that_cannot_hold_colors_exactly(tmp_path):
    with pytest.raises(InputError, match="JPEG"):
        TABLE.read_labels(mask(tmp_path, PIXELS, name="mask.jpg"))
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match="8 bits"):
        TABLE.read_labels(tmp_path / "deep.png")


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_table_takes_its_own_drawing_back(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("table")
    channel = st.integers(0, 255)
    colors = data.draw(st.lists(st.tuples(channel, channel, channel), min_size=2, max_size=8, unique=True))
    separator = data.draw(st.sampled_from([" ", ",", ";", "\t", ", "]))
    names = [f"class {i}" for i in range(len(colors))]
    (folder / "colors.txt").write_text(
        "\n".join(separator.join([n, *map(str, c)]) for n, c in zip(names, colors, strict=True))
    )
    table, classes = read_color_table(folder / "colors.txt")
    assert classes == tuple(names)
    labels = np.array(data.draw(st.lists(st.integers(0, len(colors) - 1), min_size=6, max_size=6))).reshape(2, 3)
    Image.fromarray(table.palette(len(names))[labels]).save(folder / "mask.png")
    assert np.array_equal(table.read_labels(folder / "mask.png"), labels)


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(st.text(alphabet="ab,; 0129*\t\"'#\u00e9", max_size=14), max_size=4),
    classes=st.sampled_from([None, ("a", "b")]),
)
def test_any_text_is_a_table_or_one_line_of_error(tmp_path_factory, lines, classes):
    path = tmp_path_factory.mktemp("table") / "colors.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        table, names = read_color_table(path, classes)
    except InputError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # either outcome will do
    else:
        assert table.palette(len(names)).shape == (len(names), 3)


def test_a_hundred_thousand_colors(tmp_path):
    lines = [f"{'void' if i % 2 else f'class {i % 400}'} {i & 255} {i >> 8 & 255} {i >> 16}" for i in range(100_000)]
    (tmp_path / "colors.txt").write_text("\n".join(lines))
    table, classes = read_color_table(tmp_path / "colors.txt")
    assert len(table.colors) == 100_000
    assert classes == tuple(f"class {i}" for i in range(0, 400, 2))
    path = mask(tmp_path, [[[0, 0, 0], [2, 0, 0], [1, 0, 0]], [[150, 134, 1], [159, 134, 1], [158, 134, 1]]])
    assert table.read_labels(path).tolist() == [[0, 1, 255], [195, 255, 199]]
    with pytest.raises(InputError, match="160 134 1.*x=0, y=0"):
        table.read_labels(mask(tmp_path, [[[160, 134, 1]]]))


def test_more_classes_than_ids(tmp_path):
    text = "\n".join(f"class{i} {i & 255} {i >> 8} 0" for i in range(100_000 // 256 * 256) if i < 65_536)
    with pytest.raises(InputError, match="65536"):
        table_of(tmp_path, text, None)


def test_a_class_of_many_letters(tmp_path):
    with pytest.raises(InputError, match="line 1"):
        table_of(tmp_path, f"{'x' * 201} 1 2 3", None)
