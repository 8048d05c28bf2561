"""Which photos each kind of input holds."""

import io
import os
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atrous.bulk import Settings, sources
from atrous.bulk.sources import images, listing
from atrous.bulk.storage import Storage
from atrous.errors import InputError


@pytest.fixture
def look(tmp_path):
    def look(given, **settings):
        return listing(str(given), Settings(**settings), Storage(str(tmp_path / "out")))

    return look


def write_tar(path, members, **how):
    with tarfile.open(path, "w", **how) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def read_all(found, column=None):
    entries = [entry for entry in found.entries if not entry.reason]
    return list(images(found.root, entries, column))


def test_a_folder_holds_its_photos_in_order_without_hidden_ones(look, photos):
    (photos / ".trash").mkdir()
    (photos / ".trash/x.png").write_bytes(b"")
    (photos / "notes.md").write_text("")
    found = look(photos)
    assert [e.source for e in found.entries] == sorted(f"{'ab'[i % 2]}/photo{i}.png" for i in range(10))
    images = read_all(found)
    assert [(image[8:32, :, 1] == 20).sum() // 24 - 22 for image in images] == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def test_links_that_lead_nowhere_or_in_circles_hold_nobody_up(look, photos):
    (photos / "gone.png").symlink_to(photos / "none.png")
    (photos / "circle.png").symlink_to("circle.png")
    (photos / "a/up").symlink_to(photos)
    assert len(look(photos).entries) == 10
    found = look(f"{photos}/*.png")
    assert {e.source: e.reason for e in found.entries} == {"gone.png": "no such file", "circle.png": "no such file"}


def test_what_goes_away_while_a_folder_is_read_is_left_out(look, photos, monkeypatch):
    scan = os.scandir

    def scandir(folder):
        if str(folder).endswith("/a"):
            shutil.rmtree(folder)
        elif str(folder).endswith("/b"):
            entries = list(scan(folder))
            (photos / "b/photo1.png").unlink()
            return _Scanned(entries)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [e.source for e in look(photos).entries] == [f"b/photo{i}.png" for i in (3, 5, 7, 9)]


class _Scanned:
    def __init__(self, entries):
        self.entries = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    close = __exit__


def test_a_folder_that_may_not_be_read_is_named(look, photos, monkeypatch):
    scan = os.scandir

    def scandir(folder):
        if str(folder).endswith("/b"):
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=f"cannot be read \\(Permission denied: {photos}/b\\)"):
        look(photos)


@pytest.mark.parametrize("text", ["{a}\n{b}\n", "{b}\r\n\r\n{a}\r\n{a}", "\ufeff{a}\n{b}"])
def test_a_list_names_photos(look, photos, tmp_path, text):
    a, b = photos / "a/photo0.png", photos / "b/photo1.png"
    (tmp_path / "list.txt").write_text(text.format(a=a, b=b), encoding="utf-8")
    found = look(tmp_path / "list.txt")
    assert [e.file for e in found.entries] == [str(a), str(b)]
    assert [image.shape for image in read_all(found)] == [(48, 64, 3)] * 2


def test_what_a_list_names_wrongly_is_an_error_of_that_photo(look, photos, tmp_path):
    lines = [photos / "a/photo0.png", tmp_path / "none.png", f"file://{photos}/b/photo1.png", "nowhere://x.png"]
    (tmp_path / "list.txt").write_text("\n".join(map(str, lines)))
    found = look(tmp_path / "list.txt")
    assert {e.file: e.reason for e in found.entries if e.reason} == {str(tmp_path / "none.png"): "no such file"}
    images = dict(zip([e.file for e in found.entries if not e.reason], read_all(found), strict=True))
    assert images[str(lines[2])].shape == (48, 64, 3)
    assert "no file system for it" in str(images["nowhere://x.png"])


def test_addresses_with_a_query_or_without_a_suffix(look, tmp_path):
    addresses = ["https://store/b/c.JPG?signature=a/b", "http://images/1234", "http://images/1235?w=100"]
    (tmp_path / "list.txt").write_text("\n".join(addresses))
    found = look(tmp_path / "list.txt")
    assert found.kind == "images"
    assert [e.file for e in found.entries] == sorted(addresses)
    (tmp_path / "list.txt").write_text("http://127.0.0.1:1/shard.parquet?signature=x")
    with pytest.raises(InputError, match="parquet"):  # nobody there
        look(tmp_path / "list.txt")


@pytest.mark.parametrize("name", ["10::20.png", "a?1#2 %41.png", "\u2028.png", "~x.png", "[1]*.png", "file:x.png"])
def test_odd_names_of_local_files(look, photos, tmp_path, name):
    folder = tmp_path / "a::b"
    folder.mkdir()
    (photos / "a/photo0.png").rename(folder / name)
    (tmp_path / "list.txt").write_text(str(folder / name), encoding="utf-8")
    for given in (folder, folder / name, tmp_path / "list.txt"):
        found = look(given)
        assert [e.reason for e in found.entries] == [""]
        assert [image.shape for image in read_all(found)] == [(48, 64, 3)]


def test_a_pattern_and_a_single_photo(look, photos):
    assert [e.file for e in look(f"{photos}/*/photo[12].png").entries] == ["a/photo2.png", "b/photo1.png"]
    assert [e.file for e in look(photos / "a/photo2.png").entries] == ["photo2.png"]


def test_a_tar_s_samples_are_found_without_unpacking(look, tmp_path, draw):
    members = [("./s/0001.jpg", draw(1, "JPEG")), ("./s/0001.json", b"{}"), ("s/0002.seg.png", draw(0))]
    members += [("s/0003.png", draw(3)), ("s/0003.jpg", draw(4, "JPEG")), ("s/._0003.jpg", b""), ("README", b"")]
    write_tar(tmp_path / "shard-0.tar", members)
    found = look(tmp_path)
    assert [(e.source, e.name) for e in found.entries] == [
        ("shard-0.tar/./s/0001.jpg", "shard-0/./s/0001"),
        ("shard-0.tar/s/0003.jpg", "shard-0/s/0003"),
    ]
    np.testing.assert_array_equal(read_all(found)[1].shape, (48, 64, 3))
    assert [e.source for e in look(tmp_path, column="png").entries] == ["shard-0.tar/s/0003.png"]
    assert [e.source for e in look(tmp_path, column="seg.png").entries] == ["shard-0.tar/s/0002.seg.png"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("damage", ["none", "no end", "one zero block", "cut", "header", "garbage"])
def test_what_of_a_damaged_tar_is_whole_is_used(look, tmp_path, draw, damage, form):
    path = tmp_path / "shard.tar"
    write_tar(path, [(f"{i:04}.png", draw(i)) for i in range(4)], format=form)
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
        content = bytearray(path.read_bytes())
    end = last.offset_data + 512 * -(-last.size // 512)
    if damage == "no end":
        del content[end:]
    if damage == "one zero block":
        del content[end + 512 :]
    if damage == "cut":
        del content[last.offset_data + 20 :]
    if damage == "header":
        content[last.offset : last.offset + 20] = b"x" * 20
    if damage == "garbage":
        content[end : end + 1024] = b"x" * 1024
    path.write_bytes(content)
    found = look(path)
    good = [e.source for e in found.entries if not e.reason]
    bad = {e.source: e.reason for e in found.entries if e.reason}
    assert len(good) == (3 if damage in ("cut", "header") else 4)
    assert bool(bad) == (damage in ("cut", "header", "garbage"))
    assert all("\n" not in reason for reason in bad.values())
    assert all(image.shape == (48, 64, 3) for image in read_all(found))


def write_parquet(path, table, **how):
    pq.write_table(pa.table(table), path, **how)


@pytest.mark.parametrize("group", [1, 7, 1000])
def test_a_parquet_file_s_rows(look, tmp_path, draw, group):
    write_parquet(
        tmp_path / "x.parquet", {"n": list(range(40)), "jpg": [draw(i) for i in range(40)]}, row_group_size=group
    )
    found = look(tmp_path / "x.parquet")
    assert [e.name for e in found.entries] == [f"x/{i:06}" for i in range(40)]
    some = [found.entries[i] for i in (0, 3, 15, 16, 17, 39)]
    read = list(images(found.root, some, None))
    assert [(image[8:32, :, 1] == 20).sum() // 24 - 22 for image in read] == [0, 3, 15, 16, 17, 9]


def test_keys_from_a_column_and_pictures_from_hugging_face(look, tmp_path, draw):
    images = [{"bytes": draw(0), "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]
    write_parquet(tmp_path / "x.parquet", {"image": images, "id": ["p/1.jpg", None, "../3"]})
    found = look(tmp_path, key_column="id")
    assert [e.name for e in found.entries] == ["p/1.jpg", "x/000001", "../3"]
    first, second, third = read_all(found)
    assert first.shape == (48, 64, 3)
    assert str(second) == str(third) == "no image in this row"


views = pytest.mark.skipif(int(pa.__version__.split(".")[0]) < 21, reason="this pyarrow writes no views into parquet")


@pytest.mark.parametrize(
    "kind",
    [pa.dictionary(pa.int32(), pa.binary()), pa.large_binary(), pytest.param(pa.binary_view(), marks=views)],
    ids=str,
)
def test_columns_of_codes_and_views(look, tmp_path, draw, kind):
    column = pa.array([draw(0), draw(1), None, draw(0)], pa.binary()).cast(kind)
    names = pa.array(["x", "y", "z", None]).dictionary_encode()
    pq.write_table(pa.table({"jpg": column, "id": names}), tmp_path / "x.parquet")
    found = look(tmp_path / "x.parquet", key_column="id")
    assert [e.name for e in found.entries] == ["x", "y", "z", "x/000003"]
    assert [isinstance(image, InputError) for image in read_all(found)] == [False, False, True, False]


def test_codes_of_pictures_from_hugging_face(look, tmp_path, draw):
    image = pa.StructArray.from_arrays([pa.array([draw(0)]).dictionary_encode()], names=["bytes"])
    pq.write_table(pa.table({"image": image}), tmp_path / "x.parquet")
    assert read_all(look(tmp_path / "x.parquet"))[0].shape == (48, 64, 3)


def test_a_photo_of_a_tar_that_cannot_be_read_spoils_no_other(look, tmp_path, draw, monkeypatch):
    write_tar(tmp_path / "x.tar", [(f"{i}.png", draw(i)) for i in range(4)])
    found = look(tmp_path / "x.tar")
    bad = found.entries[1].offset
    seek = _Stream.seek

    def odd(self, place, *how):
        if place == bad:
            raise OSError(5, "Input/output error")
        return seek(self, place, *how)

    monkeypatch.setattr(_Stream, "seek", odd)
    monkeypatch.setattr(Storage, "open", lambda self, name: _Stream(self.path(name)))
    images = read_all(found)
    assert [isinstance(image, InputError) for image in images] == [False, True, False, False]
    assert str(images[1]) == "cannot be read (Input/output error)"


class _Stream(io.FileIO):
    pass


def test_a_photo_that_needs_too_much_memory_spoils_no_other(look, tmp_path, draw, monkeypatch):
    write_tar(tmp_path / "x.tar", [(f"{i}.png", draw(i)) for i in range(4)])
    decode = sources.read_rgb

    def short_of_memory(content, name):
        if content == draw(1):
            raise MemoryError
        return decode(content, name)

    monkeypatch.setattr(sources, "read_rgb", short_of_memory)
    images = read_all(look(tmp_path / "x.tar"))
    assert [isinstance(image, InputError) for image in images] == [False, True, False, False]
    assert str(images[1]) == "cannot be read (MemoryError)"


def test_columns_that_are_not_there_are_told_at_once(look, tmp_path, draw):
    write_parquet(tmp_path / "x.parquet", {"a": [draw(0)], "b": [draw(0)], "n": [1]})
    for settings, says in [
        ({}, r"found a, b; set column"),
        ({"column": "c"}, r"no column 'c'; it has a, b, n"),
        ({"column": "n"}, r"column 'n' is int64; expected encoded images"),
        ({"column": "a", "key_column": "k"}, r"no column 'k'; it has a, b, n"),
    ]:
        with pytest.raises(InputError, match=says) as caught:
            look(tmp_path, **settings)
        assert "\n" not in str(caught.value)
    write_parquet(tmp_path / "y.parquet", {"n": [1]})
    (tmp_path / "z.parquet").write_bytes(b"no parquet")
    found = look(tmp_path, column="a")
    assert [(e.source, bool(e.reason)) for e in found.entries] == [
        ("x.parquet#0", False),
        ("y.parquet", True),
        ("z.parquet", True),
    ]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "nothing to segment; looked for images, .parquet, .pq and .tar"),
        (["a.txt"], "nothing to segment"),
        (["a.png", "b.tar"], "holds images and tars; choose one"),
        (["a.tar.gz"], "compressed tars"),
        (["a.tar"], "none of its 1 tars files can be used"),
    ],
)
def test_a_folder_without_anything_to_segment(look, tmp_path, files, says):
    (tmp_path / "in").mkdir()
    for name in files:
        (tmp_path / "in" / name).write_bytes(b"")
    with pytest.raises(InputError, match=says):
        look(tmp_path / "in")


def test_inputs_that_are_not_there(look, tmp_path):
    for given, says in [
        (tmp_path / "none", "no such file or folder"),
        (tmp_path / "none.txt", "no such file"),
        (f"{tmp_path}/*.jpg", "nothing to segment"),
        ("nowhere://bucket/x", "no file system for it"),
    ]:
        with pytest.raises(InputError, match=says):
            look(given)


def test_a_file_that_went_away_is_an_error_of_its_photos(look, photos, tmp_path, draw):
    found = look(photos)
    (photos / "a/photo2.png").unlink()
    images = read_all(found)
    assert [str(image) for image in images if isinstance(image, InputError)] == ["No such file or directory"]
    write_parquet(tmp_path / "x.parquet", {"jpg": [draw(i) for i in range(4)]})
    found = look(tmp_path / "x.parquet")
    write_parquet(tmp_path / "x.parquet", {"jpg": [draw(i) for i in range(2)]})
    assert [isinstance(image, InputError) for image in read_all(found)] == [False, False, True, True]
