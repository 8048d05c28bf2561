"""Spoiled models and what training reads: ONNX, checkpoints, safetensors, pickles, Caffe models, recipes, journals."""

import csv
import io
import json
import random
import struct
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import hostile_cases as cases
import numpy as np
from mutations import odd_value, spoiled_bytes, spoiled_json, spoiled_safetensors, spoiled_text

from atrous import Segmenter
from atrous.segmenter.config import SavedSettings
from tiny_model import TINY, write_tiny_model

TESTS = Path(__file__).parents[1]
ENGINES = ("onnxruntime", *(["openvino"] if find_spec("openvino") else []))
SMALL = {"crop": 33, "batch": 2, "iterations": 2}


def photo() -> np.ndarray:
    image = np.full((24, 40, 3), 128, np.uint8)
    image[8:16, 8:24] = 230, 20, 20
    return image


@cache
def model() -> bytes:
    return write_tiny_model(Path(mkdtemp()) / "tiny.onnx", metadata=TINY.to_json()).read_bytes()


def segmented(segmenter: Segmenter) -> None:
    """Segment a photo; whatever the model, what comes out is labels of its classes, or one line."""
    result = segmenter(photo())
    assert result.labels.shape == (24, 40)
    assert result.labels.max() < len(segmenter.classes)
    assert np.isfinite(result.planes).all()
    assert result.planes.min() >= 0
    np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, atol=1e-3)


def onnx_bytes(rng: random.Random, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(spoiled_bytes(rng, model(), most=3))
    segmented(Segmenter(path, engine=rng.choice(ENGINES), threads=1))


def onnx_metadata(rng: random.Random, folder: Path) -> None:
    text = spoiled_json(rng, json.loads(TINY.to_json())).decode("utf-8", "replace")
    path = write_tiny_model(folder / "model.onnx", metadata=text)
    segmented(Segmenter(path, engine=rng.choice(ENGINES), threads=1))


def saved_folder(rng: random.Random, folder: Path) -> None:
    saved = SavedSettings("model.onnx", TINY, TINY.crf, 513)
    (folder / "config.json").write_bytes(spoiled_json(rng, json.loads(saved.to_json())))
    (folder / "model.onnx").write_bytes(model())
    segmented(Segmenter.from_pretrained(folder, engine=rng.choice(ENGINES), threads=1))


@cache
def network() -> Any:
    """A network of a few channels and its weights' file, as header and bytes."""
    sys.path[:0] = [str(TESTS / "training"), str(TESTS / "network")]
    import narrow
    import torch
    from safetensors.torch import save

    from atrous.network.deeplab import DeepLab

    narrow.make_narrow()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = DeepLab("deeplab-largefov", classes=3)
    content = save(net.state_dict())
    (length,) = struct.unpack("<Q", content[:8])
    return net, json.loads(content[8 : 8 + length]), content[8 + length :]


def checkpoint(rng: random.Random, folder: Path) -> None:
    from atrous.training.checkpoint import TrainingState
    from atrous.training.config import Recipe

    _, header, body = network()
    state = TrainingState(2, Recipe(), TINY.classes, TINY.palette, "train", "0" * 64, "vgg", {"atrous": "0"})
    spoiled = rng.randrange(3)
    values = json.loads(state.to_json())
    (folder / "state.json").write_bytes(spoiled_json(rng, values) if spoiled != 1 else state.to_json().encode())
    whole = struct.pack("<Q", len(json.dumps(header))) + json.dumps(header).encode() + body
    (folder / "model.safetensors").write_bytes(spoiled_safetensors(rng, header, body) if spoiled != 0 else whole)
    TrainingState.read(folder)
    segmented(Segmenter(folder, threads=1))


def starting_weights(rng: random.Random, folder: Path) -> None:
    """Files to start training from, in the three formats."""
    net, header, body = network()  # which finds the modules below
    import caffe_writer
    import torch

    from atrous.network.deeplab import DeepLab
    from atrous.network.pretrained_init import start

    kind = rng.choice(("safetensors", "pth", "old pth", "caffemodel"))
    if kind == "safetensors":
        content = spoiled_safetensors(rng, header, body)
    elif kind == "caffemodel":
        layers = {name.removesuffix(".weight"): net.get_parameter(name) for name in _weights(net)}
        blobs = {name: (w.detach().numpy(), np.zeros(len(w), np.float32)) for name, w in layers.items()}
        content = spoiled_bytes(rng, caffe_writer.chain(blobs, old=rng.random() < 0.5), most=3)
    else:
        sink = io.BytesIO()
        torch.save(net.state_dict(), sink, _use_new_zipfile_serialization=kind == "pth")
        content = spoiled_bytes(rng, sink.getvalue(), most=3)
    path = folder / "weights"
    path.write_bytes(content)
    filled = DeepLab("deeplab-largefov", classes=3)
    start(filled, path)
    assert all(tensor.isfinite().all() for tensor in filled.state_dict().values())


def _weights(net: Any) -> list[str]:
    return [name for name, _ in net.named_parameters() if name.endswith(".weight")]


def recipe(rng: random.Random, folder: Path) -> None:
    from atrous.training.config import RECIPES, read_recipe

    path = folder / "recipe.toml"
    path.write_bytes(spoiled_text(rng, 'recipe = "cpu"\n' + RECIPES[rng.choice(list(RECIPES))].to_toml()))
    found = read_recipe(str(path))
    path.write_text(found.to_toml(), encoding="utf-8")
    assert read_recipe(str(path)) == found


def setting(rng: random.Random, folder: Path) -> None:
    from atrous.training.config import Recipe, parsed_setting

    key = rng.choice(list(Recipe().as_dict()))
    text = spoiled_text(rng, f"{key}={json.dumps(odd_value(rng))}").decode("utf-8", "replace")
    name, value = parsed_setting(text)
    Recipe().changed({name: value})


def journal(rng: random.Random, folder: Path) -> None:
    """Tables of a run that is resumed, and the curves drawn from them."""
    from rich.console import Console

    from atrous.training import logger
    from atrous.training.logger import EVALUATIONS, LOG, draw_curves

    lines = ["step,loss,lr,crops_per_second,memory_mib,waiting", *(f"{n},1.5,1e-3,10,,0" for n in range(1, 9))]
    (folder / LOG).write_bytes(spoiled_text(rng, "\n".join(lines) + "\n"))
    logger.find_spec = lambda name: None  # no TensorBoard, no curves: each takes a second
    with logger.Logger(folder, 9, 4, crops=1, console=Console(quiet=True)):
        pass
    with (folder / LOG).open(newline="") as file:
        assert all(int(row["step"]) <= 4 and float(row["loss"]) < float("inf") for row in csv.DictReader(file))
    if rng.random() < 0.05 and find_spec("matplotlib"):
        (folder / EVALUATIONS).write_text("step,mean_iou,pixel_accuracy\n")
        draw_curves(folder)


CASES: list[cases.Case] = [
    *(onnx_bytes, onnx_metadata, saved_folder),
    *([checkpoint, starting_weights, recipe, setting, journal] if find_spec("torch") else []),
]


def run_case(seed: tuple[int, int]) -> str:
    """Run one case."""
    return cases.run(CASES, seed)
