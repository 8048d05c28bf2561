"""Odd names of files, folders, classes and lists, and odd values of options, through the commands themselves.

Whatever a name holds, a command ends with its status and prints lines that a terminal does not obey.
"""

import io
import os
import random
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import hostile_cases as cases
import numpy as np
import typer
from command import CONTROL
from mutations import NUMBERS, ODD_TEXT
from PIL import Image

from atrous.cli import app, main
from tiny_model import TINY, write_tiny_model

# Names of files are bytes, and some are no text in any encoding.
ODD_BYTES = (b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"caf\xe9", b"\x80abc", b"\xf0\x9f\x98")
# A line of its own that looks as if a command had printed it.
FORGED = b"FORGED"
SUFFIXES = (".jpg", ".png", ".PNG", ".jpg.png", ".", "", ".txt", ".overlay.jpg")
# Not of `atrous serve`, which would serve, nor those that need PyTorch or Ray.
COMMANDS = ("segment", "refine", "evaluate", "tune", "data check")


@cache
def model() -> Path:
    return write_tiny_model(Path(mkdtemp()) / "tiny.onnx", metadata=TINY.to_json())


def odd_name(rng: random.Random) -> str:
    """Return a file's name of at most 200 bytes."""
    parts = []
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.2:
            parts.append(rng.choice(ODD_BYTES))
        elif rng.random() < 0.2:
            parts.append(b"\n" + FORGED)
        else:
            parts.append(rng.choice((*ODD_TEXT[:-3], "photo", "a b")).encode("utf-8", "surrogatepass"))
    name = b"".join(parts).replace(b"\0", b"").replace(b"/", b"")[:200]
    return os.fsdecode(name if name not in (b"", b".", b"..") else b"x")


def odd_class(rng: random.Random) -> str:
    """Return a class name for a list: a line break would make two classes, the second with the forged name."""
    return odd_name(rng).replace("\n", "-")


def atrous(*arguments: str | Path) -> int:
    """Run a command in this process; hold it to its promises and return its status."""
    out, err = io.BytesIO(), io.BytesIO()
    status: object = 0
    before = sys.argv
    sys.argv = ["atrous", *map(str, arguments)]
    try:
        with (
            io.TextIOWrapper(out, "utf-8", write_through=True) as stdout,
            io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True) as stderr,
        ):
            with redirect_stdout(stdout), redirect_stderr(stderr):
                try:
                    main()
                except SystemExit as end:
                    status = end.code
            printed, errors = out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    assert status in (0, 1, 2, None), f"status {status}: {errors[-200:]!r}"
    for text in (printed, errors):
        found = CONTROL.search(text)
        assert not found, f"prints {text[max(0, found.start() - 40) : found.end() + 20]!r}"
        assert not any(line.startswith(FORGED) for line in text.splitlines()), f"prints a forged line: {text!r}"
    assert status in (0, None) or printed or errors, f"status {status} without a word"
    return int(status or 0)


def photos(rng: random.Random, folder: Path) -> None:
    """Photos with odd names, one by one or in a folder."""
    inside = folder / odd_name(rng)
    for _ in range(rng.randint(1, 3)):
        _picture(inside / (odd_name(rng) + rng.choice(SUFFIXES)))
    given = [inside] if rng.random() < 0.5 else sorted(inside.iterdir())
    if rng.random() < 0.2:
        given.append(folder / odd_name(rng))  # which is not there
    given = [path.relative_to(folder) if rng.random() < 0.3 else path for path in given]
    with chdir(folder):
        out = rng.choice((folder / "out", inside, folder / odd_name(rng)))  # not "-", standard output
        atrous("segment", "--model", model(), "--engine", "onnxruntime", f"--out={out}", "--", *given)


def own_data(rng: random.Random, folder: Path) -> None:
    """Labeled photos, classes and lists with odd names."""
    names = [odd_name(rng) for _ in range(3)]
    for name in names:
        _picture(folder / "images" / f"{name}.jpg")
        _labels(folder / "labels" / f"{name}.png", 2 if rng.random() < 0.8 else 77)
    if rng.random() < 0.3:
        (folder / "images" / (odd_name(rng) + ".jpg")).write_bytes(b"no picture")
    classes = ["background", *(odd_class(rng) for _ in range(2))]
    _lines(folder / "classes.txt", classes)
    listed = odd_name(rng)
    _lines(folder / "lists" / f"{listed}.txt", [*names, odd_name(rng)] if rng.random() < 0.5 else names)
    command = rng.choice(("data check", "evaluate", "masks", "tune"))
    chosen = rng.choice((listed, "all", "val", odd_name(rng)))
    if command == "data check":
        atrous("data", "check", folder)
    elif command == "evaluate":
        atrous(*("evaluate", folder, "--model", model(), "--engine", "onnxruntime", f"--list={chosen}"))
    elif command == "masks":
        atrous("evaluate", folder, "--masks", folder / "labels", f"--list={chosen}", f"--csv={folder / odd_name(rng)}")
    else:
        _lines(folder / "classes.txt", [f"{c}{i}" for i, c in enumerate(classes)])
        small = ("--weight=4", "--sxy=40", "--srgb=5", "--finer=0", "--iterations=1", "--hold-out=0")
        atrous("tune", folder, "--model", model(), f"--list={chosen}", f"--out={folder / odd_name(rng)}.json", *small)


def model_classes(rng: random.Random, folder: Path) -> None:
    """A model whose classes and notes have odd names."""
    import dataclasses

    names = tuple(odd_name(rng).encode("utf-8", "replace").decode() for _ in range(3))
    metadata = dataclasses.replace(TINY, classes=names, notes=odd_name(rng), training_list=odd_name(rng))
    path = write_tiny_model(folder / "model.onnx", metadata=metadata.to_json())
    renamed = path.rename(folder / (odd_name(rng) + ".onnx"))
    _picture(folder / "photo.png")
    atrous("segment", folder / "photo.png", "--engine", "onnxruntime", "--model", renamed, "--out", folder / "out")


def refined(rng: random.Random, folder: Path) -> None:
    """A photo and label ids to refine, with odd names of files and classes."""
    image, labels, listed = (folder / (odd_name(rng) + suffix) for suffix in (".jpg", ".png", ".txt"))
    _picture(image)
    _labels(labels, 2)
    _lines(listed, [f"{odd_class(rng)} {i}" for i in range(3)])
    atrous("refine", image, labels, "--classes", listed, "--out", folder / odd_name(rng))


def options(rng: random.Random, folder: Path) -> None:
    """Any value of any option; most are refused before the work."""
    words = rng.choice(COMMANDS).split()
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    photo, labels, data = folder / "photo.png", folder / "labels.png", folder / "data"
    _picture(photo)
    _labels(labels, 2)
    _picture(data / "images/a.png")
    _labels(data / "labels/a.png", 2)
    _lines(data / "classes.txt", ["background", "red", "blue"])
    given: dict[str, list[Path]] = {"segment": [photo], "refine": [photo, labels]}
    arguments: list[str | Path] = [*words, *given.get(words[0], [data])]
    for parameter in rng.sample(command.params, min(3, len(command.params))):
        if not parameter.opts[0].startswith("--") or parameter.name == "help":
            continue
        value = rng.choice((*NUMBERS, *ODD_TEXT[:-1], "", "0", "1", "2", str(folder), str(photo), "5,10", "1:1:1e9"))
        flag = getattr(parameter, "is_flag", False)
        # What a shell can pass: bytes without NUL.
        value = os.fsdecode(value.encode("utf-8", "surrogatepass").replace(b"\0", b""))
        arguments.append(parameter.opts[0] if flag else f"{parameter.opts[0]}={value}")
    with chdir(folder):
        atrous(*arguments)


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), "red").save(path, "PNG")


def _labels(path: Path, largest: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = np.zeros((16, 24), np.uint8)
    ids[4:12, 4:12] = 1
    ids[0, 0] = largest
    Image.fromarray(ids).save(path, "PNG")


def _lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode("\n".join(lines)))


CASES: list[cases.Case] = [photos, own_data, model_classes, refined, options, options]


def run_case(seed: tuple[int, int]) -> str:
    """Run one case."""
    return cases.run(CASES, seed)
