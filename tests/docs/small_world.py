"""A folder in which the docs' commands find what they name: photos, small data sets, scores."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from code_blocks import ROOT
from PIL import Image

from tiny_model import TINY, write_tiny_model

SIZE = (120, 90)
PHOTOS = ("cat", "astronaut", "photographer")


def make_world(folder: Path, *, vgg16: bool = False) -> Path:
    """Fill a new folder; all of it is small, so that commands take a moment, but for VGG-16's weights."""
    for name in ("examples", "benchmarks", "tests"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    photos = {name: Image.open(ROOT / f"examples/{name}.jpg").convert("RGB").resize(SIZE) for name in PHOTOS}
    photos["cat"].save(folder / "photo.jpg")
    np.save(folder / "probabilities.npy", _scores(21))
    for place in ("folder/of/photos", "holiday", "photos"):
        (folder / place).mkdir(parents=True)
        for name in PHOTOS[:2]:
            photos[name].save(folder / place / f"{name}.jpg")
    _own_data(folder / "mydata", photos)
    for name in ("DATA", "msrc21"):
        (folder / name).symlink_to("mydata", target_is_directory=True)
    _voc(folder / "VOC2012", photos)
    for name in ("dcnn", "crf"):
        shutil.copytree(folder / "VOC2012/SegmentationClass", folder / "others" / name)
    if find_spec("onnx"):
        write_tiny_model(folder / "mine.onnx", metadata=TINY.to_json())
    if vgg16:
        _vgg16(folder / "vgg16.pth")
    return folder


def _scores(classes: int) -> np.ndarray:
    """Class 0 in the left half, class 1 in the right half, neither quite sure."""
    scores = np.full((classes, SIZE[1], SIZE[0]), 0.2 / classes, np.float32)
    scores[0, :, : SIZE[0] // 2] += 0.8
    scores[1, :, SIZE[0] // 2 :] += 0.8
    return scores


def _mask(class_id: int) -> Image.Image:
    ids = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    ids[20:70, 30:90] = class_id
    ids[18:20, 30:90] = 255
    return Image.fromarray(ids)


def _own_data(folder: Path, photos: dict[str, Image.Image]) -> None:
    """The layout of docs/own-data.md, and the scores and masks of docs/tuning.md."""
    for place in ("images", "labels", "masks", "scores", "lists"):
        (folder / place).mkdir(parents=True)
    for name, photo in photos.items():
        photo.save(folder / f"images/{name}.jpg")
        for place in ("labels", "masks"):
            _mask(1).save(folder / place / f"{name}.png")
        np.save(folder / f"scores/{name}.npy", _scores(3))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in TINY.classes))
    (folder / "lists/train.txt").write_text("cat\n")
    (folder / "lists/val.txt").write_text("astronaut\nphotographer\n")


def _voc(folder: Path, photos: dict[str, Image.Image]) -> None:
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / place).mkdir(parents=True)
    for name, photo in photos.items():
        photo.save(folder / f"JPEGImages/{name}.jpg")
        _mask(8 if name == "cat" else 15).save(folder / f"SegmentationClass/{name}.png")
    lists = {"train": PHOTOS[:1], "val": PHOTOS[1:], "trainval": PHOTOS, "test": PHOTOS[2:]}
    for name, members in lists.items():
        (folder / f"ImageSets/Segmentation/{name}.txt").write_text("".join(f"{m}\n" for m in members))


def _vgg16(path: Path) -> None:
    """Random convolutions by torchvision's names, in VGG-16's sizes."""
    import torch

    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    weights = {}
    for place, before, after in zip(places, channels, channels[1:], strict=False):
        weights[f"features.{place}.weight"] = 0.05 * torch.randn(after, before, 3, 3)
        weights[f"features.{place}.bias"] = torch.zeros(after)
    torch.save(weights, path)
