import dataclasses
import multiprocessing
import os
import signal
import sys
import time
import types

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.errors import InputError
from atrous.training.config import Recipe
from atrous.training.dataloader import CropsByPosition, batches, class_weights, pixel_counts, shared_memory_lack

RECIPE = Recipe(crop=33, batch=4, iterations=3)


def table(*rows):
    """Pixels of the first ids and of void, one row an image."""
    counts = np.zeros((len(rows), 256), np.int64)
    for count, (*ids, void) in zip(counts, rows, strict=True):
        count[: len(ids)] = ids
        count[255] = void
    return counts


def test_pixels_are_counted(dataset):
    counts = pixel_counts(dataset.read("train"))
    assert counts.shape == (6, 256)
    assert counts.sum(axis=1).tolist() == [40 * 50] * 6
    assert counts[0, [0, 1, 2, 255]].tolist() == [2000 - 500 - 40, 500, 0, 40]
    assert counts[1, [0, 1, 2, 255]].tolist() == [2000 - 500 - 40, 0, 500, 40]


def test_label_maps_that_are_all_void_are_said_before_the_training(dataset, tmp_path):
    listed = dataset.read("train")
    Image.fromarray(np.full((40, 50), 255, np.uint8)).save(tmp_path / "void.png")
    void = tuple(dataclasses.replace(sample, label=tmp_path / "void.png") for sample in listed.samples)
    assert pixel_counts(dataclasses.replace(listed, samples=(listed.samples[0], *void[1:])))[:, :255].any()
    with pytest.raises(InputError, match=r"list train: expected labeled pixels"):
        pixel_counts(dataclasses.replace(listed, samples=void))


def test_median_frequency_weighs_rare_classes_up():
    recipe = dataclasses.replace(RECIPE, class_weights="median-frequency")
    #                     ids 0   1   2   3  void
    pixels = table([60, 40, 0, 0, 7], [90, 0, 10, 0, 0])
    # shares where they are: 150 / 200, 40 / 100, 10 / 100; their median is 0.4; class 3 is nowhere
    weights = class_weights(recipe, 4, pixels)
    assert weights.tolist() == pytest.approx([0.4 / 0.75, 1.0, 4.0, 0.0])


def test_given_weights_are_taken():
    recipe = dataclasses.replace(RECIPE, class_weights=(0.5, 2.0))
    assert class_weights(recipe, 2, None).tolist() == [0.5, 2.0]
    assert class_weights(RECIPE, 2, None) is None
    with pytest.raises(InputError, match="class_weights: expected 3 numbers, .* got 2"):
        class_weights(recipe, 3, None)


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_divide_each_steps_crops(dataset, workers):
    crops = CropsByPosition(dataset.read("train"), RECIPE)
    whole = list(batches(crops, 0, workers=0))
    halves = [list(batches(crops, 0, rank=rank, processes=2, workers=workers)) for rank in (0, 1)]
    assert [images.shape for images, _ in whole] == [(4, 3, 33, 33)] * 3
    for step, (images, labels) in enumerate(whole):
        assert torch.equal(images, torch.cat([half[step][0] for half in halves]))
        assert torch.equal(labels, torch.cat([half[step][1] for half in halves]))


@pytest.mark.skipif(not hasattr(os, "setpgid"), reason="needs process groups")
def test_a_signal_to_all_of_a_runs_processes_does_not_take_the_crops_away(dataset):
    crops = CropsByPosition(dataset.read("train"), dataclasses.replace(RECIPE, iterations=20))
    before = set(multiprocessing.active_children())
    source = batches(crops, 0, workers=2)
    next(source)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    for worker in workers:
        # What is sent to the group of the run does not come here, once the process has begun.
        until = time.monotonic() + 60
        while os.getpgid(worker.pid) != worker.pid and time.monotonic() < until:
            time.sleep(0.01)
        assert os.getpgid(worker.pid) == worker.pid
        os.kill(worker.pid, signal.SIGINT)
    assert len(list(source)) == 19
    assert not set(multiprocessing.active_children()) - before


def test_later_steps_do_not_depend_on_where_a_run_begins(dataset):
    crops = CropsByPosition(dataset.read("train"), dataclasses.replace(RECIPE, balanced=True, scales=(0.5, 2.0)))
    whole, rest = (list(batches(crops, first, workers=0)) for first in (0, 2))
    assert len(rest) == 1
    assert torch.equal(whole[2][0], rest[0][0])


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_cut_what_processes_cut(dataset, workers):
    recipe = dataclasses.replace(RECIPE, iterations=12, balanced=True, scales=(0.5, 2.0))  # 8 epochs of 6 images
    crops = CropsByPosition(dataset.read("train"), recipe)
    before = set(multiprocessing.active_children())
    of_threads = batches(crops, 0, workers=workers, threads=True)
    found = [next(of_threads)]
    assert not set(multiprocessing.active_children()) - before
    found += of_threads
    expected = list(batches(crops, 0, workers=workers))
    assert len(found) == len(expected) == 12
    for (images, labels), (other_images, other_labels) in zip(found, expected, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def test_an_error_in_a_thread_is_one_line(dataset, tmp_path):
    listed = dataset.read("train")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    broken = tuple(dataclasses.replace(sample, image=tmp_path / "broken.jpg") for sample in listed.samples)
    crops = CropsByPosition(dataclasses.replace(listed, samples=broken), RECIPE)
    with pytest.raises(InputError, match=r"broken\.jpg") as caught:
        list(batches(crops, 0, workers=2, threads=True))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's shared memory is a folder")
class TestSharedMemory:
    NEEDED = (4 * 2 + 2) * 1_000_000

    @pytest.fixture
    def sized(self, monkeypatch):
        def make(blocks, free):
            status = types.SimpleNamespace(f_blocks=blocks, f_bavail=free, f_frsize=1000)
            monkeypatch.setattr(os, "statvfs", lambda _: status)

        return make

    def test_enough_room(self, sized, tmp_path):
        sized(20_000, self.NEEDED // 1000)
        assert shared_memory_lack(1_000_000, 2, tmp_path) is None

    def test_too_little(self, sized, tmp_path):
        sized(20_000, self.NEEDED // 1000 - 1)
        assert "MiB free of 9.5 needed" in shared_memory_lack(1_000_000, 2, tmp_path)

    def test_without_a_bound(self, sized, tmp_path):
        sized(0, 0)
        assert shared_memory_lack(1_000_000, 2, tmp_path) is None

    def test_none(self, tmp_path):
        assert str(tmp_path / "none") in shared_memory_lack(1, 1, tmp_path / "none")

    def test_read_only(self, monkeypatch, tmp_path):
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        assert "cannot be written" in shared_memory_lack(1, 1, tmp_path)


def test_the_bytes_of_a_step(dataset):
    crops = CropsByPosition(dataset.read("train"), RECIPE)
    images, labels = next(batches(crops, 0, workers=0))
    assert crops.step_bytes == images.nbytes + labels.nbytes
