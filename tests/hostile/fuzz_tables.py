"""Spoiled text files and tables: class lists, color tables, lists, JSON, CSV, arrays, Parquet, tar, MATLAB."""

import gzip
import io
import json
import random
import tarfile
from importlib.util import find_spec
from pathlib import Path

import hostile_cases as cases
import numpy as np
from mutations import spoiled_bytes, spoiled_json, spoiled_text
from PIL import Image

from atrous.crf.tune.trials import TrialTable
from atrous.data.dataset import open_dataset
from atrous.data.folder_dataset import read_classes, read_names
from atrous.data.metadata import VOC_CLASSES, ModelMetadata
from atrous.data.unary_io import class_names, read_probabilities
from atrous.evaluation.bootstrap import Scored
from atrous.evaluation.tuning_samples import FolderSamples
from atrous.labelmap.color_table import read_color_table
from atrous.segmenter.config import SavedSettings
from tiny_model import TINY

CLASSES = "background\nred car\nblue\n"
COLORS = "name r g b\nbackground 0 0 0\nred car 128 0 0\nblue,0,0,128\nblue 0 0 129\nvoid 224 224 192\nvoid * * *\n"
PAPER_LIST = "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n"
TRIALS = '# {"iterations": 10}\nweight,sxy,srgb,mean_iou\n4.0,50.0,3.0,0.5\n4.0,60.0,3.0,0.625\n'


def class_list(rng: random.Random, folder: Path) -> None:
    path = _written(folder / "classes.txt", spoiled_text(rng, rng.choice((CLASSES, "\n".join(VOC_CLASSES)))))
    names = read_classes(path)
    assert 2 <= len(set(names)) == len(names) <= 255
    assert all(name == name.strip() and name for name in names)


def refine_class_list(rng: random.Random, folder: Path) -> None:
    path = _written(folder / "classes.txt", spoiled_text(rng, CLASSES))
    assert 3 <= len(class_names(path, 3, ids=False)) <= 255


def color_table(rng: random.Random, folder: Path) -> None:
    path = _written(folder / "colors.txt", spoiled_text(rng, COLORS))
    table, classes = read_color_table(path, rng.choice((None, ("background", "red car", "blue"))))
    assert table.palette(len(classes)).shape == (len(classes), 3)
    assert len(set(table.colors)) == len(table.colors) == len(table.ids)
    assert all(label == 255 or label < len(classes) for label in table.ids)


def image_list(rng: random.Random, folder: Path) -> None:
    names = read_names(_written(folder / "list.txt", spoiled_text(rng, "a\nb\nc d\n2007_000032\n")))
    assert len(set(names)) == len(names)


def own_data(rng: random.Random, folder: Path) -> None:
    _photos(folder / "images", folder / "labels")
    _written(folder / "classes.txt", spoiled_text(rng, CLASSES) if rng.random() < 0.3 else CLASSES.encode())
    _written(folder / "lists/part.txt", spoiled_text(rng, "a\nb.jpg\n"))
    if rng.random() < 0.3:
        _written(folder / "val.txt", spoiled_text(rng, "a\n"))
    dataset = open_dataset(folder)
    for name in (*dataset.lists(), "part", "val@0.5"):
        assert {sample.name for sample in dataset.read(name).samples} <= {"a", "b", "c"}


def voc_data(rng: random.Random, folder: Path) -> None:
    _photos(folder / "JPEGImages", folder / "SegmentationClassAug")
    _written(folder / "ImageSets/Segmentation/train.txt", spoiled_text(rng, rng.choice(("a\nb\nc\n", PAPER_LIST))))
    dataset = open_dataset(folder)
    for sample in dataset.read("train").samples:
        assert sample.image.is_file()
        assert sample.label is not None
        assert sample.label.is_file()
        assert sample.image.resolve().is_relative_to(folder.resolve()), "a list leads out of its folder"


def metadata(rng: random.Random, folder: Path) -> None:
    text = spoiled_json(rng, json.loads(TINY.to_json())).decode("utf-8", "replace")
    _check_metadata(ModelMetadata.from_json(text, "model.onnx"))


def config(rng: random.Random, folder: Path) -> None:
    settings = SavedSettings("model.onnx", TINY, rng.choice((TINY.crf, None, "deeplab-largefov")), 513)
    _written(folder / "config.json", spoiled_json(rng, json.loads(settings.to_json())))
    found = SavedSettings.read(folder)
    assert found is not None
    assert found.max_side >= 1
    _check_metadata(found.metadata)


def scores(rng: random.Random, folder: Path) -> None:
    rows = [{"name": name, "overlaps": {"dcnn": [[9, 3, 0], [10, 5, 1]]}} for name in "abc"]
    document = {"classes": ["background", "red", "blue"], "labellings": ["dcnn"], "run": {"sha256": "0" * 64}}
    found = Scored.read(_written(folder / "scores.json", spoiled_json(rng, {**document, "per_image": rows})))
    for overlaps in found.overlaps.values():
        assert overlaps.dtype == np.int64
        assert overlaps.shape[1:] == (2, len(found.classes))


def trials(rng: random.Random, folder: Path) -> None:
    path = _written(folder / "crf.csv", spoiled_text(rng, TRIALS))
    before = path.read_bytes()
    try:
        table = TrialTable(path, {"iterations": 10})
        assert all(0 <= trial.mean_iou <= 1 and min(trial[:3]) > 0 for trial in table.trials)
    finally:
        assert before.startswith(path.read_bytes())  # all that reading may do is to drop a last line cut short


def probabilities(rng: random.Random, folder: Path) -> None:
    array = np.full((3, 8, 10), 1 / 3, rng.choice(("f2", "f4", "f8", ">f4", "u1", "O", "c8")))
    planes, ids = read_probabilities(_written(folder / "p.npy", _spoiled_array(rng, array)), (8, 10), None)
    assert planes.shape == (len(ids), 8, 10)
    assert planes.dtype == np.float32
    assert planes.min() >= 0
    assert planes.max() <= 1.001


def folder_of_scores(rng: random.Random, folder: Path) -> None:
    _photos(folder / "images", folder / "masks")
    for name in "abc":
        sink = io.BytesIO()
        np.savez_compressed(sink, np.full((3, 8, 10), 1 / 3, np.float32))
        content = spoiled_bytes(rng, sink.getvalue()) if rng.random() < 0.5 else sink.getvalue()
        _written(folder / f"scores/{name}.npz", content)
    for sample in FolderSamples(folder):
        assert sample.image.dtype == np.uint8


def sbd(rng: random.Random, folder: Path) -> None:
    from scipy.io import savemat

    from atrous.data.sbd import read_mat

    sink = io.BytesIO()
    labels = np.zeros((8, 10), np.uint8)
    savemat(sink, {"GTcls": {"Segmentation": labels}}, do_compression=rng.random() < 0.5)
    found = read_mat(_written(folder / "a.mat", spoiled_bytes(rng, sink.getvalue())))
    assert set(np.unique(found)) <= {*range(21), 255}


def bulk_records(rng: random.Random, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from atrous.bulk.config import Settings
    from atrous.bulk.manifest import PLANS, RESULT, RESULTS, SETTINGS, Manifest, check_settings, pack
    from atrous.bulk.sources import Entry, Listing
    from atrous.bulk.storage import Storage

    values = {"input": "/in", "kind": "images", "model": {"name": "m", "sha256": "0"}, "classes": ["a"]}
    entries = [
        Entry(f"{name}.jpg", name, f"{name}.jpg", stamp="1:1", key=name, shard=i // 2) for i, name in enumerate("abcd")
    ]
    rows = [
        {"key": name, "source": f"{name}.jpg", "reason": "", "height": 8, "width": 10, "shares": [1.0]} for name in "ab"
    ]
    result = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, RESULT), result)
    records = {SETTINGS: json.dumps({"format": 2, **values}).encode(), f"{PLANS}/00000.gz": pack(entries)}
    records[f"{RESULTS}/000000.parquet"] = result.getvalue()
    spoiled = rng.choice(list(records))
    for name, content in records.items():
        if name != spoiled:
            _written(folder / name, content)
        elif name == SETTINGS:
            _written(folder / name, spoiled_json(rng, json.loads(content)))
        elif name.startswith(PLANS) and rng.random() < 0.5:
            _written(folder / name, gzip.compress(spoiled_text(rng, gzip.decompress(content).decode())))
        else:
            _written(folder / name, spoiled_bytes(rng, content, most=2))
    output = Storage(str(folder))
    check_settings(output, values)
    manifest = Manifest.read(output, "png")
    assert set(manifest.pending()) <= {entry.shard for entry in manifest.entries}
    manifest.unassigned(Listing(str(folder), "images", entries), Settings())


def bulk_list(rng: random.Random, folder: Path) -> None:
    _photos(folder / "images", folder / "labels")
    lines = "".join(f"{folder}/images/{name}.jpg\n" for name in "abc")
    _listing(_written(folder / "list.txt", spoiled_text(rng, lines)), folder)


def bulk_tar(rng: random.Random, folder: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name in ("a.jpg", "a.json", "b.png", "c/d.jpg"):
            content = _picture() if not name.endswith("json") else b"{}"
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    _listing(_written(folder / "in.tar", spoiled_bytes(rng, sink.getvalue())), folder)


def bulk_parquet(rng: random.Random, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ["a", "b", "c"], "jpg": [_picture(), b"", None]}), sink)
    _listing(_written(folder / "in.parquet", spoiled_bytes(rng, sink.getvalue())), folder)


def _listing(given: Path, folder: Path) -> None:
    """List an input of `atrous bulk` and read its photos."""
    from atrous.bulk.config import Settings
    from atrous.bulk.sources import images, listing
    from atrous.bulk.storage import Storage
    from atrous.errors import InputError

    found = listing(str(given), Settings(), Storage(str(folder / "out")))
    usable = [entry for entry in found.entries if not entry.reason][:100]
    for picture in images(found.root, usable, None):
        assert isinstance(picture, InputError) or (picture.ndim == 3 and picture.dtype == np.uint8)


def _check_metadata(found: ModelMetadata) -> None:
    assert 2 <= len(found.classes) == len(found.palette) <= 255
    assert all(0 <= channel <= 255 for color in found.palette for channel in color)
    assert all(abs(mean) < 1e6 for mean in found.mean)
    assert 0 <= found.crf.iterations <= 1000
    assert min(found.crf.sxy, found.crf.srgb, found.crf.spatial_sxy) > 0
    assert found.output_stride >= 1


def _photos(images: Path, labels: Path) -> None:
    for name in "abc":
        _written(images / f"{name}.jpg", _picture())
        sink = io.BytesIO()
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(sink, "PNG")
        _written(labels / f"{name}.png", sink.getvalue())


def _picture() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (10, 8), "red").save(sink, "JPEG")
    return sink.getvalue()


def _spoiled_array(rng: random.Random, array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    content = sink.getvalue()
    if rng.random() < 0.3:
        return content
    if rng.random() < 0.5:  # in the header, which is 128 bytes here
        text = spoiled_text(rng, content[10:128].decode("latin-1")).ljust(118)[:118]
        return content[:10] + text + content[128:]
    return spoiled_bytes(rng, content)


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


CASES: list[cases.Case] = [
    *(class_list, refine_class_list, color_table, image_list, own_data, voc_data, metadata, config, scores, trials),
    *(probabilities, folder_of_scores),
    *([sbd] if find_spec("scipy") else []),
    *([bulk_records, bulk_list, bulk_tar, bulk_parquet] if find_spec("pyarrow") and find_spec("fsspec") else []),
]


def run_case(seed: tuple[int, int]) -> str:
    """Run one case."""
    return cases.run(CASES, seed)
