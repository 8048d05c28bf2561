from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from atrous.data.dataset import open_dataset
from atrous.data.folder_dataset import read_list
from atrous.data.samples import read_pair
from atrous.data.validate import check_dataset
from atrous.errors import InputError
from atrous.labelmap import voc_palette


@pytest.fixture
def voc(tmp_path):
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    names = [f"2007_{i:06d}" for i in range(10)]
    for name in names:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "SegmentationClassAug" / f"{name}.png")
    (tmp_path / "ImageSets/Segmentation/train_aug.txt").write_text("\n".join(names) + "\n")
    return tmp_path


def test_reads_pairs_in_the_order_of_the_list(voc):
    samples = read_list(voc, "train_aug")
    assert samples.name == "train_aug"
    assert [s.name for s in samples.samples][:2] == ["2007_000000", "2007_000001"]
    assert samples.samples[3].label == voc / "SegmentationClassAug" / "2007_000003.png"


def test_holding_out_takes_evenly_spaced_images(voc):
    whole = read_list(voc, "train_aug")
    rest, held = whole.hold_out(2)
    assert [s.name[-1] for s in held.samples] == ["0", "5"]
    assert [s.name[-1] for s in rest.samples] == list("12346789")
    assert len({whole.sha256, rest.sha256, held.sha256}) == 3
    with pytest.raises(InputError, match="hold_out=10"):
        whole.hold_out(10)


def test_a_path_serves_as_a_list_too(voc, tmp_path):
    (voc / "mine.txt").write_text("2007_000004")
    assert [s.name for s in read_list(voc, str(voc / "mine.txt")).samples] == ["2007_000004"]


@pytest.mark.parametrize(
    "line",
    [
        "2007_000004.jpg",
        "JPEGImages/2007_000004.jpg",
        # As the paper's authors' own lists have it.
        "/JPEGImages/2007_000004.jpg /SegmentationClassAug/2007_000004.png",
        "/JPEGImages/2007_000004.jpg",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_may_name_files(voc, line, end):
    listing = voc / "ImageSets/Segmentation/theirs.txt"
    listing.write_bytes(f"{line}{end}2007_000005{end}".encode())
    samples = read_list(voc, "theirs")
    assert [s.name for s in samples.samples] == ["2007_000004", "2007_000005"]
    assert samples.samples[0].label == voc / "SegmentationClassAug/2007_000004.png"
    listing.write_text(f"{line}\n2007_000004\n")
    with pytest.raises(InputError, match=r"theirs\.txt: line 2 repeats '2007_000004' of line 1"):
        read_list(voc, "theirs")


def test_mistakes_name_the_file(voc):
    with pytest.raises(InputError, match=r"list val: .*train_aug.*val\.txt"):
        read_list(voc, "val")
    (voc / "JPEGImages/2007_000003.jpg").unlink()
    with pytest.raises(InputError, match=r"train_aug\.txt: .*'2007_000003'"):
        read_list(voc, "train_aug")
    (voc / "ImageSets/Segmentation/empty.txt").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        read_list(voc, "empty")


def test_a_pair_that_does_not_fit_is_named(voc):
    samples = read_list(voc, "train_aug").samples
    image, labels = read_pair(samples[0])
    assert image.shape == (4, 4, 3)
    assert labels.shape == (4, 4)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(samples[1].label)
    with pytest.raises(InputError, match=r"2007_000001\.png: .*2007_000001\.jpg, 4x4 pixels, got 5x4"):
        read_pair(samples[1])
    with pytest.raises(InputError, match="expected a label map"):
        read_pair(replace(samples[2], label=None))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


PHOTO, MASK = np.full((2, 3, 3), 90), np.array([[0, 1, 2], [0, 1, 1]])


def labelme(root):
    for i in range(6):
        save(root / f"JPEGImages/p{i}.jpg", PHOTO)
        save(root / f"SegmentationClassPNG/p{i}.png", MASK)
    (root / "SegmentationClass").mkdir()
    np.save(root / "SegmentationClass/p0.npy", MASK)
    (root / "class_names.txt").write_text("_background_\ncar\nroad\n")
    return ("_background_", "car", "road"), MASK


def cvat(root):
    colors = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]])
    for i in range(6):
        save(root / f"JPEGImages/p{i}.png", PHOTO)
        save(root / f"SegmentationClass/p{i}.png", colors[MASK])
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83:wheel,door:drive\nmain road:51,221,255::\n"
    )
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("".join(f"p{i}\n" for i in range(6)))
    return ("background", "car", "main road"), MASK


def roboflow(root):
    for i in range(6):
        part = ("train", "train", "train", "valid", "valid", "test")[i]
        save(root / f"{part}/p{i}_jpg.rf.1f.jpg", PHOTO)
        save(root / f"{part}/p{i}_jpg.rf.1f_mask.png", MASK)
        (root / part / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, car\n2, road\n")
    return ("background", "car", "road"), MASK


def supervisely(root):
    for i in range(6):
        save(root / f"img/p{i}.jpg", PHOTO)
        save(root / f"masks_machine/p{i}.jpg.png", np.stack([MASK] * 3, axis=-1))
    (root / "obj_class_to_machine_color.json").write_text('{"car": [1, 1, 1], "road": [2, 2, 2]}')
    return ("background", "car", "road"), MASK


@pytest.mark.parametrize("export", [labelme, cvat, roboflow, supervisely])
def test_exports_of_annotation_tools_are_read_as_they_come(tmp_path, export):
    classes, labels = export(tmp_path)
    data = open_dataset(tmp_path)
    assert (data.classes, data.notes) == (classes, ())
    train, val = (data.read(name) for name in ("train", "val"))
    assert len(train) + len(val) == (5 if export is roboflow else 6)
    assert not {s.name for s in train.samples} & {s.name for s in val.samples}
    for sample in (*train.samples, *val.samples):
        assert read_pair(sample)[1].tolist() == labels.tolist()
    found = check_dataset(tmp_path)
    assert (found.problems, found.pairs, found.pixels[:3].tolist()) == ([], 6, [12, 18, 6])


@pytest.mark.parametrize(
    ("training", "validation"),
    [("Train", "Validation"), ("training", "validation"), ("train", "valid"), ("Training", "VAL")],
)
def test_subsets_of_cvat_are_the_lists(tmp_path, training, validation):
    cvat(tmp_path)
    lists = tmp_path / "ImageSets/Segmentation"
    (lists / "default.txt").unlink()
    (lists / f"{training}.txt").write_text("p0\np1\np2\np3\n")
    (lists / f"{validation}.txt").write_text("p4\np5\n")
    data = open_dataset(tmp_path)
    assert set(data.lists()) == {"train", "val"}
    assert data.default_training_list == "train"
    for name in ("train", "training"):
        assert [s.name for s in data.read(name).samples] == ["p0", "p1", "p2", "p3"]
    for name in ("val", "Val", "validation"):
        assert data.read(name).name == "val"
        assert [s.name for s in data.read(name).samples] == ["p4", "p5"]
    assert check_dataset(tmp_path).lists == {"train": 4, "val": 2}
    (lists / "val.txt").write_text("p5\n")
    if validation == "VAL":
        with pytest.raises(InputError, match=r"val\.txt: .*VAL\.txt"):
            data.read("val")
    else:
        assert [s.name for s in data.read("val").samples] == ["p5"]
        assert len(data.read(validation)) == 2


def test_a_split_without_a_class_list_has_that_of_the_others(tmp_path):
    roboflow(tmp_path)
    (tmp_path / "train/_classes.csv").unlink()
    (tmp_path / "test/_classes.csv").unlink()
    data = open_dataset(tmp_path)
    assert data.classes == ("background", "car", "road")
    assert [len(data.read(name)) for name in ("train", "val", "test")] == [3, 2, 1]


def test_splits_with_different_classes_are_an_error(tmp_path):
    roboflow(tmp_path)
    (tmp_path / "valid/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, road\n2, car\n")
    with pytest.raises(InputError, match=r"train/_classes\.csv: .*valid/_classes\.csv"):
        open_dataset(tmp_path)
    (problem,) = (p for p in check_dataset(tmp_path).problems if p.kind == "classes")
    assert problem.file == str(tmp_path / "train/_classes.csv")
    assert "valid/_classes.csv" in problem.message


def test_the_folder_around_an_export_names_it(tmp_path):
    supervisely(tmp_path / "ds0")
    with pytest.raises(InputError, match="use .*ds0"):
        open_dataset(tmp_path)


def test_voc_s_names_are_not_assumed_in_silence(voc):
    assert open_dataset(voc).notes == ()
    for name in ("p0.jpg", "p1.jpg"):
        save(voc / "JPEGImages" / name, PHOTO)
    (path,) = (voc / "JPEGImages").glob("*_000000.jpg")
    path.rename(path.with_name("a.jpg"))
    (note,) = open_dataset(voc).notes
    assert "classes.txt" in note
    assert "PASCAL VOC" in note
    assert note in check_dataset(voc).notes


def test_a_palette_with_voc_s_colors_at_other_ids_is_noted(voc):
    for name, ids in (("2007_000001", [[0, 15]]), ("2007_000002", [[0, 1]])):
        image = Image.fromarray(np.repeat(np.repeat(np.array(ids, np.uint8), 4, axis=0), 2, axis=1))
        colors = voc_palette(256)
        colors[1] = colors[15]  # of person, as a quantizer numbers its colors
        image.putpalette(colors.tobytes())
        image.save(voc / f"SegmentationClassAug/{name}.png")
    (note,) = (n for n in check_dataset(voc).notes if "renumbered" in n)
    assert "2007_000002.png: id 1 has the color of person, id 15" in note
    (voc / "classes.txt").write_text("\n".join(f"class {c}" for c in range(21)))
    assert not any("renumbered" in n for n in check_dataset(voc).notes)
