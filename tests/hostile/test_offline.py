"""Nothing leaves the machine, and nothing is written but what a command says that it writes."""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from watched import asked_in, can_watch, environment, made_in, watch, whole_lines

needs_watching = pytest.mark.skipif(not can_watch(), reason="needs strace and unshare, and to be allowed to use them")


@pytest.fixture
def places():
    """Yield an empty home and an empty folder for temporary files, with a short path: Ray's sockets lie below it."""
    with tempfile.TemporaryDirectory(dir="/tmp" if os.name != "nt" else None, prefix="a") as name:
        made = Path(name, "h"), Path(name, "t")
        for place in made:
            place.mkdir()
        yield made


def files_below(*folders):
    return [path for folder in folders for path in folder.rglob("*")]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_segmenting_writes_nothing_but_masks(tiny_model, tmp_path, places, engine):
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    command = [sys.executable, "-m", "atrous", "segment", "photo.png", "--model", str(tiny_model), "--engine", engine]
    done = subprocess.run(command, cwd=tmp_path, env=environment(*places), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert files_below(*places) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "segmentation"]


TRACE = """\
7 connect(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
7 connect(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, 16 <unfinished ...>
8 connect(4<socket:[2]>, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), \
inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 ENETUNREACH (Network is unreachable)
7 <... connect resumed>)            = -1 ENETUNREACH (Network is unreachable)
8 connect(4<socket:[2]>, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), \
inet_pton(AF_INET6, "::ffff:127.0.0.1", &sin6_addr), sin6_scope_id=0}, 28) = 0
8 sendto(4<socket:[2]>, "x", 1, MSG_NOSIGNAL, {sa_family=AF_INET, sin_port=htons(53), \
sin_addr=inet_addr("127.0.0.53")}, 16) = 1
8 connect(4<socket:[2]>, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file)
7 openat(AT_FDCWD</w>, "made", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 5</w/made>
7 openat(AT_FDCWD</w>, "gone", O_RDWR|O_CREAT, 0666 <unfinished ...>
8 openat(AT_FDCWD</w>, "read", O_RDONLY) = 5</w/read>
8 openat(AT_FDCWD</w>, "/dev/null", O_WRONLY|O_CREAT, 0666) = 5</dev/null<char 1:3>>
7 <... openat resumed>) = 6</w/gone (deleted)>
7 openat(AT_FDCWD</w>, "/etc/x", O_WRONLY|O_CREAT, 0666) = -1 EACCES (Permission denied)
7 mkdir("/home/me/.cache", 0777) = 0
7 mkdir("/home/me", 0777) = -1 EEXIST (File exists)
7 mkdirat(AT_FDCWD</w>, "a", 0700) = 0
""".replace("\\\n", "")


def test_a_trace_is_read():
    lines = list(whole_lines(TRACE))
    asked = [address for line in lines for address in asked_in(line)]
    assert sorted(asked) == ["127.0.0.53, port 53", "192.0.2.1, port 80", "2001:db8::1, port 443"]
    made = [path.as_posix() for line in lines for path in made_in(line)]
    assert made == ["/w/made", "/w/gone", "/home/me/.cache", "/w/a"]


@needs_watching
def test_who_goes_out_is_seen(tmp_path, places):
    code = (
        "import pathlib, socket\n"
        "pathlib.Path.home().joinpath('id').write_text('1')\n"
        "pathlib.Path('mine').write_text('1')\n"
        "try: socket.create_connection(('192.0.2.1', 9), 1)\n"
        "except OSError as error: print(error.errno)\n"
        "with socket.create_server(('127.0.0.1', 0)) as server: socket.create_connection(server.getsockname())\n"
    )
    command = [sys.executable, "-c", code]
    seen = watch(command, tmp_path, environment(*places), tmp_path / "trace", seconds=60)
    assert (seen.status, seen.output) == (0, "101\n")  # the network is unreachable
    assert seen.asked == ["192.0.2.1, port 9"]
    assert seen.made == [places[0] / "id", tmp_path / "mine"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, make_model, tiny_metadata):
    """A folder with a little of everything that commands read."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    for place in ("photos", "data/images", "data/labels"):
        (folder / place).mkdir(parents=True)
    for name in "abc":
        photo = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        labels = np.zeros((48, 64), np.uint8)
        labels[8:30, 10:40] = 1
        for place in ("photos", "data/images"):
            Image.fromarray(photo).save(folder / place / f"{name}.jpg")
        Image.fromarray(labels).save(folder / "data/labels" / f"{name}.png")
    np.save(folder / "scores.npy", np.full((3, 48, 64), 1 / 3, np.float32))
    (folder / "data/classes.txt").write_text("".join(f"{name}\n" for name in tiny_metadata.classes))
    make_model(folder / "tiny.onnx", metadata=tiny_metadata.to_json())
    return folder


# A server, one request to it, and a while in which a thread that reports could do so.
SERVE = """
import signal, subprocess, sys, time, urllib.request
arguments = ["serve", "--port", "0", "--model", "tiny.onnx"]
server = subprocess.Popen([sys.executable, "-u", "-m", "atrous", *arguments], stdout=subprocess.PIPE, text=True)
url = server.stdout.readline().split("/  ")[0]
with urllib.request.urlopen(url, timeout=60) as page:
    assert b"<html" in page.read()
photo = open("photos/a.jpg", "rb").read()
request = urllib.request.Request(url + "/api/segment", photo, {"Content-Type": "image/jpeg"})
with urllib.request.urlopen(request, timeout=60) as mask:
    assert mask.read(4) == b"\\x89PNG"
time.sleep(15)
server.send_signal(signal.SIGINT)
sys.exit(server.wait(60))
"""
VIDEO = """
import av, numpy as np
with av.open("clip.mp4", "w") as clip:
    stream = clip.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for _ in range(3):
        clip.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8))))
    clip.mux(stream.encode())
"""
SBD = """
import numpy as np
from pathlib import Path
from PIL import Image
from scipy.io import savemat
labels = np.zeros((48, 64), np.uint8)
labels[8:30, 10:40] = 1
for place in ("img", "cls"):
    Path("benchmark_RELEASE/dataset", place).mkdir(parents=True, exist_ok=True)
for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
    Path("VOC2012", place).mkdir(parents=True, exist_ok=True)
for name in "bc":
    Image.open(f"photos/{name}.jpg").save(f"VOC2012/JPEGImages/{name}.jpg")
    Image.fromarray(labels).save(f"VOC2012/SegmentationClass/{name}.png")
for name in "ab":
    Image.open(f"photos/{name}.jpg").save(f"benchmark_RELEASE/dataset/img/{name}.jpg")
    savemat(f"benchmark_RELEASE/dataset/cls/{name}.mat", {"GTcls": {"Segmentation": labels}})
Path("benchmark_RELEASE/dataset/train.txt").write_text("a\\n")
Path("benchmark_RELEASE/dataset/val.txt").write_text("b\\n")
Path("VOC2012/ImageSets/Segmentation/train.txt").write_text("b\\n")
Path("VOC2012/ImageSets/Segmentation/val.txt").write_text("c\\n")
"""
# Weights in VGG-16's sizes, without which nothing is trained.
WEIGHTS = """
import torch
channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
weights = {}
for place, before, after in zip(places, channels, channels[1:]):
    weights[f"features.{place}.weight"] = 0.05 * torch.randn(after, before, 3, 3)
    weights[f"features.{place}.bias"] = torch.zeros(after)
torch.save(weights, "vgg16.pth")
"""
HUB = """
import atrous
segmenter = atrous.Segmenter("tiny.onnx")
segmenter.save_pretrained("saved")
print(atrous.Segmenter.from_pretrained("saved").classes)
"""
TRAIN = "train data --weights start.safetensors --recipe cpu --crop 33 --batch 1 --iterations 2 --hold-out 1"
# Name: the packages that it needs, and its programs one after the other: arguments of atrous, or lines of Python.
CASES = {
    "segment": ("onnxruntime", ["segment photos --engine onnxruntime --threads 1"]),
    "segment on OpenVINO": ("openvino", ["segment photos --engine openvino --out masks"]),
    "segment a video": ("av", [VIDEO, "segment clip.mp4 --model tiny.onnx --out clips"]),
    "refine": ("numpy", ["refine photos/a.jpg scores.npy --out refined"]),
    "evaluate": ("matplotlib jinja2", ["evaluate data --model tiny.onnx --report report.html --json report.json"]),
    "tune": ("matplotlib", ["tune data --model tiny.onnx --weight 2 --sxy 9,30 --srgb 5,9 --hold-out 0 --finer 0"]),
    "bench": ("numpy", ["bench photos --model tiny.onnx --runs 1 --images 1"]),
    "data check": ("numpy", ["data check data"]),
    "data sbd": ("scipy", [SBD, "data sbd benchmark_RELEASE --voc VOC2012 --out augmented"]),
    "bulk": ("ray pyarrow", ["bulk photos many --model tiny.onnx"]),
    "serve": ("fastapi", [SERVE]),
    "hub": ("huggingface_hub", [HUB]),
    "train": (
        "torch onnxscript",
        [
            WEIGHTS,
            "convert vgg16.pth start.safetensors",
            f"{TRAIN} --out run --workers 1",
            "evaluate data --model run/checkpoint-000002",
            "export run/checkpoint-000002 model.onnx --calibrate photos --keep",
        ],
    ),
}


@pytest.mark.fault(
    "no network, and an empty HOME and TMPDIR",
    "No other machine is contacted. Only the outputs are written.",
    of=("segment", "refine", "bulk", "serve", "train", "evaluate", "tune", "convert", "export", "bench"),
)
@needs_watching
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_leaves_and_nothing_else_is_written(name, world, places, tmp_path):
    packages, programs = CASES[name]
    if missing := [package for package in packages.split() if find_spec(package) is None]:
        pytest.skip(f"needs {' '.join(missing)}")
    for program in programs:
        arguments = ["-c", program] if "\n" in program else ["-m", "atrous", *program.split()]
        command = [sys.executable, *arguments]
        seen = watch(command, world, environment(*places), tmp_path / "trace", seconds=300)
        assert seen.status == 0, seen.output
        assert seen.asked == []
        # What was temporary is gone by now.
        assert files_below(*places) == []
        assert [path for path in seen.made if world not in path.parents and places[1] not in path.parents] == []
