"""Write outputs while the disk fills up after every number of bytes. A script: WRITER FOLDER SIZES limit|disk.

"limit" lets no file grow beyond a size: the write that reaches it is cut short and the next fails, as on a full disk.
"disk" is a small disk in memory, which needs the right to mount one.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from atrous.errors import InputError

RNG = np.random.default_rng(0)
Write = Callable[[Path], object]


def _segmentation(height: int = 64, width: int = 96):
    from atrous.segmenter import Segmentation

    image = RNG.integers(0, 255, (height, width, 3), np.uint8)
    planes = RNG.random((3, height, width), np.float32)
    return Segmentation(image, planes, ("background", "a", "b"), ((0, 0, 0), (128, 0, 0), (0, 128, 0)))


def masks() -> Write:
    result = _segmentation()
    return lambda folder: result.save(folder, "photo", probabilities=True)


def label_map() -> Write:
    from atrous.labelmap import write_labels

    labels = RNG.integers(0, 21, (64, 96), np.uint8)
    return lambda folder: write_labels(folder / "labels.png", labels)


def scores() -> Write:
    from atrous._io import write_text

    return lambda folder: write_text(folder / "scores.json", "0123456789\n" * 1000)


def submission() -> Write:
    from atrous.data.samples import Sample
    from atrous.evaluation.voc_submission import Submission

    sample = Sample("photo", Path("photo.jpg"), Path("photo.png"))
    labels = RNG.integers(0, 21, (64, 96), np.uint8)

    def write(folder: Path) -> None:
        place = Submission(folder / "submission", "val", np.zeros((21, 3), np.uint8))
        place.add(sample, labels)
        place.pack([sample])

    return write


def search() -> Write:
    from atrous.crf.tune.plots import draw_heat_map
    from atrous.crf.tune.trials import Trial, TrialTable

    table = TrialTable(None, {})
    table.add([Trial(3.0, 10.0 + i, 5.0, 0.5 + i / 1000) for i in range(50)])

    def write(folder: Path) -> None:
        table.save(folder / "crf.csv")
        draw_heat_map(folder / "crf.png", table.trials, baseline=0.5, images=2)

    return write


def curves() -> Write:
    from atrous.training.logger import EVALUATIONS, LOG, draw_curves

    run = Path(tempfile.mkdtemp())
    (run / LOG).write_text("step,loss,lr\n" + "".join(f"{i},{1 / i},0.1\n" for i in range(1, 50)))

    (run / EVALUATIONS).write_text("step,mean_iou,pixel_accuracy\n49,0.5,0.9\n")

    def write(folder: Path) -> None:
        (folder / "run").mkdir()  # its name is the title
        tables = [folder / "run" / name for name in (LOG, EVALUATIONS)]
        for table in tables:
            table.symlink_to(run / table.name)
        try:
            draw_curves(folder / "run")
        finally:
            for table in tables:
                table.unlink()

    return write


def journal() -> Write:
    from rich.console import Console

    from atrous.training.logger import Logger

    console = Console(quiet=True)
    Logger._open_events = lambda self: None  # whose file has the time in its name

    def write(folder: Path) -> None:
        with Logger(folder / "run", iterations=2, first_step=0, crops=1, console=console):
            pass

    return write


def checkpoint() -> Write:
    import torch
    from torch import nn

    from atrous.training.checkpoint import TrainingState, save
    from atrous.training.config import RECIPES

    net = nn.Linear(40, 100)
    groups = [{"params": [p], "name": name} for name, p in net.named_parameters()]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    net(torch.ones(1, 40)).sum().backward()
    optimizer.step()
    palette = ((0, 0, 0), (255, 0, 0))
    state = TrainingState(1, RECIPES["cpu"], ("background", "red"), palette, "train", "0" * 64, "nowhere", {})
    return lambda folder: save(folder / "run", net, optimizer, state, ("one", "two"))


def _narrow():
    from atrous.network.deeplab import TRUNK, DeepLab
    from atrous.network.variants import VARIANTS

    for stage, spec in TRUNK.items():
        TRUNK[stage] = spec._replace(channels=4)
    for variant, row in VARIANTS.items():
        VARIANTS[variant] = replace(row, channels=4)
    return DeepLab(classes=3)


def weights() -> Write:
    from safetensors.torch import save_file

    from atrous.network.convert import convert

    place = Path(tempfile.mkdtemp())
    net = _narrow()
    save_file(net.state_dict(), place / "whole.safetensors")
    names = ["background", "a", "b"]

    def write(folder: Path) -> None:
        convert(place / "whole.safetensors", folder / "weights.safetensors", classes=3)
        convert(place / "whole.safetensors", folder / "checkpoint", class_names=names)

    return write


def exported() -> Write:
    import onnx

    from atrous.network.onnx_export import _write
    from tiny_model import TINY, write_tiny_model

    model = onnx.load(write_tiny_model(Path(tempfile.mkdtemp()) / "tiny.onnx", metadata=None))
    metadata = replace(TINY, notes="from somewhere, " * 1000)
    return lambda folder: _write(model, folder / "model.onnx", metadata)


def hub() -> Write:
    from atrous.segmenter import Segmenter
    from tiny_model import TINY, write_tiny_model

    model = write_tiny_model(Path(tempfile.mkdtemp()) / "tiny.onnx", metadata=TINY.to_json())
    segmenter = Segmenter(model, engine="onnxruntime")
    return lambda folder: segmenter.save_pretrained(folder / "saved")


def hub_weights() -> Write:
    from atrous.network.torch_backend import TorchEngine
    from atrous.segmenter import Segmenter
    from tiny_model import TINY

    segmenter = Segmenter(TorchEngine(_narrow(), TINY))
    return lambda folder: segmenter.save_pretrained(folder / "saved")


def bulk() -> Write:
    from atrous.bulk.storage import Storage

    content = RNG.bytes(20_000)

    def write(folder: Path) -> None:
        storage = Storage(str(folder / "bulk"))
        try:
            storage.write("deep/mask.png", content)
            storage.create("_bulk/plans/0.parquet", content)
        finally:
            shutil.rmtree(folder / "bulk/_bulk/tmp")

    return write


def clip() -> Write:
    sys.path.insert(0, str(Path(__file__).parent / "video"))
    from video_files import write_video

    from atrous.segmenter import Segmenter
    from atrous.video import segment_video
    from tiny_model import TINY, write_tiny_model

    place = Path(tempfile.mkdtemp())
    segmenter = Segmenter(
        write_tiny_model(place / "tiny.onnx", metadata=TINY.to_json()), crf=None, threads=1, engine="onnxruntime"
    )
    write_video(place / "clip.mp4", frames=4, audio="aac")
    return lambda folder: segment_video(segmenter, place / "clip.mp4", folder / "out", labels=True)


# For each writer: the files of which all are there or none, as groups; every other file is whole or not there.
GROUPS = {
    "masks": [{"photo.png", "photo.overlay.jpg", "photo.probabilities.npy"}],
    "clip": [{"out/clip.overlay.mp4", *(f"out/clip/00000{i}.png" for i in range(1, 5)), "out/clip/times.csv"}],
    "hub": [{f"saved/{name}" for name in ("config.json", "README.md", "model.onnx")}],
    "hub_weights": [{f"saved/{name}" for name in ("config.json", "README.md", "model.safetensors")}],
    "weights": [{f"checkpoint/{name}" for name in ("model.safetensors", "state.json")}],
}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def check(folder: Path, whole: dict[str, bytes], groups: list[set[str]], error: Exception | None) -> None:
    """Raise AssertionError unless each file is whole or not there, and nothing else is there."""
    found = {name: content for name, content in contents(folder).items() if ".lock" not in name}
    for name, content in found.items():
        assert name in whole, f"{name}: left over"
        assert len(content) == len(whole[name]), f"{name}: {len(content)} bytes of {len(whole[name])}"
        assert content[10:] == whole[name][10:], f"{name}: other bytes"  # gzip begins with the time
    for group in groups:
        assert not group & found.keys() or group <= found.keys(), f"only {sorted(group & found.keys())}"
    assert error is not None or found.keys() == whole.keys(), f"no error, but {sorted(found)}"


def attempt(write: Write, folder: Path, limit: int | None) -> Exception | None:
    hard = resource.RLIM_INFINITY
    try:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        write(folder)
    except (InputError, OSError) as error:
        return error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return None


def on_disk(write: Write, folder: Path, size: int) -> Exception | None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size, 1)}", "none", folder], check=True)
    return attempt(write, folder, None)


def main() -> None:
    """Sweep over sizes; any AssertionError ends it."""
    name, folder, count, kind = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    write, groups = globals()[name](), GROUPS.get(name, [])
    whole_folder = folder / "whole"
    whole_folder.mkdir()
    assert attempt(write, whole_folder, None) is None
    whole = contents(whole_folder)
    assert all(group <= whole.keys() for group in groups), sorted(whole)
    largest = max(map(len, whole.values()))
    pages = sum(-(-len(content) // 4096) + 2 for content in whole.values()) * 4096
    failed = 0
    for n in range(count):
        place = folder / str(n)
        place.mkdir()
        if kind == "limit":
            error = attempt(write, place, n * largest // (count - 1))
        else:
            error = on_disk(write, place, n * pages // (count - 1))
        failed += error is not None
        check(place, whole, groups, error)
        # Which file it was; the storage's callers name it.
        assert error is None or str(folder) in str(error) or name == "bulk", error
        if kind == "disk":
            subprocess.run(["umount", place], check=True)
    # As far as can be: the largest file fits at the last size alone.
    assert failed == count - 1 if kind == "limit" else failed, failed
    print(f"{name}: {count} sizes, {failed} failures, nothing truncated and nothing left over")


if __name__ == "__main__":
    os.umask(0o022)
    main()
