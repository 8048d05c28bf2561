import errno
import json
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from atrous._io import replacing
from atrous.cli.jobs import images_below
from atrous.errors import ComputeError
from atrous.image_io import IMAGE_SUFFIXES
from atrous.labelmap import write_labels
from atrous.segmenter import Segmenter


def below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_one_photo(segment, photo, tmp_path):
    photo("photo.png")
    code, out, err = segment("photo.png")
    assert (code, err) == (0, "")
    assert out.startswith("photo.png: red 25.0 % (")
    assert out.count("\n") == 1
    assert below(tmp_path / "segmentation") == ["photo.overlay.jpg", "photo.png"]


def test_a_photo_whose_crf_is_reduced_is_told(segment, tmp_path, monkeypatch):
    monkeypatch.setattr("atrous.segmenter.segmenter.most_vertices", lambda image, kernels: image.size // 3)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    code, out, err = segment("noise.png")
    assert (code, err) == (0, "")
    assert out.startswith("noise.png: ")
    assert "means of 4 x 4" in out
    assert below(tmp_path / "segmentation") == ["noise.overlay.jpg", "noise.png"]


def test_options(segment, photo, tmp_path):
    photo("photo.png")
    code, _, _ = segment(
        "photo.png", "--out", "o", "--no-overlay", "--probabilities", "--no-crf", "--threads", 1, "--max-side", 50
    )
    assert code == 0
    assert below(tmp_path / "o") == ["photo.png", "photo.probabilities.npy"]
    assert np.load(tmp_path / "o/photo.probabilities.npy").shape == (3, 64, 96)


@pytest.mark.parametrize(("most", "reduced"), [(6143, "2 x 2"), (6144, ""), (0, "")])
def test_a_large_photo_has_a_crf_on_means_and_its_line_says_so(segment, photo, most, reduced):
    photo("photo.png")
    code, out, _ = segment("photo.png", "--max-crf-pixels", most)
    assert code == 0
    assert ("means of" in out) == bool(reduced)
    assert reduced in out


def test_a_folder_is_mirrored_and_what_was_written_is_no_photo(segment, photo, tmp_path):
    for name in ("in/a.png", "in/deep/b.png", "in/deep/b.jpg", "in/.hidden/c.png", "in/._a.png"):
        photo(name)
    (tmp_path / "in/notes.txt").write_text("no photo")
    expected = [
        *("a.overlay.jpg", "a.png"),
        *("deep/b.jpg.overlay.jpg", "deep/b.jpg.png", "deep/b.png.overlay.jpg", "deep/b.png.png"),
    ]
    for _ in range(2):
        code, out, _ = segment("in", "--out", "in/results", "--overwrite")
        assert code == 0
        assert out.count("\n") == 3
        assert below(tmp_path / "in/results") == expected


def test_transport_streams_are_told_from_typescript(tmp_path):
    for name, content in {"a.ts": b"G" + bytes(187), "b.mts": bytes(4) + b"G", "c.ts": b"export default 1"}.items():
        (tmp_path / name).write_bytes(content)
    skipped = Counter()
    assert [path.name for path in images_below(tmp_path, tmp_path / "out", pytest.fail, skipped)] == ["a.ts", "b.mts"]
    assert skipped == {".ts": 1}


def test_results_beside_the_photos_are_not_segmented_again(segment, photo, tmp_path):
    photo("in/a.jpg")
    for _ in range(2):
        assert segment("in", "--out", "in", "--overwrite")[0] == 0
        assert below(tmp_path / "in") == ["a.jpg", "a.overlay.jpg", "a.png"]


def test_results_of_another_run_are_not_segmented(segment, photo, tmp_path):
    photo("in/a.jpg")
    assert segment("in", "--out", "in/first")[0] == 0
    assert segment("in", "--out", "second")[0] == 0
    assert below(tmp_path / "second") == ["a.overlay.jpg", "a.png"]


def test_a_photo_is_never_written_over(segment, photo, red_square):
    path = photo("photo.png")
    code, _, err = segment("photo.png", "--out", ".", "--overwrite")
    assert code == 2
    assert "is an input" in err
    assert np.array_equal(np.asarray(Image.open(path)), red_square)


def stamps(folder):
    return {name: (folder / name).stat().st_mtime_ns for name in below(folder)}


def test_a_second_run_makes_what_is_missing_and_says_what_was_done(segment, photo, tmp_path):
    for i in range(3):
        photo(f"in/{i}.png")
    assert segment("in")[0] == 0
    out = tmp_path / "segmentation"
    before = stamps(out)
    assert segment("in") == (0, "3 done before, skipped\n", "")
    photo("in/new.png")
    (out / "1.png").unlink()  # the mask is put in place last
    (out / "2.overlay.jpg").unlink()
    code, printed, err = segment("in")
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in printed.splitlines()] == [
        "1 done before, skipped",
        *(f"in/{name}.png" for name in ("1", "2", "new")),
    ]
    after = stamps(out)
    assert below(out) == sorted(f"{name}{end}" for name in ("0", "1", "2", "new") for end in (".png", ".overlay.jpg"))
    assert {name for name in before if after[name] == before[name]} == {"0.png", "0.overlay.jpg"}
    code, printed, _ = segment("in", "--overwrite")
    assert (code, printed.count("\n")) == (0, 4)
    assert all(after[name] < stamp for name, stamp in stamps(out).items())


def test_with_more_outputs_a_photo_is_done_again(segment, photo, tmp_path):
    photo("a.png")
    segment("a.png", "--no-overlay")
    code, printed, err = segment("a.png", "--probabilities")
    assert (code, printed.count("\n"), err) == (0, 1, "")
    assert below(tmp_path / "segmentation") == ["a.overlay.jpg", "a.png", "a.probabilities.npy"]
    assert segment("a.png", "--no-overlay")[:2] == (0, "1 done before, skipped\n")
    (tmp_path / "segmentation/a.png").unlink()
    assert segment("a.png", "--probabilities")[0] == 0
    assert segment("a.png", "--probabilities")[:2] == (0, "1 done before, skipped\n")


def test_another_photo_of_the_same_name_is_not_taken_for_it(segment, photo, tmp_path):
    photo("in/a.png")
    photo("in/b.png")
    assert segment("in")[0] == 0
    out = tmp_path / "segmentation"
    before = {name: (out / name).read_bytes() for name in below(out)}
    Image.new("RGB", (96, 64), (20, 20, 230)).save(tmp_path / "in/a.png")
    (out / "a.overlay.jpg").unlink()
    del before["a.overlay.jpg"]
    code, printed, err = segment("in")
    assert (code, printed) == (2, "1 done before, skipped\n")
    assert err.startswith("error: 1 input skipped")
    assert "--overwrite" in err
    assert {name: (out / name).read_bytes() for name in below(out)} == before
    code, printed, err = segment("in", "--overwrite")
    assert (code, err) == (0, "")
    assert printed.startswith("in/a.png: blue 100.0 %")
    assert segment("in") == (0, "2 done before, skipped\n", "")


@pytest.mark.parametrize(
    "extra",
    [
        ("--classes", "red"),
        ("--no-crf",),
        ("--max-side", 90),
        ("--max-crf-pixels", 5000),
        ("--min-region", 0),
        ("--model", "other.onnx"),
    ],
    ids=lambda extra: extra[0],
)
def test_masks_of_other_options_are_left_and_told(segment, photo, tmp_path, tiny_model, extra):
    photo("a.png")
    photo("b.png")
    (tmp_path / "other.onnx").write_bytes(tiny_model.read_bytes())
    assert segment("a.png", "b.png", "--overwrite")[0] == 0
    before = stamps(tmp_path / "segmentation")
    code, printed, err = segment("a.png", "b.png", *extra, "--probabilities")  # though an output is missing
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: 2 inputs skipped")
    assert stamps(tmp_path / "segmentation") == before
    assert segment("a.png", "b.png", *extra, "--overwrite")[0] == 0
    assert segment("a.png", "b.png", *extra)[:2] == (0, "2 done before, skipped\n")


def test_options_that_leave_the_mask_as_it_is_do_not_count(segment, photo):
    photo("a.png")
    assert segment("a.png", "--classes", "red,blue")[0] == 0
    options = ("--classes", "blue, red", "--threads", 1, "--opacity", 0.3, "--engine", "onnxruntime")
    assert segment("a.png", *options)[:2] == (0, "1 done before, skipped\n")


def test_a_cutout_of_other_classes_is_left_and_told(segment, photo, tmp_path):
    photo("a.png")
    assert segment("a.png")[0] == 0
    assert segment("a.png", "--cutout", "red")[0] == 0  # adds to the mask of the same options
    before = (tmp_path / "segmentation/a.cutout.png").read_bytes()
    code, _, err = segment("a.png", "--cutout", "blue")
    assert (code, err.count("\n")) == (2, 1)
    assert (tmp_path / "segmentation/a.cutout.png").read_bytes() == before
    assert segment("a.png")[:2] == (0, "1 done before, skipped\n")
    assert segment("a.png", "--cutout", "red")[:2] == (0, "1 done before, skipped\n")
    (tmp_path / "segmentation/a.png").unlink()  # as after a kill
    assert segment("a.png", "--cutout", "blue")[0] == 0
    assert (tmp_path / "segmentation/a.cutout.png").read_bytes() != before


def test_outputs_that_overwriting_leaves_behind_are_told(segment, photo, tmp_path):
    photo("a.png")
    assert segment("a.png", "--cutout", "all", "--format", "coco")[0] == 0
    code, _, err = segment("a.png", "--overwrite")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("note: segmentation/a.cutout.png and 1 more")
    assert segment("a.png", "--cutout", "all", "--format", "coco", "--overwrite")[2] == ""


def test_masks_without_a_key_count_as_done(segment, photo, tmp_path):
    photo("a.png")
    assert segment("a.png")[0] == 0
    write_labels(tmp_path / "segmentation/a.png", np.zeros((64, 96), np.uint8))
    assert segment("a.png", "--no-crf")[:2] == (0, "1 done before, skipped\n")


@pytest.mark.parametrize(
    ("name", "extra"), [("a.png", ()), ("a.overlay.jpg", ()), ("a.probabilities.npy", ("--probabilities",))]
)
def test_a_file_that_somebody_else_wrote_is_not_replaced(segment, photo, tmp_path, name, extra):
    photo("a.png")
    (tmp_path / "segmentation").mkdir()
    theirs = tmp_path / "segmentation" / name
    theirs.write_bytes(b"mine")
    code, printed, err = segment("a.png", *extra)
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert f"{name}: exists" in err
    assert theirs.read_bytes() == b"mine"
    assert segment("a.png", *extra, "--overwrite")[0] == 0
    assert theirs.read_bytes() != b"mine"


def test_a_picture_in_the_place_of_a_mask_is_not_taken_for_it(segment, photo, tmp_path):
    photo("a.jpg")
    photo("segmentation/a.png")  # RGB
    assert segment("a.jpg", "--no-overlay")[0] == 2
    mask = tmp_path / "segmentation/a.png"
    assert segment("a.jpg", "--no-overlay", "--overwrite")[0] == 0
    Image.open(mask).save(mask)  # painted over, say
    assert segment("a.jpg", "--no-overlay")[:2] == (0, "1 done before, skipped\n")


@pytest.mark.parametrize("name", ["b.png", "b.overlay.jpg"])
def test_a_folder_in_the_place_of_an_output_leaves_none_of_the_photos_outputs(segment, photo, tmp_path, name):
    for stem in "abc":
        photo(f"in/{stem}.png")
    (tmp_path / "segmentation" / name).mkdir(parents=True)
    for extra in ((), ("--overwrite",)):
        code, _, err = segment("in", *extra)
        assert (code, err.count("\n")) == (2, 1)
        assert f"{name}: expected a file or nothing" in err
        assert below(tmp_path / "segmentation") == ["a.overlay.jpg", "a.png", "c.overlay.jpg", "c.png"]
    (tmp_path / "segmentation" / name).rmdir()
    assert segment("in")[0] == 0
    assert len(below(tmp_path / "segmentation")) == 6


def test_no_input_is_replaced_by_another_ones_output(segment, photo, tmp_path):
    photo("in/a.jpg")
    other = photo("in/a.overlay.jpg")
    content = other.read_bytes()
    code, printed, err = segment("in", "--out", "in", "--overwrite")
    assert code == 2
    assert "in/a.overlay.jpg: is an input" in err
    assert other.read_bytes() == content
    assert printed.count("\n") == 1
    assert below(tmp_path / "in") == ["a.jpg", "a.overlay.jpg", "a.overlay.overlay.jpg", "a.overlay.png"]


def test_what_a_killed_run_left_is_removed_though_all_is_done(segment, photo, tmp_path):
    photo("a.png")
    segment("a.png")
    with replacing(tmp_path / "segmentation/x") as temporary:
        stale = temporary.parent.with_name(temporary.parent.name[:-5] + "0.tmp")
    stale.mkdir()
    (stale / "a.png").write_text("half")
    assert segment("a.png")[:2] == (0, "1 done before, skipped\n")
    assert sorted(p.name for p in (tmp_path / "segmentation").iterdir()) == ["a.overlay.jpg", "a.png", "x"]


def test_bad_files_are_a_line_each_and_the_others_are_done(segment, photo, tmp_path):
    photo("good.png")
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "cut.png").write_bytes(photo("x.png").read_bytes()[:100])
    (tmp_path / "empty").mkdir()
    code, out, err = segment("text.jpg", "cut.png", "missing.jpg", "empty", "good.png")
    assert code == 2
    assert out.startswith("good.png: ")
    lines = err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: ") for line in lines[:4])
    assert lines[4].startswith("2 of 3 ")  # of the files that were read
    for name in ("text.jpg", "cut.png", "missing.jpg", "empty"):
        assert any(name in line for line in lines)


def test_photos_that_would_still_share_a_name(segment, photo, tmp_path):
    photo("a/x.png")
    photo("b/x.png")
    code, out, err = segment("a/x.png", "b/x.png", "a/x.png")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: b/x.png: ")
    assert "a/x.png" in err
    assert not (tmp_path / "segmentation").exists()


@pytest.mark.parametrize("extra", [("--threads", 0), ("--max-side", 0), ("--out", "photo.png")])
def test_arguments_that_cannot_be_used(segment, photo, extra):
    photo("photo.png")
    code, _, err = segment("photo.png", *extra)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_model_that_is_missing(segment, photo):
    photo("photo.png")
    code, _, err = segment("photo.png", "--model", "none.onnx")
    assert (code, err.count("\n")) == (2, 1)
    assert "none.onnx" in err


def test_an_interrupt_leaves_nothing_half_written(segment, photo, tmp_path, monkeypatch):
    photo("a.png")
    photo("b.png")
    shown = []

    def interrupted(*line):
        shown.append(line)
        raise KeyboardInterrupt

    monkeypatch.setattr("atrous.cli.segment.report_line", interrupted)
    code, _, err = segment("a.png", "b.png")
    assert code == 130
    assert len(shown) == 1
    assert "interrupted after 0 of 2" in err
    written = below(tmp_path / "segmentation")
    assert written[:2] == ["a.overlay.jpg", "a.png"]
    assert written[2:] in ([], ["b.overlay.jpg", "b.png"])  # the other was in work


def test_many_photos_say_and_write_what_each_alone_does(segment, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(7):
        path = tmp_path / f"in/{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20 + 9 * i, 60, 3), np.uint8)).save(path)
    code, out, err = segment("in", "--threads", 3)
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [f"in/{i}.png" for i in range(7)]
    for i in range(7):
        assert segment(f"in/{i}.png", "--out", "alone")[1].split(" (")[0] == out.splitlines()[i].split(" (")[0]
    for name in below(tmp_path / "alone"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "segmentation" / name).read_bytes()


def test_clips_go_to_the_other_module_with_the_same_segmenter(segment, photo, tmp_path, monkeypatch):
    photo("in/a.png")
    for name in ("in/clip.MP4", "in/old.overlay.mp4"):
        (tmp_path / name).write_bytes(b"")
    seen = []

    def clips(jobs, segmenter, out, *, keys, overwrite, labels, fail, json, quiet):
        seen.append(([job.name.name for job in jobs], type(segmenter), out.name, overwrite, labels, json, quiet))
        fail("damaged")

    monkeypatch.setattr("atrous.cli.segment.segment_videos", clips)
    code, out, err = segment("in", "--labels")
    assert seen == [(["clip"], Segmenter, "segmentation", False, True, False, False)]
    assert (code, out.count("\n"), err) == (2, 1, "error: damaged\n")


def test_odd_names(segment, photo):
    photo("two\nlines [bold].png")
    code, out, _ = segment("two\nlines [bold].png")
    assert code == 0
    assert out.startswith("two\\nlines [bold].png: ")


def test_names_that_are_too_long_are_a_line_each(segment, photo, tmp_path):
    photo("good.png")
    long = photo(f"{'x' * 240}.png")
    (tmp_path / "segmentation").mkdir()
    whole = photo(f"{'y' * 250}.png")  # its mask's name fits, the overlay's does not
    code, out, err = segment("z" * 300, long, whole, "good.png")
    assert code == 2
    assert [line.split(":")[0] for line in out.splitlines()] == [str(long), "good.png"]
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: zzz")
    assert lines[1].endswith("rename the photo")
    assert all("File name too long" in line and ".tmp" not in line for line in lines)


def test_what_is_skipped_in_a_folder_is_counted_in_a_line(segment, photo, tmp_path):
    photo("in/a.jpg")
    photo("elsewhere/b.png")
    for name in ("1.cr2", "2.CR2", "README", "deep/3.TXT"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"raw")
    (tmp_path / "in/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/gone.png").symlink_to(tmp_path / "nowhere.png")
    segment("in", "--out", "in", "--probabilities", "--format", "coco")  # outputs are not counted
    code, printed, err = segment("in", "--out", "in")
    assert (code, printed) == (0, "1 done before, skipped\n")
    assert err.startswith("note: in: skipped .cr2 (2), ")
    assert err.count("\n") == 1
    for kind in ("no suffix (1)", ".txt (1)", "links to folders (1)", "broken links (1)"):
        assert kind in err
    assert segment("in", "--out", "in", "--quiet") == (0, "", "")
    (tmp_path / "in/a.jpg").unlink()
    code, _, err = segment("in", "--out", "other")
    assert (code, err.count("\n")) == (2, 1)
    assert "skipped .cr2 (2)" in err


def test_heic_is_read_or_the_extra_is_named(segment, photo, red_square, tmp_path, monkeypatch):
    pytest.importorskip("pillow_heif").register_heif_opener()
    photo("in/a.png")
    Image.fromarray(red_square).save(tmp_path / "in/b.HEIC", "HEIF", quality=-1)
    code, out, err = segment("in")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].startswith("in/b.HEIC: red 25.0 %")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("atrous.image_io.decode.IMAGE_SUFFIXES", IMAGE_SUFFIXES - {".heic", ".heif"})
    code, _, err = segment("in")
    assert (code, err.count("\n")) == (0, 1)
    assert "skipped .heic (1)" in err
    assert "to read HEIC: install the extra 'heif'" in err
    code, _, err = segment("in/b.HEIC", "--overwrite")
    assert (code, err.count("\n")) == (2, 1)
    assert "extra 'heif'" in err


def test_unreadable_folders_are_counted_in_a_line(segment, photo, monkeypatch):
    photo("in/a.png")

    def walk(top, onerror):
        for name in "xyz":
            onerror(PermissionError(13, "Permission denied", f"in/{name}"))
        yield "in", [], ["a.png"]

    monkeypatch.setattr("os.walk", walk)
    code, out, err = segment("in")
    assert (code, out.count("\n"), err.count("\n")) == (2, 1, 1)
    assert err.startswith("error: in/x: ")
    assert "2 more" in err


def test_the_runtime_is_said_only_on_request(segment, photo):
    photo("photo.png")
    assert segment("photo.png", "--engine", "onnxruntime")[2] == ""
    code, out, err = segment("photo.png", "--engine", "onnxruntime", "--overwrite", "-v")
    assert (code, out.count("\n"), err.count("\n")) == (0, 1, 1)
    assert "tiny.onnx on ONNX Runtime (cpu)" in err


@pytest.mark.parametrize("photos", [1, 3])
def test_a_reader_who_has_gone_is_no_error_of_the_photos(segment, photo, monkeypatch, photos):
    def gone(line, *, err=False):
        assert not err, line
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("atrous.cli.segment.print_line", gone)
    code, _, _ = segment(*(photo(f"{i}.png") for i in range(photos)))
    assert code == 1  # as of other commands whose output nobody reads; not 2, which says that photos failed


@pytest.mark.parametrize("photos", [1, 3])
def test_a_network_that_fails_is_a_line_for_each_photo(segment, photo, monkeypatch, photos):
    def fails(engine, image):
        raise ComputeError("the network failed on 40x60 pixels, on cuda (out of memory); try a smaller max_side")

    monkeypatch.setattr("atrous.backends.base.ExportedEngine.scores", fails)
    code, out, err = segment(*(photo(f"{i}.png") for i in range(photos)))
    assert (code, out) == (2, "")
    lines = err.splitlines()[:photos]
    assert [line.partition(".png: the network failed")[0][-1] for line in lines] == list("012"[:photos])
    assert err.splitlines()[photos:] == ([f"{photos} of {photos} photos failed"] if photos > 1 else [])


def test_a_full_disk_is_said_once_and_ends_the_run(segment, photo, monkeypatch):
    def full(result, folder, stem, **_):
        if stem != "0":
            raise OSError(errno.ENOSPC, "No space left on device", f"{folder}/{stem}.png")
        return {}

    monkeypatch.setattr("atrous.segmenter.result.Segmentation.save", full)
    code, out, err = segment(*(photo(f"{i}.png") for i in range(9)))
    assert code == 2
    assert len(out.splitlines()) == 1
    first, second = err.splitlines()
    assert first == "error: segmentation/1.png: cannot be written (No space left on device)"
    assert second.startswith("error: 7 images remain")


def test_a_cutout_of_some_classes(segment, photo, tmp_path):
    photo("photo.png")
    assert segment("photo.png", "--cutout", "red", "--no-overlay")[0] == 0
    assert below(tmp_path / "segmentation") == ["photo.cutout.png", "photo.png"]
    with Image.open(tmp_path / "segmentation/photo.cutout.png") as cut:
        assert cut.mode == "RGBA"
        alpha = np.asarray(cut.getchannel("A"))
    with Image.open(tmp_path / "segmentation/photo.png") as mask:
        inside = np.asarray(mask) == 1
    assert ((alpha > 127) == inside).mean() > 0.99
    # An output that is missing is made though the others are there.
    code, out, _ = segment("photo.png")
    assert (code, out.count("red")) == (0, 1)


def test_only_some_classes(segment, photo, tmp_path):
    photo("photo.png")
    code, out, _ = segment("photo.png", "--classes", "background,blue")
    assert (code, "none of these classes" in out) == (0, True)
    with Image.open(tmp_path / "segmentation/photo.png") as mask:
        assert not np.asarray(mask).any()
    for option in ("--classes", "--cutout"):
        code, _, err = segment("photo.png", option, "pink")
        assert (code, err.count("\n")) == (2, 1)
        assert "'pink'" in err


def test_all_classes_are_no_restriction(segment, photo):
    photo("photo.png")
    assert "red 25.0 %" in segment("photo.png", "--classes", "all")[1]
    assert segment("photo.png") == (0, "1 done before, skipped\n", "")


@pytest.mark.parametrize(
    ("option", "names"), [("--classes", ""), ("--classes", " , "), ("--cutout", ""), ("--classes", "background")]
)
def test_classes_that_name_nothing(segment, photo, tmp_path, option, names):
    photo("photo.png")
    code, out, err = segment("photo.png", option, names)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {option} ")
    assert "or all" in err
    assert not (tmp_path / "segmentation").exists()


def test_a_cutout_and_a_mask_of_the_same_name(segment, photo, tmp_path):
    for name in ("a.png", "a.cutout.png"):
        photo(name)
    code, _, err = segment("a.png", "a.cutout.png", "--cutout", "all")
    assert (code, "a.cutout.png" in err, "rename" in err) == (2, True, True)
    assert not (tmp_path / "segmentation").exists()
    assert segment("a.png", "a.cutout.png")[0] == 0


def test_a_cutout_of_absent_classes_is_empty_and_told(segment, photo, tmp_path):
    photo("photo.png")
    code, out, err = segment("photo.png", "--cutout", "blue")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert "red 25.0 %; no blue found" in out
    with Image.open(tmp_path / "segmentation/photo.cutout.png") as cut:
        assert cut.getchannel("A").getextrema() == (0, 0)
    for names in ("red,blue", "all", "background"):
        assert "empty" not in segment("photo.png", "--cutout", names, "--overwrite")[1]
    Image.new("RGB", (96, 64), (128, 128, 128)).save(tmp_path / "photo.png")
    out = segment("photo.png", "--cutout", "all", "--overwrite")[1]
    assert "nothing it knows; no object found" in out
    assert segment("photo.png", "--cutout", "blue", "--out", "-")[2].startswith("note: photo.png: no blue found")


def test_coco_holds_the_photos_of_all_runs(segment, photo, tmp_path):
    photo("photos/a.png")
    segment("photos")
    photo("photos/sub/b.png")
    code, _, err = segment("photos", "--format", "coco")
    assert (code, err) == (0, "")
    made = json.loads((tmp_path / "segmentation/coco.json").read_text())
    assert [image["file_name"] for image in made["images"]] == ["a.png", "sub/b.png"]
    assert [one["image_id"] for one in made["annotations"]] == [1, 2]
    width, height = made["annotations"][0]["bbox"][2:]
    assert made["annotations"][0]["area"] == width * height
    assert made["categories"][0]["name"] == "red"
    assert segment("photos", "--format", "yolo")[0] == 2


def test_coco_never_loses_images(segment, photo, tmp_path):
    photo("a.png")
    photo("b.png")
    assert segment("a.png", "--format", "coco")[0] == 0
    made = tmp_path / "segmentation/coco.json"
    content = made.read_bytes()
    code, out, err = segment("b.png", "--format", "coco")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "such as a.png" in err
    assert "--overwrite" in err
    assert made.read_bytes() == content
    assert not (tmp_path / "segmentation/b.png").exists()
    code, _, err = segment("a.png", "b.png", "--format", "coco", "--no-crf")  # the mask of a.png is another one
    assert (code, err.count("\n")) == (2, 1)
    assert "coco.json was not written" in err
    assert made.read_bytes() == content
    assert segment("b.png", "--format", "coco", "--overwrite")[0] == 0
    assert [image["file_name"] for image in json.loads(made.read_text())["images"]] == ["b.png"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": [], "info": {"description": "VOC"}}', '{"images": 1}'])
def test_a_coco_file_of_another_program_is_not_replaced(segment, photo, tmp_path, content):
    photo("a.png")
    (tmp_path / "segmentation").mkdir()
    theirs = tmp_path / "segmentation/coco.json"
    theirs.write_text(content)
    code, out, err = segment("a.png", "--format", "coco")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "coco.json: exists" in err
    assert theirs.read_text() == content
    assert segment("a.png", "--format", "coco", "--overwrite")[0] == 0


def test_json_lines_and_quiet(segment, photo):
    photo("photo.png")
    code, out, _ = segment("photo.png", "--json")
    told = json.loads(out)
    assert (code, told["photo"], told["shares"]["red"]) == (0, "photo.png", 0.25)
    assert segment("photo.png", "--json") == (0, "", "1 done before, skipped\n")
    assert segment("photo.png", "--json", "--quiet") == (0, "", "")
    assert segment("photo.png", "--quiet", "--overwrite")[:2] == (0, "")


@pytest.mark.parametrize(
    "extra",
    [
        *(("--classes", "red"), ("--cutout", "red"), ("--format", "coco"), ("--opacity", "0.3"), ("--colors", "c.txt")),
        *(("--no-overlay",), ("--probabilities",)),
    ],
    ids=lambda extra: extra[0],
)
def test_options_of_photos_are_not_ignored_for_videos(segment, photo, tmp_path, extra):
    photo("in/a.png")
    (tmp_path / "in/clip.mp4").write_bytes(b"")
    code, out, err = segment("in", *extra)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {extra[0]}: ")
    assert "clip.mp4" in err
    assert not (tmp_path / "segmentation").exists()


def test_overlay_colors_and_opacity(segment, photo, tmp_path):
    photo("photo.png")
    (tmp_path / "colors.txt").write_text("background 0 0 0\nred 0 255 0\nblue 0 0 255\n")
    assert segment("photo.png", "--opacity", "1", "--colors", "colors.txt")[0] == 0
    with Image.open(tmp_path / "segmentation/photo.overlay.jpg") as drawn, Image.open("segmentation/photo.png") as mask:
        inside = np.asarray(drawn)[np.asarray(mask) == 1]
    assert np.median(inside, axis=0).tolist() == pytest.approx([0, 255, 0], abs=12)
    assert segment("photo.png", "--opacity", "2", "--overwrite")[0] == 2


def test_classes_without_a_color_keep_their_own(segment, photo, tmp_path):
    photo("photo.png")
    (tmp_path / "colors.txt").write_text("blue 0 0 255\n")
    assert segment("photo.png", "--out", "own")[0] == 0
    assert segment("photo.png", "--colors", "colors.txt", "--opacity", "0.45")[0] == 0
    name = "photo.overlay.jpg"
    assert (tmp_path / "segmentation" / name).read_bytes() == (tmp_path / "own" / name).read_bytes()
    (tmp_path / "colors.txt").write_text("pink 0 0 255\n")
    code, _, err = segment("photo.png", "--colors", "colors.txt", "--overwrite")
    assert (code, err.count("\n")) == (2, 1)
    assert "pink" in err
