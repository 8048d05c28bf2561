import os
from dataclasses import replace
from pathlib import Path

from atrous.data.samples import Sample, image_list
from atrous.evaluation.run_info import overlap_warning


def listed(name, *names):
    return image_list(name, [Sample(n, Path(f"{n}.jpg"), None) for n in names])


VAL = listed("val", "a", "b", "c")


def test_a_checkpoint_knows_its_images(tmp_path, tiny_metadata):
    (tmp_path / "training-list.txt").write_text("x\nb\nc\n")
    assert "2 of val's 3" in overlap_warning(tiny_metadata, tmp_path, VAL)
    (tmp_path / "training-list.txt").write_text("x\ny\n")
    # The names tell more than the list's name.
    assert overlap_warning(replace(tiny_metadata, training_list="val"), tmp_path, VAL) is None


def test_a_model_knows_its_lists_name_and_hash(tiny_metadata):
    assert overlap_warning(tiny_metadata, None, VAL) is None
    trained = replace(tiny_metadata, training_list="mine", training_list_sha256=VAL.sha256)
    certain = overlap_warning(trained, None, VAL)
    named = replace(tiny_metadata, training_list="val")
    possible = overlap_warning(named, Path("model.onnx"), VAL)
    assert "val" in certain
    assert "val" in possible
    assert "possibly" in possible
    assert "possibly" not in certain


def test_names_that_are_no_text_are_known_too(tmp_path, tiny_metadata):
    (tmp_path / "training-list.txt").write_bytes(b"caf\xe9\nb\n")
    found = overlap_warning(tiny_metadata, tmp_path, listed("val", os.fsdecode(b"caf\xe9"), "c"))
    assert "1 of val's 2" in found
