"""Crafted model files: sound ones written in other ways, and ones that lie, never end or fill the memory.

`python tests/hostile/models.py ENGINE` segments a picture with each of them and prints a line of JSON for each.
"""

import contextlib
import json
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from model_cases import BYTES, EITHER, FACES, GRAPHS, NO_MODEL, SAME, SETTINGS, WEIGHTS
from model_parts import changed, edited, mutated, sound_model, with_metadata

from atrous.backends.base import read_exported
from atrous.errors import ComputeError, InputError
from atrous.segmenter import Segmenter


@dataclass(frozen=True)
class Crafted:
    """A model file.

    Attributes
    ----------
    name : str
    data : bytes
    expected : str
        SAME, EITHER, or what the error that refuses it matches.
    """

    name: str
    data: bytes
    expected: str


def crafted_models(seed: int = 0, mutations: int = 24) -> Iterator[Crafted]:
    """Yield the files, the same ones for a seed; the last are the sound model with random bytes changed."""
    sound = sound_model().SerializeToString()
    yield Crafted("sound", sound, SAME)
    for name, (expected, make) in BYTES.items():
        yield Crafted(f"bytes: {name}", make(sound), expected)
    for kind, cases in {"graph": GRAPHS, "weights": WEIGHTS, "faces": FACES}.items():
        for name, (expected, change) in cases.items():
            yield Crafted(f"{kind}: {name}", edited(change), expected)
    for name, (expected, change) in SETTINGS.items():
        text = change if isinstance(change, (str, bytes)) else json.dumps(changed(change))
        yield Crafted(f"metadata: {name}", with_metadata(text), expected)
    yield Crafted("metadata: twice", with_metadata(*[json.dumps(changed({}))] * 2), "twice")
    yield Crafted("metadata: none", with_metadata(), "metadata")
    rng = random.Random(seed)
    for number in range(12):
        yield Crafted(f"cut short {number}", sound[: rng.randrange(1, len(sound))], f"{NO_MODEL}|metadata|no graph")
    for number in range(mutations):
        yield Crafted(f"mutated {number}", mutated(rng), EITHER)


def outcome(path: Path, engine: str, image: np.ndarray, labels: np.ndarray) -> tuple[str, str]:
    """Segment with a model file: "refused" and the message, SAME, "segmented" otherwise, or "failed" and the error."""
    try:
        found = Segmenter(path, engine=engine, threads=1)(image).labels
    except (InputError, ComputeError) as error:
        message = str(error)
        one_line = "\n" not in message and len(message) < 1000
        return ("refused", message) if one_line else ("failed", f"no line: {message[:300]!r}")
    except Exception as error:
        return "failed", "".join(traceback.format_exception_only(error))[-300:]
    return SAME if np.array_equal(found, labels) else "segmented", ""


def main(engine: str, seed: str = "0", mutations: str = "24", which: str = "all") -> None:
    """Segment with each of them and print what came of it; a name without an outcome crashed or never ended.

    Parameters
    ----------
    engine : str
    seed, mutations : str
        As for `crafted_models`.
    which : "all" or "read"
        "read": only those that an engine gets to see.
    """
    limit_memory()
    image = np.full((64, 96, 3), 128, np.uint8)
    image[16:48, 24:72] = 230, 20, 20
    labels = np.zeros((64, 96), np.uint8)
    labels[16:48, 24:72] = 1
    with tempfile.TemporaryDirectory() as folder:
        for number, crafted in enumerate(crafted_models(int(seed), int(mutations))):
            path = Path(folder) / f"{number}.onnx"
            path.write_bytes(crafted.data)
            if which == "all" or is_read(path):
                print(json.dumps([crafted.name, crafted.expected]), flush=True)
                print(json.dumps(outcome(path, engine, image, labels)), flush=True)
            path.unlink()


def is_read(path: Path) -> bool:
    try:
        read_exported(path)
    except InputError:
        return False
    return True


def limit_memory() -> None:
    """Let this process take 8 GB of addresses at the most, where the system can tell it so."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


if __name__ == "__main__":
    main(*sys.argv[1:])
