"""Exported files of a checkpoint: sizes, times of the network, and differences from the checkpoint over many images.

    python benchmarks/export.py times CHECKPOINT MODEL.onnx... --out times.json
    python benchmarks/export.py compare CHECKPOINT DATA MODEL.onnx... --photos 60 --name "VOC 2012" --out voc.json
    python benchmarks/export.py write docs/benchmarks.md times.json voc.json...

`write` inserts the tables between the page's markers. Measure the times on an idle machine.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from atrous._provenance import machine
from atrous.backends import OnnxEngine
from atrous.data.dataset import choose_photos
from atrous.evaluation.export_check import compare_several
from atrous.evaluation.run_info import scoring_versions as versions
from atrous.segmenter import Segmenter
from pages import insert

SIZE = (385, 513)
DRAWS = 10_000
AT_ONCE = 16  # number of images that atrous export compares by default
LABELINGS = ("network alone", "with CRF")
BEGIN = "<!-- written by benchmarks/export.py: {} -->"


def main():
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("times")
    command.set_defaults(run=times)
    command.add_argument("checkpoint", type=Path)
    command.add_argument("models", type=Path, nargs="+")
    command.add_argument("--repeat", type=int, default=7)
    command.add_argument("--out", type=Path, required=True)
    command = commands.add_parser("compare")
    command.set_defaults(run=compare)
    command.add_argument("checkpoint", type=Path)
    command.add_argument("data", type=Path)
    command.add_argument("models", type=Path, nargs="+")
    command.add_argument("--photos", type=int, default=60, help="evenly spaced along the list for evaluation")
    command.add_argument("--name", required=True, help="name of the data in the tables")
    command.add_argument("--out", type=Path, required=True)
    command = commands.add_parser("write")
    command.set_defaults(run=write)
    command.add_argument("page", type=Path)
    command.add_argument("times", type=Path)
    command.add_argument("compared", type=Path, nargs="+")
    arguments = parser.parse_args()
    arguments.run(arguments)


def times(arguments):
    """Time forward passes of the networks, one network after the other, as idle threads spin for a while."""
    from atrous.network.torch_backend import TorchEngine

    weights = arguments.checkpoint / "model.safetensors"
    networks = [("checkpoint", weights.stat().st_size, TorchEngine.read(arguments.checkpoint))]
    for path in arguments.models:
        engine = OnnxEngine(path, device="cpu")
        networks.append((engine.metadata.precision, path.stat().st_size, engine))
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    taken = {}
    for name, _, engine in networks:
        time.sleep(1)
        engine.scores(image)
        taken[name] = [seconds(engine, image) for _ in range(arguments.repeat)]
    rows = [
        {"name": name, "bytes": size, "seconds": statistics.median(taken[name]), "all": taken[name]}
        for name, size, _ in networks
    ]
    found = {"machine": machine(), "versions": versions(), "size": SIZE, "repeat": arguments.repeat, "rows": rows}
    _save(arguments.out, found)
    for row in rows:
        print(f"{row['name']:<12}{row['bytes'] / 1e6:8.1f} MB{row['seconds']:8.3f} s")


def seconds(engine, image):
    """Return the duration of one forward pass."""
    start = time.perf_counter()
    engine.scores(image)
    return time.perf_counter() - start


def compare(arguments):
    """Compare each file with the checkpoint, image by image."""
    from atrous.network.torch_backend import TorchEngine

    engine = TorchEngine.read(arguments.checkpoint)
    exported = [OnnxEngine(path, device="cpu") for path in arguments.models]
    crf = exported[0].metadata.crf
    ours, theirs = Segmenter(engine, crf=crf), [Segmenter(each, crf=crf) for each in exported]
    chosen, _ = choose_photos(arguments.data).some(arguments.photos)
    rows = {each.metadata.precision: [] for each in exported}
    for number, sample in enumerate(chosen.samples, start=1):
        parities = compare_several(ours, theirs, [sample], sizes=())
        for found, parity in zip(rows.values(), parities, strict=True):
            found.append(_image_row(parity))
        print(f"{number} of {len(chosen)}: {sample.name}", flush=True)
    found = {"name": arguments.name, "list": chosen.name, "photos": len(chosen), "versions": versions(), "rows": rows}
    _save(arguments.out, found)
    print(distances([found]))
    print(spread([found]))


def _image_row(parity):
    (row,) = parity.images
    overlaps = {
        name: [[counts.tolist() for counts in matrix.overlaps()] for matrix in parity.confusion[name]]
        for name in LABELINGS
    }
    return {
        "name": row.name,
        "difference": row.difference,
        "largest": row.largest,
        "pixels": row.pixels,
        "others": [row.others, row.crf_others],
        "overlaps": overlaps,
    }


def write(arguments):
    """Insert the tables into the page."""
    measured = json.loads(arguments.times.read_text())
    compared = [json.loads(path.read_text()) for path in arguments.compared]
    for name, text in (
        ("times", sizes_and_times(measured)),
        ("distances", distances(compared)),
        ("spread", spread(compared)),
    ):
        insert(arguments.page, BEGIN.format(name), text)


def sizes_and_times(measured):
    """Return the table of sizes and times, with machine and versions."""
    rows = [(r["name"], f"{r['bytes'] / 1e6:.1f}", f"{r['seconds']:.2f}") for r in measured["rows"]]
    height, width = measured["size"]
    library = ", ".join(f"{name} {measured['versions'][name]}" for name in ("torch", "onnxruntime"))
    note = (
        f"The network alone on an image of {width} x {height}, median of {measured['repeat']};"
        f" {measured['machine']}; {library}."
    )
    return _table(("", "MB", "seconds"), rows) + "\n\n" + note


def distances(compared):
    """Return the table of differences from the checkpoint over all images."""
    rows = []
    for data in compared:
        for precision, images in data["rows"].items():
            everything = np.arange(len(images))[None]
            cells = (f"{100 * share:.2g}" for share in _off(images, everything)[:, 0])
            ious = (f"{100 * before:.2f} → {100 * after:.2f}" for before, after in _mean_ious(images, everything)[0])
            rows.append((precision, f"{data['name']}, {data['photos']}", *cells, *ious))
    heads = ("", "images", "score difference", "labels changed", "with CRF", "mean IoU", "with CRF")
    return _table(heads, rows)


def spread(compared):
    """Return the table of differences per image and per random sample of images."""
    heads = ("", "images", "in %", "1 image: median", "95 %", "worst", f"{AT_ONCE} images: median", "95 %", "worst")
    rows = []
    for data in compared:
        for precision, images in data["rows"].items():
            if precision == "float32":  # differs by rounding only
                continue
            single = _off(images, np.arange(len(images))[:, None])
            draws = np.argsort(np.random.default_rng(0).random((DRAWS, len(images))), axis=1)[:, :AT_ONCE]
            several = _off(images, draws)
            before, after = np.moveaxis(_mean_ious(images, draws), -1, 0)
            for i, what in enumerate(("score difference", "labels changed", "labels changed with CRF")):
                rows.append((precision, data["name"], what, *_percentiles(single[i]), *_percentiles(several[i])))
            for i, what in enumerate(("mean IoU lost", "mean IoU lost with CRF")):
                rows.append((precision, data["name"], what, "", "", "", *_percentiles((before - after)[:, i])))
    return _table(heads, rows)


def _off(images, draws):
    """Return (3, draws): relative score difference, share of changed labels, and the same with the CRF."""
    difference, largest, pixels, others = (
        np.array([image[key] for image in images])[draws] for key in ("difference", "largest", "pixels", "others")
    )
    shares = others.sum(axis=1) / pixels.sum(axis=1)[:, None]
    return np.stack([difference.max(axis=1) / largest.max(axis=1), *shares.T])


def _mean_ious(images, draws):
    """Return (draws, label maps, 2): mean IoU before and after."""
    counts = np.array([[image["overlaps"][name] for name in LABELINGS] for image in images])
    pooled = np.stack([counts[draw].sum(axis=0) for draw in draws])  # (draws, labelings, 2, hits and union, classes)
    hits, unions = pooled[..., 0, :], pooled[..., 1, :]
    return np.nanmean(np.where(unions > 0, hits / np.maximum(unions, 1), np.nan), axis=-1)


def _percentiles(values):
    return [f"{100 * value:.2g}" for value in np.percentile(values, (50, 95, 100))]


def _table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _save(path, found):
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
