"""Run commands in forks of one process that has imported what takes long, with any standard streams.

As a script it reads cases from standard input and writes what became of them, as JSON.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

# ESC, an OSC that sets a terminal's title, BEL, a line's end, a change of the writing direction, rich's markup.
ODD = "a\x1b]0;t\x07\n\u202e[b]{c}"

SMALL_CRF = ["--weight", "2", "--sxy", "10", "--srgb", "8", "--finer", "0", "--iterations", "1"]
SMALL_RUN = ["--recipe", "cpu", "--crop", "33", "--batch", "1", "--iterations", "1", "--workers", "0"]


def build(root: Path, name: str) -> dict[str, list[str]]:
    """Make small files called `name` for all commands, and return a command line for each but `export`.

    `OUT` in it stands for a folder that is there and empty.
    """
    from PIL import Image

    from tiny_model import TINY, write_tiny_model

    metadata = dataclasses.replace(TINY, variant=name, classes=("background", f"red {name}", "blue"))
    model = write_tiny_model(root / f"{name}.onnx", metadata=metadata.to_json())
    line = name.replace("\n", "")  # of a list of names
    (root / f"{name}.txt").write_text(f"background\nred {line}\nblue\n")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (33, 33, 3), np.uint8)
    labels = np.zeros((33, 33), np.uint8)
    labels[9:, 9:] = 1
    photo = root / f"{name}.png"
    Image.fromarray(image).save(photo)
    probabilities = np.full((3, 33, 33), 0.2, np.float32)
    probabilities[0] = 0.6
    np.save(root / f"{name}.npy", probabilities)
    for folder in ("data/images", "data/labels", "tune/images", "tune/scores", "tune/masks"):
        (root / f"{name} {folder}").mkdir(parents=True)
    (root / f"{name} data/classes.txt").write_text(f"background\nred {line}\nblue\n")
    for i in range(10):
        Image.fromarray(image).save(root / f"{name} data/images/{i}{name}.png")
        Image.fromarray(labels).save(root / f"{name} data/labels/{i}{name}.png")
    Image.fromarray(image).save(root / f"{name} tune/images/{name}.png")
    Image.fromarray(labels).save(root / f"{name} tune/masks/{name}.png")
    np.save(root / f"{name} tune/scores/{name}.npy", probabilities)
    data, tune = f"{root}/{name} data", f"{root}/{name} tune"
    lines = {
        "segment": [str(photo), "--model", str(model), "--out", "OUT", "--engine", "onnxruntime"],
        "refine": [str(photo), f"{root}/{name}.npy", "--out", "OUT", "--classes", f"{root}/{name}.txt"],
        "evaluate": [data, "--model", str(model), "--list", "all", "--limit", "1", "--csv", f"OUT/{name}.csv"],
        "tune": [tune, "--out", f"OUT/{name}.json", *SMALL_CRF],
        "bench": ["--model", str(model), "--runs", "1", "--images", "1", str(photo), "--engine", "onnxruntime"],
        "bulk": [str(root / f"{name} data/images"), f"OUT/{name}", "--model", str(model), "--actors", "1"],
        "serve": ["--port", "0", "--model", str(model)],
        "data check": [data],
    }
    lines["evaluate"] += ["--engine", "onnxruntime", "--report", f"OUT/{name}.html"]
    return lines | _of_sbd(root, name) | _of_torch(root, name, data)


def _of_sbd(root: Path, name: str) -> dict[str, list[str]]:
    try:
        from scipy.io import savemat
    except ImportError:
        return {}
    from PIL import Image

    release, voc = root / f"{name} sbd", root / f"{name} voc"
    for folder in (release / "cls", release / "img", *(voc / f for f in ("SegmentationClass", "JPEGImages"))):
        folder.mkdir(parents=True)
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    labels = np.ones((8, 8), np.uint8)
    savemat(release / "cls/a.mat", {"GTcls": {"Segmentation": labels}})
    Image.fromarray(labels).save(voc / "SegmentationClass/b.png")
    for photo in (release / "img/a.jpg", voc / "JPEGImages/a.jpg", voc / "JPEGImages/b.jpg"):
        Image.fromarray(labels).save(photo)
    missing = name.replace("\n", "")
    (release / "train.txt").write_text(f"a\n{missing}\n")
    (release / "val.txt").write_text("a\n")
    (voc / "ImageSets/Segmentation/train.txt").write_text("b\n")
    (voc / "ImageSets/Segmentation/val.txt").write_text("c\n")
    return {"data sbd": [str(release), "--voc", str(voc), "--out", f"OUT/{name}"]}


def _of_torch(root: Path, name: str, data: str) -> dict[str, list[str]]:
    try:
        import torch
        from safetensors.torch import save_file
    except ImportError:
        return {}
    from atrous.network.deeplab import TRUNK, DeepLab
    from atrous.network.variants import VARIANTS

    for stage, spec in TRUNK.items():
        TRUNK[stage] = spec._replace(channels=4)
    for variant, row in VARIANTS.items():
        VARIANTS[variant] = dataclasses.replace(row, channels=4)
    weights = root / f"{name}.safetensors"
    tensors = {n: p.detach() for n, p in DeepLab().named_parameters() if n.startswith("conv")}
    save_file(tensors | {f"{name}.weight": torch.zeros(1)}, weights)
    return {
        "convert": [str(weights), f"OUT/{name}.safetensors"],
        "train": [
            data,
            "--out",
            f"OUT/{name}",
            "--list",
            "all",
            "--allow-overlap",
            "--weights",
            str(weights),
            *SMALL_RUN,
        ],
    }


def fork(arguments: list[str], streams: str, folder: Path, seconds: float) -> dict[str, object]:
    """Run a command in a fork; return its status and what it printed.

    `streams` is "kept", or of standard output "full", "closed" at the start or "gone" (a pipe that nobody reads).
    """
    out, err = folder / "stdout", folder / "stderr"
    child = os.fork()
    if not child:
        _become(arguments, streams, out, err)
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
        time.sleep(0.01)
    texts = [path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else "" for path in (out, err)]
    return {"status": os.waitstatus_to_exitcode(ended[1]), "out": texts[0], "err": texts[1]}


def _become(arguments: list[str], streams: str, out: Path, err: Path) -> None:
    status = 120
    try:
        os.dup2(os.open(err, os.O_CREAT | os.O_WRONLY), 2)
        if streams == "gone":
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, 1)
        else:
            os.dup2(os.open("/dev/full" if streams == "full" else out, os.O_CREAT | os.O_WRONLY), 1)
        if streams == "closed":
            os.close(1)
        # As Python opens them when it starts.
        sys.stdout = None if streams == "closed" else open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.argv = ["atrous", *arguments]
        from atrous.cli import main

        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    os._exit(status)


def main() -> None:
    """Build the files, run the cases, print their results."""
    root = Path(sys.argv[1])
    cases = json.load(sys.stdin)
    for module in ("atrous.cli", "matplotlib.figure", "jinja2", "torch.utils.tensorboard", "scipy.io"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    lines = build(root, ODD)
    results = []
    for number, case in enumerate(cases):
        folder = root / f"case {number}"
        (folder / "out").mkdir(parents=True)
        given = case["arguments"]
        if given is None:
            given = [*case["command"].split(), *lines.get(case["command"], ["absent"])]
        given = [text.replace("OUT", str(folder / "out")) for text in given]
        results.append(fork(given, case["streams"], folder, case.get("seconds", 60)))
    json.dump({"results": results, "commands": sorted(lines)}, sys.stdout)


if __name__ == "__main__":
    main()
