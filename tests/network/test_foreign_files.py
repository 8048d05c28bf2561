"""Files that are something else, cut short or damaged: one line each, and the network stays as it was."""

import io
import pickle
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from caffe_writer import chain
from safetensors.torch import save_file
from vgg_files import checkpoint, convolutions, flat, random, values

from atrous.errors import InputError
from atrous.network import DeepLab
from atrous.network.pretrained_init import start

pytestmark = pytest.mark.usefixtures("narrow")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(InputError, match="other objects than tensors.*save model.state_dict"):
        start(DeepLab(), tmp_path / "model.pth")


FIRST = torch.zeros(4, 3, 3, 3)


def file_of(tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pth", b"", "empty file"),
        ("a.pth", b"<!DOCTYPE html><html>404", "web page"),
        ("a.pth", b"  <html><head>", "web page"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.h5", b"\x89HDF\r\n", "HDF5"),
        ("a.pth.gz", b"\x1f\x8b\x08", "compressed"),
        ("a.pth", b"PK\x03\x04 not a zip", "truncated"),
        ("a.pth", b"\x80\x02}q\x00.", "a file of PyTorch"),
        ("a.txt", b"Tell me about VGG", "a Caffe model"),
        ("a.pth", {"x": 1, "y": "z"}, "expected a state dict of tensors, got a dict of x, y"),
        ("a.pth", [1, 2], "expected a state dict of tensors, got a list"),
        ("a.pth", {}, "an empty dict"),
        ("a.pth", {"layer1.weight": torch.zeros(2)}, "expected VGG-16 or DeepLab .* got layer1.weight"),
        ("a.safetensors", {"conv1_1.weight": FIRST}, "conv1_1 is missing"),
        ("a.safetensors", {"conv1_1.weight": FIRST, "conv1_1.bias": torch.zeros(4)}, "conv1_2 is missing"),
        ("a.pth", {"features.0.weight": FIRST, "features.1.running_mean": torch.zeros(4)}, "batch norm"),
        ("a.pth", {"features.0.weight": FIRST, "features.34.weight": torch.zeros(4)}, "VGG-19"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_change_nothing(tmp_path, name, content, said):
    path = file_of(tmp_path, name, content)
    net = DeepLab()
    before = values(net)
    with pytest.raises(InputError, match=said) as caught:
        start(net, path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert all(torch.equal(p, before[n]) for n, p in values(net).items())


def test_wrong_shapes_and_numbers_change_nothing(tmp_path):
    net = DeepLab()
    before = values(net)
    for change, said in (
        ({"conv5_3.weight": random(4, 4, 5, 5)}, r"expected shape \(4, 4, 3, 3\) of conv5_3, got \(4, 4, 5, 5\)"),
        ({"conv2_1.bias": random(5)}, "of conv2_1"),
        ({"conv4_1.bias": random(4) / 0}, "conv4_1 holds NaN or infinity"),
        ({"conv4_1.weight": torch.zeros(4, 4, 3, 3, dtype=torch.int64)}, "conv4_1 is missing"),
    ):
        save_file(flat(convolutions()) | change, tmp_path / "a.safetensors")
        with pytest.raises(InputError, match=said):
            start(net, tmp_path / "a.safetensors")
    assert all(torch.equal(p, before[n]) for n, p in values(net).items())


def test_no_file_and_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="nothing.pth: no such file"):
        start(DeepLab(), tmp_path / "nothing.pth")
    with pytest.raises(InputError, match="model.safetensors"):
        start(DeepLab(), tmp_path)
    (tmp_path / "run").mkdir()
    newest = checkpoint(tmp_path / "run" / "checkpoint-000020", DeepLab())
    with pytest.raises(InputError, match=f"{newest}"):
        start(DeepLab(), tmp_path / "run")
    with pytest.raises(InputError, match="subset='third'"):
        start(DeepLab(), newest, subset="third")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["zip", "legacy", "safetensors", "caffe"]),
    keep=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_file_fills_the_network_or_is_refused(tmp_path_factory, kind, keep, flips):
    folder = tmp_path_factory.mktemp("damaged")
    torch.manual_seed(0)
    tensors = flat(convolutions())
    path = folder / "file"
    if kind == "caffe":
        path.write_bytes(chain(convolutions(), old=True, shape="old"))
    elif kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    damaged = bytearray(path.read_bytes())
    damaged = damaged[: round(min(1, 2 * keep) * len(damaged))]
    for where, value in flips:
        if damaged:
            damaged[int(where * len(damaged))] = value
    path.write_bytes(damaged)
    try:
        said = start(DeepLab(), path).format
    except InputError as error:
        said = str(error)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_numbers_that_are_not_in_the_file_are_not_made(tmp_path, dtype):
    # One number that stands for a million million: in half precision it would be widened to 4 TB.
    bomb = torch.zeros(1, dtype=dtype).expand(10**6, 10**6)
    torch.save(
        {"features.0.weight": FIRST, "classifier.0.weight": bomb, "classifier.0.bias": bomb[0]}, tmp_path / "a.pth"
    )
    with pytest.raises(InputError, match="is missing"):
        start(DeepLab(), tmp_path / "a.pth")


def test_an_archive_that_unpacks_to_more_than_it_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(InputError, match=r"a\.pth: .*a compressed archive"):
        start(DeepLab(), tmp_path / "a.pth")


def tuples_of_tuples(depth, *, zipped):
    """A state dict whose key is a tuple of two tuples, each of the same two, and so on."""
    content = b"\x80\x02)q\x00"
    for i in range(depth):
        content += bytes([*b"h", i, *b"h", i, 0x86, *b"q", i + 1])
    content += bytes([*b"}h", depth, *b"K\x01s."])
    if not zipped:
        magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
        return magic + content + pickle.dumps([], 2)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3")
    return file.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_key_that_takes_years_to_look_up(tmp_path, zipped):
    path = tmp_path / "a.pth"
    for depth, says in {5: "expected a state dict of tensors, got", 60: ".*tuples of millions"}.items():
        path.write_bytes(tuples_of_tuples(depth, zipped=zipped))
        with pytest.raises(InputError, match=rf"a\.pth: {says}"):
            start(DeepLab(), path)
