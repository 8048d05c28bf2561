"""What a run leaves on disk, and what a rerun does. Without Ray: see test_cluster."""

import csv
import gzip
import io
import json
import os
import tarfile
import threading
import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atrous import _io
from atrous.bulk import actor as worker
from atrous.bulk import storage
from atrous.bulk import writers as outputs
from atrous.bulk.ray_cluster import Actors
from atrous.bulk.storage import Storage
from atrous.errors import InputError, RunError


def masks(out):
    return {p.relative_to(out).as_posix() for p in out.rglob("*.png")}


def errors(out):
    with (out / "errors.csv").open(newline="") as file:
        return {row["source"]: row["reason"] for row in csv.DictReader(file)}


def shards_of(out, suffix):
    return sorted(out.glob(f"shard-*.{suffix}"))


def rows(out):
    return [row for part in shards_of(out, "parquet") for row in pq.read_table(part).to_pylist()]


def test_each_photo_gets_the_mask_that_the_segmenter_makes(bulk, photos, tmp_path, expected, read_mask):
    out = tmp_path / "out"
    summary = bulk(photos, out)
    assert (summary.done, summary.skipped, summary.failed) == (10, 0, 0)
    assert masks(out) == {f"{'ab'[i % 2]}/photo{i}.png" for i in range(10)}
    for i in range(10):
        np.testing.assert_array_equal(read_mask(out / "ab"[i % 2] / f"photo{i}.png"), expected(i))
    table = pq.read_table(out / "shares.parquet").to_pylist()
    assert [row["key"] for row in table] == sorted(f"{'ab'[i % 2]}/photo{i}" for i in range(10))
    third = next(row for row in table if row["key"] == "b/photo3")
    assert third["source"] == "b/photo3.png"
    assert (third["height"], third["width"]) == (48, 64)
    assert third["red"] == pytest.approx((expected(3) == 1).mean())
    assert third["background"] + third["red"] + third["blue"] == pytest.approx(1)
    assert not (out / "errors.csv").exists()
    assert not list((out / "_bulk/tmp").glob("*"))


def test_parquet_holds_the_masks_and_shares_of_a_shard(bulk, photos, tmp_path, expected, read_mask):
    bulk(photos, tmp_path / "out", output="parquet")
    assert [p.name for p in shards_of(tmp_path / "out", "parquet")] == [f"shard-00000{i}.parquet" for i in range(4)]
    found = {row["key"]: row for row in rows(tmp_path / "out")}
    assert len(found) == 10
    for i in range(10):
        row = found[f"{'ab'[i % 2]}/photo{i}"]
        np.testing.assert_array_equal(read_mask(row["mask"]), expected(i))
        assert row["red"] == pytest.approx((expected(i) == 1).mean())


def test_tars_hold_samples_as_webdataset_has_them(bulk, photos, tmp_path, expected, read_mask):
    (photos / "a/dotted.v2.png").write_bytes((photos / "a/photo0.png").read_bytes())
    bulk(photos, tmp_path / "out", output="tar")
    samples = {}
    for path in shards_of(tmp_path / "out", "tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                name, _, suffix = member.name.rpartition("/")[2].partition(".")
                samples.setdefault(f"{member.name.rpartition('/')[0]}/{name}", {})[suffix] = tar.extractfile(
                    member
                ).read()
    assert len(samples) == 11
    for i in range(10):
        sample = samples[f"{'ab'[i % 2]}/photo{i}"]
        np.testing.assert_array_equal(read_mask(sample["png"]), expected(i))
        about = json.loads(sample["json"])
        assert about["key"] == f"{'ab'[i % 2]}/photo{i}"
        assert about["shares"]["red"] == pytest.approx((expected(i) == 1).mean(), abs=1e-5)
    assert json.loads(samples["a/dotted%2Ev2"]["json"])["key"] == "a/dotted.v2"


def spoil(photos):
    (photos / "a/photo0.png").write_bytes(b"no picture")
    (photos / "a/photo2.png").write_bytes((photos / "a/photo2.png").read_bytes()[:100])
    (photos / "b/photo1.png").write_bytes(b"")


@pytest.mark.parametrize("output", ["png", "parquet", "tar"])
def test_bad_photos_are_named_in_a_table_and_do_not_stop_the_rest(bulk, photos, tmp_path, output):
    spoil(photos)
    summary = bulk(photos, tmp_path / "out", output=output)
    assert (summary.done, summary.failed) == (7, 3)
    found = errors(tmp_path / "out")
    assert set(found) == {"a/photo0.png", "a/photo2.png", "b/photo1.png"}
    assert found["a/photo0.png"].startswith("expected a JPEG")
    assert found["b/photo1.png"].startswith("expected an image, got an empty file")
    assert all("\n" not in reason and "/tmp" not in reason for reason in found.values())
    assert pq.read_metadata(tmp_path / "out/shares.parquet").num_rows == 7


@pytest.mark.parametrize("output", ["png", "parquet", "tar"])
def test_a_rerun_does_only_what_is_missing(bulk, photos, tmp_path, output):
    out = tmp_path / "out"
    assert bulk(photos, out, output=output).done == 10
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.suffix in (".png", ".tar")}

    def none(*arguments):
        raise AssertionError("nothing was to be done")

    assert bulk(photos, out, output=output, execute=none).skipped == 10
    (photos / "c.png").write_bytes((photos / "a/photo0.png").read_bytes())
    summary = bulk(photos, out, output=output)
    assert (summary.done, summary.skipped) == (1, 10)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


@pytest.mark.parametrize("output", ["png", "parquet", "tar"])
def test_a_run_cut_short_is_continued(bulk, photos, tmp_path, output):
    out = tmp_path / "out"

    def cut_short(job, model, shards, actors, count):
        for i, result in enumerate(bulk.execute(job, model, shards, actors, count)):
            if i == 2:
                raise KeyboardInterrupt
            yield result

    with pytest.raises(KeyboardInterrupt):
        bulk(photos, out, output=output, execute=cut_short)
    summary = bulk(photos, out, output=output)
    assert summary.skipped >= 6
    assert summary.done + summary.skipped == 10
    if output == "png":
        assert len(masks(out)) == 10
    if output == "parquet":
        assert Counter(row["key"] for row in rows(out)).most_common(1)[0][1] == 1
        assert len(rows(out)) == 10


def test_what_was_deleted_is_made_again(bulk, photos, tmp_path):
    bulk(photos, tmp_path / "png")
    (tmp_path / "png/a/photo4.png").unlink()
    assert bulk(photos, tmp_path / "png").done == 1
    assert len(masks(tmp_path / "png")) == 10
    assert pq.read_metadata(tmp_path / "png/shares.parquet").num_rows == 10
    bulk(photos, tmp_path / "tables", output="parquet")
    shards_of(tmp_path / "tables", "parquet")[1].unlink()
    assert bulk(photos, tmp_path / "tables", output="parquet").done == 3
    assert len(rows(tmp_path / "tables")) == 10


def test_a_shard_made_again_does_not_double_an_image_of_a_later_one(bulk, photos, tmp_path, draw):
    out = tmp_path / "out"
    (photos / "a/photo0.png").write_bytes(b"no picture")
    assert bulk(photos, out, output="parquet").failed == 1
    (photos / "a/photo0.png").write_bytes(draw(0))
    assert bulk(photos, out, output="parquet").done == 1
    shards_of(out, "parquet")[0].unlink()
    assert bulk(photos, out, output="parquet").done == 2
    assert sorted(row["key"] for row in rows(out)) == sorted(f"{'ab'[i % 2]}/photo{i}" for i in range(10))
    assert bulk(photos, out, output="parquet").skipped == 10


def test_records_of_another_format_or_damaged_are_refused(bulk, photos, tmp_path):
    bulk(photos, tmp_path / "out")
    plan, result = tmp_path / "out/_bulk/plans/00000.gz", tmp_path / "out/_bulk/results/000000.parquet"
    whole, rows = plan.read_bytes(), result.read_bytes()
    middle = len(whole) // 2
    other = json.dumps(["a.png", "a", "a.png", -1, -1, "1:1", "", "a", "0"])  # a shard that is no number
    for content in (whole[:50], whole[:middle] + b"\xff" * 9 + whole[middle + 9 :], gzip.compress(other.encode())):
        plan.write_bytes(content)
        with pytest.raises(InputError, match=r"plans/00000.gz: cannot be read"):
            bulk(photos, tmp_path / "out")
    plan.write_bytes(whole)
    pq.write_table(pa.table({"key": ["a"]}), result)
    with pytest.raises(InputError, match=r"results/000000.parquet: cannot be read"):
        bulk(photos, tmp_path / "out")
    result.write_bytes(rows)
    settings = tmp_path / "out/_bulk/settings.json"
    for text, got in [('{"format": 1}', "1"), ("{", "not JSON"), ("[" * 100_000, "too deep"), ("[]", "something else")]:
        settings.write_text(text)
        with pytest.raises(InputError, match=f"settings.json: expected .*format 2, got .*{got}"):
            bulk(photos, tmp_path / "out")


def test_temporary_files_of_a_killed_worker_are_removed(bulk, photos, tmp_path):
    bulk(photos, tmp_path / "out")
    left = tmp_path / f"out/_bulk/tmp/.atrous-{_io._HOST}-0123456789ab.tmp"
    left.mkdir()
    (left / "half").write_bytes(b"half")
    bulk(photos, tmp_path / "out")
    assert not left.exists()


def test_masks_of_photos_in_hidden_folders_are_not_made_twice(bulk, photos, tmp_path):
    (tmp_path / ".cache").mkdir()
    hidden = (photos / "a/photo0.png").rename(tmp_path / ".cache/.photo.png")
    (tmp_path / "list.txt").write_text(f"{hidden}\n{photos / 'b/photo1.png'}\n")
    assert bulk(tmp_path / "list.txt", tmp_path / "out").done == 2
    again = bulk(tmp_path / "list.txt", tmp_path / "out")
    assert (again.done, again.skipped) == (0, 2)


@pytest.mark.parametrize("output", ["png", "parquet"])
def test_failures_are_tried_again_when_asked_or_when_the_photo_has_changed(bulk, photos, tmp_path, output, draw):
    out = tmp_path / "out"
    spoil(photos)
    assert bulk(photos, out, output=output).failed == 3
    plans = list((out / "_bulk/plans").iterdir())
    assert bulk(photos, out, output=output).failed == 3
    assert list((out / "_bulk/plans").iterdir()) == plans
    (photos / "a/photo0.png").write_bytes(draw(0))
    summary = bulk(photos, out, output=output)
    assert (summary.done, summary.skipped, summary.failed) == (1, 7, 2)
    assert set(errors(out)) == {"a/photo2.png", "b/photo1.png"}
    assert bulk(photos, out, output=output, retry_errors=True).failed == 2
    assert len(list((out / "_bulk/plans").iterdir())) == 3
    (photos / "a/photo2.png").unlink()
    (photos / "b/photo1.png").write_bytes(draw(1))
    summary = bulk(photos, out, output=output)
    assert (summary.done, summary.skipped, summary.failed) == (1, 8, 0)
    assert not (out / "errors.csv").exists()
    if output == "parquet":
        assert sorted(row["key"] for row in rows(out)) == sorted({row["key"] for row in rows(out)})
        assert len(rows(out)) == 9


def test_photos_of_one_name_keep_their_suffixes_and_earlier_names_stay(bulk, tmp_path, draw):
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    for name in ("x.png", "y.png", "Y.jpg"):
        (photos / name).write_bytes(draw(1))
    bulk(photos, out)
    assert masks(out) == {"x.png", "y.png.png", "Y.jpg.png"}
    for name in ("x.jpg", "X.PNG"):
        (photos / name).write_bytes(draw(2))
    summary = bulk(photos, out)
    assert masks(out) == {"x.png", "y.png.png", "Y.jpg.png", "x.jpg.png", "X.PNG.png"}
    assert summary.failed == 0
    (photos / "x.PNG").write_bytes(draw(2))
    assert bulk(photos, out, retry_errors=True).failed == 1
    assert bulk(photos, out, retry_errors=True).failed == 1
    assert list(errors(out)) == ["x.PNG"]
    assert "another image" in errors(out)["x.PNG"]


def test_names_of_any_kind(bulk, tmp_path, draw):
    photos = tmp_path / "in"
    names = ["süß.png", "日本/写真.png", "a b'c\"d.png", "100%.png", "two\nlines.png", "_bulk/settings.png", "#1?.png"]
    for name in names:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(draw(0))
    (photos / os.fsdecode(b"latin\xe9.png")).write_bytes(draw(0))
    (photos / ("long" * 61 + ".png")).write_bytes(draw(0))
    (photos / ".hidden.png").write_bytes(draw(0))
    for output in ("png", "parquet", "tar"):
        summary = bulk(photos, tmp_path / output, output=output)
        assert (summary.done, summary.failed) == (9, 0)
    assert "latin%E9.png" in masks(tmp_path / "png")
    assert "%5Fbulk/settings.png" in masks(tmp_path / "png")
    assert "two%0Alines.png" in masks(tmp_path / "png")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"max_side": 257}, "max_side 513, not 257"),
        ({"crf": False}, "crf on, not off"),
        ({"output": "tar"}, "output png, not tar"),
        ({"max_side": 300, "crf": False}, "crf on, not off; max_side 513, not 300"),
    ],
)
def test_other_settings_are_refused(bulk, photos, tmp_path, change, says):
    bulk(photos, tmp_path / "out")
    with pytest.raises(InputError) as caught:
        bulk(photos, tmp_path / "out", **change)
    assert str(caught.value) == f"{tmp_path / 'out'}: was started with {says}; choose another output folder"


def test_another_model_or_input_is_refused(bulk, photos, tmp_path, make_model, tiny_metadata):
    bulk(photos, tmp_path / "out")
    renamed = tiny_metadata.to_json().replace("blue", "green")
    other = make_model(tmp_path / "other.onnx", metadata=renamed)
    with pytest.raises(InputError, match=r"was started with model tiny.onnx \(sha256 \w+\), not other.onnx"):
        bulk(photos, tmp_path / "out", model=other)
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"was started with input .*/in, not .*/elsewhere"):
        bulk(tmp_path / "elsewhere", tmp_path / "out")


def test_a_photo_that_has_changed_since_is_refused(bulk, photos, tmp_path, draw):
    bulk(photos, tmp_path / "out")
    (photos / "a/photo4.png").write_bytes(draw(5))
    with pytest.raises(InputError, match=r"a/photo4.png: has changed since .*choose another output folder") as caught:
        bulk(photos, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_full_disk_ends_the_run_with_one_line(bulk, photos, tmp_path, monkeypatch):
    write = Storage.write

    def full(self, name, content):
        if name.endswith("photo4.png"):
            raise OSError(28, "No space left on device")
        write(self, name, content)

    monkeypatch.setattr(Storage, "write", full)
    with pytest.raises(RunError, match=f"^{tmp_path / 'out'}: .*No space left on device"):
        bulk(photos, tmp_path / "out")
    monkeypatch.undo()
    assert bulk(photos, tmp_path / "out").failed == 0
    assert len(masks(tmp_path / "out")) == 10


@pytest.mark.parametrize("name", ["settings", "plan"])
def test_a_disk_that_is_full_from_the_start_is_one_line(bulk, photos, tmp_path, monkeypatch, name):
    make = Storage._written

    def full(self, content):
        if content.startswith(b"{" if name == "settings" else b"\x1f\x8b"):
            raise OSError(28, "No space left on device")
        return make(self, content)

    monkeypatch.setattr(Storage, "_written", full)
    with pytest.raises(InputError, match=f"^{tmp_path / 'out'}: cannot be written \\(No space left on device\\)"):
        bulk(photos, tmp_path / "out")
    monkeypatch.undo()
    assert bulk(photos, tmp_path / "out").done == 10


def test_a_name_too_long_for_its_mask_concerns_that_photo_alone(bulk, photos, tmp_path, draw):
    (photos / ("x" * 251 + ".jpg")).write_bytes(draw(0, "JPEG"))
    (photos / ("x" * 251 + ".png")).write_bytes(draw(0))
    summary = bulk(photos, tmp_path / "out")
    assert (summary.done, summary.failed) == (10, 2)
    assert all("File name too long" in reason for reason in errors(tmp_path / "out").values())


class Killed(BaseException):
    """What SIGKILL is in a test without processes."""


@pytest.mark.parametrize("output", ["png", "parquet"])
def test_a_photo_that_kills_its_workers_is_given_up(bulk, photos, tmp_path, output, monkeypatch):
    """Another worker takes the part up each time, as Ray has it do."""
    labels = worker.ShardSegmenter._labels
    begun = Counter()

    def deadly(self, image):
        if not isinstance(image, InputError) and (image[8:32, :, 1] == 20).sum() == 24 * (22 + 5):
            raise Killed  # at photo5
        begun["others"] += 1
        return labels(self, image)

    monkeypatch.setattr(worker.ShardSegmenter, "_labels", deadly)

    def restarted(job, model, shards, actors, count):
        for shard in shards:
            for _ in range(10):
                try:
                    yield from bulk.execute(job, model, [shard], actors, count)
                    break
                except Killed:
                    continue
            else:
                raise AssertionError("it is tried for ever")

    summary = bulk(photos, tmp_path / "out", output=output, execute=restarted)
    assert (summary.done, summary.failed, summary.retried) == (9, 1, 1)
    assert errors(tmp_path / "out") == {
        "b/photo5.png": "3 workers were killed while they segmented it; is it too large?"
    }


def test_a_shard_asked_for_again_after_its_result_is_not_done_again(bulk, photos, tmp_path):
    def twice(job, model, shards, actors, count):
        shards = list(shards)
        first = list(bulk.execute(job, model, shards, actors, count))
        again = list(bulk.execute(job, model, shards, actors, count))
        assert [r["done"] for r in first] == [r["done"] for r in again]
        assert all(result["attempt"] == 0 for result in again)
        yield from again

    assert bulk(photos, tmp_path / "out", output="parquet", execute=twice).done == 10
    assert len(rows(tmp_path / "out")) == 10


def test_few_images_and_masks_are_held_at_a_time(bulk, photos, tmp_path, monkeypatch):
    """The images of a shard are decoded as the network takes them, and segmented as masks are written."""
    held = Counter()
    most = Counter()
    images, labels, mask = worker.images, worker.ShardSegmenter._labels, outputs.Writer.mask

    lock = threading.Lock()

    def count(kind, change):
        with lock:
            held[kind] += change
            most[kind] = max(most[kind], held[kind])

    def decoding(*arguments):
        for image in images(*arguments):
            count("images", 1)
            yield image

    def segmenting(self, image):
        count("images", -1)
        count("masks", 1)
        return labels(self, image)

    def writing(self, *arguments):
        time.sleep(0.02)
        count("masks", -1)
        return mask(self, *arguments)

    monkeypatch.setattr(worker, "images", decoding)
    monkeypatch.setattr(worker.ShardSegmenter, "_labels", segmenting)
    monkeypatch.setattr(outputs.Writer, "mask", writing)
    for i in range(30):
        (photos / f"more{i}.png").write_bytes((photos / "a/photo0.png").read_bytes())
    assert bulk(photos, tmp_path / "out", shard_size=40).done == 40
    assert held == {"images": 0, "masks": 0}
    assert most["images"] <= worker.PREFETCHED + 2
    assert most["masks"] <= 6


def test_an_output_that_is_no_output_of_ours_is_refused(bulk, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("")
    with pytest.raises(InputError, match="out: contains files"):
        bulk(photos, tmp_path / "out")
    with pytest.raises(InputError, match="output"):
        bulk(photos, photos)
    with pytest.raises(InputError, match="output"):
        bulk(photos, tmp_path)
    with pytest.raises(InputError, match=r"/none: no such file or folder"):
        bulk(tmp_path / "none", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: (cannot be written|contains files)"):
        bulk(photos, tmp_path / "file")


def test_an_output_inside_the_input_is_not_segmented(bulk, photos):
    assert bulk(photos, photos / "masks").done == 10
    assert bulk(photos, photos / "masks").done == 0


def test_a_model_that_cannot_be_loaded_is_told_before_anything_is_started(bulk, photos, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="bad.onnx: expected"):
        bulk(photos, tmp_path / "out", model=tmp_path / "bad.onnx")
    with pytest.raises(InputError, match="none.onnx: cannot be read"):
        bulk(photos, tmp_path / "out", model=tmp_path / "none.onnx")


def test_classes_of_one_name_or_of_a_column_s_name_get_columns_of_their_own():
    columns = outputs.share_names(("a", "key", "a", "b"))
    assert columns == ["a", "key (1)", "a (2)", "b"]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"cpus": 0}, {"gpus": -1}, {"gpus": 1.5}])
def test_actors_that_cannot_be(wrong):
    with pytest.raises(InputError):
        Actors(**wrong)


@pytest.mark.parametrize("atomic", [True, False])
def test_a_store_that_is_not_local(bulk, photos, draw, monkeypatch, atomic):
    """With uploads that appear whole, and with ones that need a temporary name."""
    import fsspec

    if not atomic:
        monkeypatch.setattr(storage, "ATOMIC_UPLOADS", frozenset())

    memory = fsspec.filesystem("memory")
    for i in range(4):
        memory.pipe_file(f"/photos/x/{i}.png", draw(i))
    try:
        summary = bulk("memory://photos", "memory://masks")
        assert summary.done == 4
        assert bulk("memory://photos", "memory://masks").skipped == 4
        assert sorted(memory.glob("/masks/x/*.png")) == [f"/masks/x/{i}.png" for i in range(4)]
        with Image.open(io.BytesIO(memory.cat_file("/masks/x/0.png"))) as mask:
            assert mask.size == (64, 48)
        assert pa.BufferReader(memory.cat_file("/masks/shares.parquet")).size() > 0
        memory.pipe_file("/photos/x/9.png", b"no picture")
        assert bulk("memory://photos", "memory://masks").failed == 1
        assert bulk("memory://photos", "memory://tables", output="parquet").done == 4
        assert not memory.exists("/masks/_bulk/tmp")
    finally:
        memory.rm("/photos", recursive=True)
        memory.rm("/masks", recursive=True)
        memory.rm("/tables", recursive=True)
