import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.bulk.naming import assigned, folded, key_of, without_suffix

# What may stand in a tar or a parquet column: anything, surrogates of undecodable bytes too.
names = st.text(st.characters(exclude_categories=[]), max_size=20) | st.sampled_from(
    ["../../etc/passwd", "/", "..", "a/../b", "C:\\x", "\udce9", "_bulk/settings.json", "", "./a", "a//b", "x\0"]
)


@settings(deadline=None, max_examples=300)
@given(names)
def test_a_key_stays_below_its_folder_and_is_text(name):
    key = key_of(name)
    assert key
    assert not key.startswith("/")
    assert not {"", ".", ".."} & set(key.split("/"))
    assert key.split("/")[0] != "_bulk"
    assert not {"\0", "\n", "\\"} & set(key)
    key.encode()
    assert key_of(key) == key


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("s3://bucket/a/b.jpg", "bucket/a/b.jpg"),
        ("/data/x/y.png", "data/x/y.png"),
        ("./a/../b", "a/%2E%2E/b"),
        ("süß 写真.png", "süß 写真.png"),
    ],
)
def test_plain_names_stay_as_they_are(path, key):
    assert key_of(path) == key


@pytest.mark.parametrize(
    ("key", "short"),
    [("a.jpg", "a"), ("a.tar.JPEG", "a.tar"), ("a.v2", "a.v2"), ("a.jpg/b", "a.jpg/b"), ("d/.png", "d/.png")],
)
def test_only_a_picture_s_suffix_is_taken_off(key, short):
    assert without_suffix(key) == short


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["a.jpg", "a.png", "A.jpg", "b.jpg", "a", "é.png", "e\u0301.png", "a.jpg.png"])))
def test_no_two_photos_share_a_key(paths):
    found = list(assigned(paths, taken := set()))
    free = [folded(key) for key, is_free in found if is_free]
    assert len(free) == len(set(free))
    assert {folded(key) for key, _ in found} == taken


def test_a_shared_name_keeps_its_suffix():
    paths = ["a.jpg", "a.png", "b.jpg", "c.jpg", "C.png"]
    assert [key for key, _ in assigned(paths, {"b"})] == ["a.jpg", "a.png", "b.jpg", "c.jpg", "C.png"]
    assert [key for key, _ in assigned(paths[:1], set())] == ["a"]


def test_a_web_address_query_counts_only_where_it_tells_two_apart():
    addresses = ["https://store/a.jpg?signature=x", "http://h/image?id=1", "http://h/image?id=2", "s3://b/what?.jpg"]
    keys = [key for key, _ in assigned(addresses, set())]
    assert keys == ["store/a", "h/image?id=1", "h/image?id=2", "b/what?"]
