import json
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import atrous
from atrous.crf import Spatial
from atrous.data.metadata import CrfParameters
from atrous.errors import InputError, MissingExtra
from atrous.segmenter import Segmenter

hub = pytest.importorskip("huggingface_hub", reason="needs the extra 'hub'")

SCORES = {
    "run": {"data": "/data/voc12", "listed": "val"},
    "images": 2,
    "classes": ["background", "red", "blue"],
    "labelings": {
        "network alone": {"mean IoU": 0.5625, "pixel accuracy": 0.8762},
        "with CRF": {"mean IoU": 0.613, "pixel accuracy": 0.8995},
    },
}


@pytest.fixture
def offline(monkeypatch):
    """No connection can be made, and none may be tried."""

    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def scores_file(tmp_path):
    path = tmp_path / "val.json"
    path.write_text(json.dumps(SCORES))
    return path


def test_a_saved_segmenter_comes_back_without_the_network(offline, tiny_model, red_square, tmp_path):
    crf = CrfParameters(weight=5, sxy=30, srgb=7)
    segmenter = Segmenter(tiny_model, crf=crf, max_side=80)
    segmenter.save_pretrained(tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == ["README.md", "config.json", "model.onnx"]
    for again in (
        Segmenter.from_pretrained(tmp_path / "saved"),
        atrous.Segmenter.from_pretrained(str(tmp_path / "saved"), threads=1),
    ):
        assert (again.crf, again.max_side) == (crf, 80)
        np.testing.assert_array_equal(again(red_square).labels, segmenter(red_square).labels)
    # the plain constructor takes the folder too, with the tuned CRF
    assert Segmenter(tmp_path / "saved").crf == crf
    assert Segmenter.from_pretrained(tmp_path / "saved", crf=None, max_side=64).crf is None


@pytest.mark.parametrize("crf", [None, "deeplab-largefov"])
def test_the_crf_setting_is_kept(tiny_model, tmp_path, crf):
    segmenter = Segmenter(tiny_model, crf=crf)
    segmenter.save_pretrained(tmp_path)
    assert Segmenter.from_pretrained(tmp_path).crf == segmenter.crf


@pytest.mark.parametrize("bound", [None, 10_000])
def test_the_limit_of_the_crf_is_kept(tiny_model, tmp_path, bound):
    Segmenter(tiny_model, max_crf_pixels=bound).save_pretrained(tmp_path)
    assert Segmenter.from_pretrained(tmp_path).max_crf_pixels == bound
    values = json.loads((tmp_path / "config.json").read_text())
    del values["max_crf_pixels"]  # as written by versions without it
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert Segmenter.from_pretrained(tmp_path).max_crf_pixels == Segmenter(tiny_model).max_crf_pixels


@pytest.mark.parametrize("least", [None, 0, 55])
def test_the_smallest_region_is_kept(tiny_model, tmp_path, least):
    Segmenter(tiny_model, min_region=least).save_pretrained(tmp_path)
    assert Segmenter.from_pretrained(tmp_path).min_region == least
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"min_region": -1}))
    with pytest.raises(InputError, match="min_region"):
        Segmenter.from_pretrained(tmp_path)


def test_saving_over_itself_keeps_the_model(tiny_model, tmp_path, red_square):
    Segmenter(tiny_model).save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("my own words")
    bytes_before = (tmp_path / "model.onnx").read_bytes()
    Segmenter.from_pretrained(tmp_path, max_side=70).save_pretrained(tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == bytes_before
    assert Segmenter.from_pretrained(tmp_path).max_side == 70
    assert (tmp_path / "README.md").read_text() == "my own words"


def test_the_card_tells_classes_training_terms_and_scores(tiny_model, tmp_path, scores_file):
    segmenter = Segmenter(tiny_model)
    segmenter.engine.metadata = replace(segmenter.engine.metadata, notes="Drawn by hand.")
    segmenter.save_pretrained(tmp_path / "a", license="cc-by-4.0", scores=scores_file)
    card = hub.ModelCard.load(tmp_path / "a" / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "atrous"
    assert card.data.pipeline_tag == "image-segmentation"
    assert [r.metric_value for r in card.data.eval_results] == [0.5625, 0.613]
    assert card.data.eval_results[1].dataset_name == "voc12, 2 images of val"
    for words in ("0 background, 1 red, 2 blue", "`none`", "0" * 64, "Drawn by hand.", "| with CRF | 61.30 | 89.95 |"):
        assert words in card.text
    segmenter.save_pretrained(tmp_path / "b")
    plain = (tmp_path / "b" / "README.md").read_text()
    assert "No license was given" in plain
    assert "No scores were given" in plain
    assert "license:" not in plain


def test_pushing_uploads_what_saving_writes(offline, monkeypatch, tiny_model, scores_file):
    asked = {}

    def create_repo(self, repo_id, **options):
        asked["create"] = {"token": self.token, "repo_id": repo_id, **options}
        return type("Url", (), {"repo_id": repo_id})()

    def upload_folder(self, *, repo_id, folder_path, **options):
        files = {p.name: p.read_bytes() for p in folder_path.iterdir()}
        asked["upload"] = {"repo_id": repo_id, "files": files, **options}
        return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    url = Segmenter(tiny_model).push_to_hub(
        "me/tiny", license="mit", scores=scores_file, private=True, token="hf_secret", branch="dev"
    )
    assert url == "https://hub/me/tiny/commit/1"
    assert asked["create"] == {"token": "hf_secret", "repo_id": "me/tiny", "private": True, "exist_ok": True}
    assert asked["upload"]["revision"] == "dev"
    assert set(asked["upload"]["files"]) == {"README.md", "config.json", "model.onnx"}
    assert asked["upload"]["files"]["model.onnx"] == tiny_model.read_bytes()
    assert b"license: mit" in asked["upload"]["files"]["README.md"]
    assert not any(b"hf_secret" in text for text in asked["upload"]["files"].values())


def test_downloading_takes_the_named_file_only(offline, monkeypatch, tiny_model, tmp_path):
    import atrous.segmenter.hub as ours

    Segmenter(tiny_model, max_side=99).save_pretrained(tmp_path / "remote")
    asked = []

    def snapshot_download(repo_id, **options):
        asked.append((repo_id, options))
        return str(tmp_path / "remote")

    monkeypatch.setattr(ours, "snapshot_download", snapshot_download)
    segmenter = Segmenter.from_pretrained("me/tiny", revision="v1", token="t", cache_dir=tmp_path, threads=1)
    assert (segmenter.max_side, segmenter.threads) == (99, 1)
    assert [repo for repo, _ in asked] == ["me/tiny", "me/tiny"]
    assert [options["allow_patterns"] for _, options in asked] == [["config.json"], ["config.json", "model.onnx"]]
    assert asked[1][1]["revision"] == "v1"
    (tmp_path / "remote" / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"me/tiny: expected model\.onnx"):
        Segmenter.from_pretrained("me/tiny")


def test_an_unreachable_hub_is_one_line(monkeypatch, tiny_model, tmp_path):
    def unreachable(*_, **__):
        raise OSError("Network is\nunreachable")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    for call in (
        lambda: Segmenter.from_pretrained("me/tiny", cache_dir=tmp_path),
        lambda: Segmenter.from_pretrained("me/tiny", cache_dir=tmp_path, local_files_only=True),
        lambda: Segmenter.from_pretrained("not a name!", cache_dir=tmp_path),
        lambda: Segmenter(tiny_model).push_to_hub("not a name!"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_mistakes_are_told_without_the_network(offline, tiny_model, tmp_path, scores_file):
    for name in ("./nowhere", "/no/where", "a/b/c", str(tmp_path / "none")):
        with pytest.raises(InputError, match="no such folder"):
            Segmenter.from_pretrained(name)
    with pytest.raises(InputError, match="got a file"):
        Segmenter.from_pretrained(tiny_model)
    with pytest.raises(InputError, match="other kernels"):
        Segmenter(tiny_model, crf=[Spatial(weight=3, sxy=3)]).save_pretrained(tmp_path / "own")
    with pytest.raises(InputError, match="engine Mute"):
        Segmenter(Mute(Segmenter(tiny_model).engine.metadata)).save_pretrained(tmp_path / "mute")
    scores_file.write_text("{}")
    with pytest.raises(InputError, match="atrous evaluate --json"):
        Segmenter(tiny_model).save_pretrained(tmp_path / "scores", scores=scores_file)
    scores_file.write_text(json.dumps({**SCORES, "classes": ["sky", "sea", "sand"]}))
    with pytest.raises(InputError, match="3 other"):
        Segmenter(tiny_model).save_pretrained(tmp_path / "scores", scores=scores_file)
    assert not (tmp_path / "own").exists()
    assert not (tmp_path / "scores").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: FileExistsError|file: .*exists"):
        Segmenter(tiny_model).save_pretrained(tmp_path / "file")


class Mute:
    def __init__(self, metadata):
        self.metadata = metadata


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"library_name": "other"}, "library_name"),
        ({"file": "../model.onnx"}, "expected model.onnx or model.safetensors"),
        ({"crf": "sharp"}, "expected parameters, a preset"),
        ({"max_side": "big"}, "max_side.*expected 1 to"),
        ({"max_side": True}, "max_side.*expected 1 to"),
        ({"max_side": 10**9}, "max_side.*expected 1 to"),
        ({"max_crf_pixels": 0}, "max_crf_pixels"),
        ({"max_crf_pixels": "all"}, "max_crf_pixels"),
        ({"file": ["model.onnx"]}, "expected model.onnx or model.safetensors"),
        ({"crf": ["deeplab"]}, "expected parameters, a preset"),
        ({"crf": 3}, "expected parameters, a preset"),
        ({"metadata": {"format": 2}}, "metadata of format 1"),
        ({"metadata": None}, "expected an object"),
        ({"metadata": []}, "expected an object"),
    ],
)
def test_odd_settings_are_one_line(tiny_model, tmp_path, change, says):
    Segmenter(tiny_model).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=says) as caught:
        Segmenter.from_pretrained(tmp_path)
    assert "config.json" in str(caught.value)


def test_settings_of_another_model(tiny_model, tmp_path):
    Segmenter(tiny_model).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["metadata"]["classes"] = ["background", "blue", "red"]
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"config\.json: .*classes.*model\.onnx"):
        Segmenter.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"null", b"", b"1e999"])
def test_settings_that_are_none(tiny_model, tmp_path, content):
    Segmenter(tiny_model).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json: ") as caught:
        Segmenter.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_huggingface_hub_a_line_names_the_extra_and_folders_still_load(monkeypatch, tiny_model, tmp_path):
    Segmenter(tiny_model).save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "atrous.segmenter.hub", raising=False)
    with pytest.raises(MissingExtra, match="extra 'hub'"):
        Segmenter.from_pretrained("me/tiny")
    with pytest.raises(MissingExtra, match="extra 'hub'"):
        Segmenter(tiny_model).push_to_hub("me/tiny")
    assert Segmenter.from_pretrained(tmp_path).classes == ("background", "red", "blue")


def test_segmenting_does_not_import_the_hub():
    code = "import sys, atrous; atrous.Segmenter; import atrous.cli; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
