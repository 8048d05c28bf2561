import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("google.protobuf", reason="needs the extra 'train'")

from caffe_writer import blob, bytes_field, chain, model, new_layer, old_layer

from atrous.errors import InputError
from atrous.network.caffemodel import read_caffemodel

WEIGHT = np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3) / 7 - 3
BIAS = np.array([0.5, -1.25], np.float32)


def read(tmp_path, content):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    return read_caffemodel(path)


@pytest.mark.parametrize("old", [True, False], ids=["layers", "layer"])
@pytest.mark.parametrize("shape", ["old", "new"])
@pytest.mark.parametrize("numbers", ["packed", "loose", "chunks", "double", "loose double", "raw float", "raw double"])
def test_every_way_to_write_numbers_reads_the_same(tmp_path, old, shape, numbers):
    content = chain({"conv1_1": (WEIGHT, BIAS)}, old=old, shape=shape, numbers=numbers)
    convolution, relu = read(tmp_path, content)
    assert (convolution.name, convolution.bottoms, convolution.tops) == ("conv1_1", ("data",), ("conv1_1",))
    assert (relu.name, relu.blobs) == ("relu_conv1_1", ())
    weight, bias = convolution.blobs
    assert weight.dtype == torch.float32
    assert weight.shape == (2, 3, 3, 3)
    assert np.array_equal(weight.numpy(), WEIGHT)
    assert bias.shape == ((2,) if shape == "new" else (1, 1, 1, 2))
    assert np.array_equal(bias.numpy().ravel(), BIAS)


def test_half_precision(tmp_path):
    (layer, _) = read(tmp_path, chain({"fc8": (WEIGHT, BIAS)}, old=False, numbers="half"))
    assert layer.blobs[0].dtype == torch.float16
    assert np.array_equal(layer.blobs[0].numpy(), WEIGHT.astype(np.float16))


def test_a_fully_connected_layer_of_either_kind(tmp_path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    new, old = read(tmp_path, model([new_layer("a", [blob(matrix)]), old_layer("b", [blob(matrix, shape="old")])]))[
        ::-1
    ]
    assert (new.name, old.name) == ("a", "b")  # protobuf keeps the fields of one number together: b is read first
    assert new.blobs[0].shape == (2, 3)
    assert old.blobs[0].shape == (1, 1, 2, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no layer with weights"),
        (model([new_layer("data"), new_layer("pool")]), "no layer with weights"),
        (model([new_layer("c", [blob(WEIGHT)])])[:-1], "truncated"),
        (b"\xff" * 40, "truncated"),
        # A shape of 5 for 4 numbers; no numbers; 7 bytes, which are no floats; a type of numbers from the future.
        (model([new_layer("c", [bytes_field(7, bytes_field(1, b"\5")) + bytes_field(5, bytes(16))])]), "4 numbers"),
        (model([new_layer("c", [bytes_field(7, bytes_field(1, b"\5"))])]), "'c' has 0 numbers"),
        (model([new_layer("c", [bytes_field(7, bytes_field(1, b"\1")) + bytes_field(5, bytes(7))])]), "unreadable"),
        (model([new_layer("c", [b"\x50\x09" + bytes_field(12, bytes(7))])]), "unreadable"),
        # A negative side.
        (model([new_layer("c", [bytes_field(7, bytes_field(1, b"\xff" * 9 + b"\1")) + bytes_field(5, b"")])]), "-1"),
    ],
)
def test_mistakes_are_one_line(tmp_path, content, said):
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, content)
    assert "net.caffemodel: " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


SMALL = {
    "conv1_1": (WEIGHT[:1, :, :1, :1], BIAS[:1]),
    "fc6": (np.ones((2, 3), np.float32), BIAS),
}
MODELS = [
    chain(SMALL, old=old, shape=shape, numbers=numbers)
    for old, shape, numbers in ((True, "old", "packed"), (False, "new", "loose"), (False, "new", "half"))
]


@settings(deadline=None, max_examples=150)
@given(
    content=st.sampled_from(MODELS),
    keep=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, content, keep, flips):
    damaged = bytearray(content[: round(keep * len(content))])
    for where, value in flips:
        if damaged:
            damaged[int(where * len(damaged))] = value
    path = tmp_path_factory.mktemp("damaged") / "net.caffemodel"
    path.write_bytes(damaged)
    try:
        layers = read_caffemodel(path)
    except InputError as error:
        said = str(error)
    else:
        said = "layers"
        assert any(layer.blobs for layer in layers)
        assert all(tensor.is_floating_point() and tensor.numel() for layer in layers for tensor in layer.blobs)
    assert len(said.splitlines()) == 1


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "net.caffemodel"
    path.write_bytes(content)
    try:
        said = f"{len(read_caffemodel(path))} layers"
    except InputError as error:
        said = str(error)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        new_layer("c", [bytes_field(7, bytes_field(1, b"\1" * 100)) + bytes_field(5, bytes(4))]),
        new_layer("c", [bytes_field(7, bytes_field(1, b"\1" * 1_000_000)) + bytes_field(5, bytes(4))]),
        new_layer(
            "c",
            [bytes_field(7, bytes_field(1, b"\xff" * 8 + b"\x7f" + b"\xff" * 8 + b"\x7f")) + bytes_field(5, bytes(4))],
        ),
        new_layer("c", [b""] * 200_000),
        bytes_field(100, b"") * 200_000,
        old_layer("c", [], ["x"] * 200_000),
    ],
    ids=["axes", "many axes", "2^126 numbers", "blobs", "layers", "bottoms"],
)
def test_more_of_everything_than_a_network_has(tmp_path, content):
    with pytest.raises(InputError, match=r"net\.caffemodel: ") as caught:
        read(tmp_path, model([content]))
    assert len(str(caught.value)) < 400
