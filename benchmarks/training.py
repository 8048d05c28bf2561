"""Training: seconds per step compared with a plain PyTorch loop, and the throughput of the data loader.

    python benchmarks/training.py VOC_FOLDER [--crop 193] [--batch 6] [--steps 8] [--rounds 2] [--workers 1 2]

The plain loop is a typical hand-written one: `torch.utils.data.DataLoader` over a data set that reads with Pillow,
crops and mirrors, then forward, loss, backward, clipping and AdamW. Network, initial weights, frozen layers, memory
layout, crop size, threads and workers are those of the recipe "cpu" in both; the two alternate. The loaders are also
timed alone, in steady state.
"""

import argparse
import csv
import dataclasses
import importlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset

from atrous.data.dataset import open_dataset
from atrous.data.samples import ImageList
from atrous.data.transforms import MEAN_BGR
from atrous.network import DeepLab
from atrous.training import RunOptions
from atrous.training.config import RECIPES, Recipe
from atrous.training.dataloader import CropsByPosition, batches
from atrous.training.logger import Logger
from segment import processor

# The module, whose name the function hides.
loop = importlib.import_module("atrous.training.train")

WARM = 5  # warm-up steps of each run, which are not timed


class PlainCrops(Dataset):
    """Typical hand-written data set: read, crop, mirror, subtract the mean."""

    def __init__(self, samples: ImageList, crop: int):
        self.samples, self.crop = samples.samples, crop

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i: int):
        sample, size = self.samples[i], self.crop
        image, labels = np.array(Image.open(sample.image).convert("RGB")), np.array(Image.open(sample.label))
        high, wide = max(size - image.shape[0], 0), max(size - image.shape[1], 0)
        blob = image[..., ::-1].astype(np.float32) - np.array(MEAN_BGR, np.float32)
        blob = np.pad(blob, ((0, high), (0, wide), (0, 0)))
        labels = np.pad(labels, ((0, high), (0, wide)), constant_values=255)
        top = torch.randint(blob.shape[0] - size + 1, ()).item()
        left = torch.randint(blob.shape[1] - size + 1, ()).item()
        blob, labels = (a[top : top + size, left : left + size] for a in (blob, labels))
        if torch.rand(()) < 0.5:
            blob, labels = blob[:, ::-1], labels[:, ::-1]
        blob = torch.from_numpy(blob.transpose(2, 0, 1).copy())
        return blob, torch.from_numpy(labels[::8, ::8].astype(np.int64))


def plain_loader(samples: ImageList, recipe: Recipe, workers: int) -> DataLoader:
    """Return batches in random order, as in PyTorch's tutorials."""
    crops = PlainCrops(samples, recipe.crop)
    return DataLoader(crops, recipe.batch, shuffle=True, drop_last=True, num_workers=workers)


def endless(loader: DataLoader) -> Iterator:
    """Iterate over the images without end."""
    while True:
        yield from loader


def steady(ends: list[float]) -> list[float]:
    """Return the seconds of each step without the warm-up steps."""
    return [b - a for a, b in itertools.pairwise(ends[WARM - 1 :])]


def plain_seconds(samples: ImageList, recipe: Recipe, weights: dict, workers: int, device: str) -> list[float]:
    """Train with the plain loop; return the seconds of each steady step."""
    net = DeepLab(recipe.variant, dropout=recipe.dropout)
    net.load_state_dict(weights)
    net.freeze_through(recipe.frozen)
    net.to(device, memory_format=torch.channels_last).train()
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    ends = []
    for images, labels in itertools.islice(endless(plain_loader(samples, recipe, workers)), recipe.iterations):
        images = images.to(device, memory_format=torch.channels_last)
        loss = criterion(net(images), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
        optimizer.step()
        loss.item()
        ends.append(time.perf_counter())
    return steady(ends)


def our_seconds(
    samples: ImageList, recipe: Recipe, dataset, start: Path, workers: int, device: str
) -> tuple[list[float], float]:
    """Train with `train`; return the seconds of each steady step, and the share of time spent waiting for the loader.

    The log is written as in every run.
    """
    ends: list[float] = []

    class TimedLogger(Logger):
        def step(self, step: int, loss: float, lr: float) -> None:
            super().step(step, loss, lr)
            ends.append(time.perf_counter())

    given, loop.Logger = loop.Logger, TimedLogger
    try:
        with tempfile.TemporaryDirectory() as folder:
            options = RunOptions(device=device, threads=torch.get_num_threads(), workers=workers, save_every=10**9)
            quiet = Console(quiet=True)
            loop.train(Path(folder), samples, recipe, dataset, start=start, options=options, console=quiet)
            with (Path(folder) / "log.csv").open() as file:
                waiting = float(list(csv.DictReader(file))[-1]["waiting"])
    finally:
        loop.Logger = given
    return steady(ends), waiting


def crops_per_second(source: Iterable, recipe: Recipe, prefetched: int, seconds: float) -> float:
    """Return a loader's crops per second in steady state, without the batches prefetched at the start."""
    iterator = iter(source)
    for _ in range(prefetched + 2):
        next(iterator)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        next(iterator)
        done += recipe.batch
    return done / (time.perf_counter() - started)


def first_weights(recipe: Recipe) -> DeepLab:
    """Return a network with random weights whose activations keep their scale, as fast as a trained one."""
    torch.manual_seed(0)
    net = DeepLab(recipe.variant, dropout=recipe.dropout)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.zeros_(parameter)
    nn.init.normal_(net.fc8.weight, std=0.01)
    return net


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a PASCAL VOC folder")
    parser.add_argument("--crop", type=int, default=193)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--steps", type=int, default=8, help="timed steps per round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, default=200, help="evenly spaced along the training list")
    parser.add_argument("--loader-seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    dataset = open_dataset(arguments.data)
    _, samples = dataset.read(dataset.default_training_list).hold_out(arguments.images)
    recipe = dataclasses.replace(
        RECIPES["cpu"], crop=arguments.crop, batch=arguments.batch, iterations=arguments.steps + WARM
    )
    print(
        f"{recipe.variant}, recipe cpu, {recipe.batch} crops of {recipe.crop} x {recipe.crop} a step, {len(samples)}"
        f" images; {processor()}, {arguments.threads} threads, {arguments.device}, PyTorch {torch.__version__}"
    )

    net = first_weights(recipe)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    rates: dict[int, float] = {}
    print(f"\nseconds per step, median (shortest to longest) of {arguments.rounds} x {arguments.steps}")
    print("| workers | ours | plain PyTorch loop | ours / plain | our wait for crops |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "first.safetensors"
        save_file(weights, start)
        for workers in arguments.workers:
            ours, plain, waiting = [], [], []
            for _ in range(arguments.rounds):
                plain += plain_seconds(samples, recipe, weights, workers, arguments.device)
                seconds, waited = our_seconds(samples, recipe, dataset, start, workers, arguments.device)
                ours += seconds
                waiting.append(waited)
            ratio = statistics.median(ours) / statistics.median(plain)
            rates[workers] = recipe.batch / statistics.median(ours)
            share = f"{100 * statistics.mean(waiting):.1f} %"
            print(f"| {workers} | {_spread(ours)} | {_spread(plain)} | {ratio:.2f} | {share} |", flush=True)

    print(f"\ncrops per second of the loader alone, over {arguments.loader_seconds:g} s in steady state")
    print("| workers | ours | plain DataLoader | ours / plain | a step needs | ours / needed |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    endless_recipe = dataclasses.replace(recipe, iterations=10**5)
    crops = CropsByPosition(samples, endless_recipe)
    for workers in arguments.workers:
        ours_alone = crops_per_second(batches(crops, 0, workers=workers), recipe, 4 * workers, arguments.loader_seconds)
        plain_alone = crops_per_second(
            endless(plain_loader(samples, recipe, workers)), recipe, 2 * workers, arguments.loader_seconds
        )
        takes = rates[workers]
        print(
            f"| {workers} | {ours_alone:.0f} | {plain_alone:.0f} | {ours_alone / plain_alone:.2f} | {takes:.2f} |"
            f" {ours_alone / takes:.0f} |",
            flush=True,
        )


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
