"""Which engine is taken."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from atrous import backends as choice
from atrous.backends import OnnxEngine, OpenVinoEngine, exported_engine
from atrous.errors import InputError, MissingExtra
from atrous.segmenter import Segmenter

installed = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is not installed: pip install 'atrous[openvino]'"
)


@pytest.fixture
def machine(monkeypatch):
    def pretend(name: str) -> None:
        monkeypatch.setattr(choice.platform, "machine", lambda: name)

    pretend("x86_64")
    return pretend


@pytest.fixture
def no_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)


def test_named_engines(tiny_model, machine):
    assert type(exported_engine(tiny_model, engine="onnxruntime")) is OnnxEngine
    with pytest.raises(InputError, match="engine='tflite': expected 'onnxruntime' or 'openvino'"):
        exported_engine(tiny_model, engine="tflite")


@installed
def test_openvino_where_it_is_installed(tiny_model, machine):
    assert type(exported_engine(tiny_model)) is OpenVinoEngine
    assert type(exported_engine(tiny_model, device="cpu")) is OpenVinoEngine
    machine("aarch64")
    assert type(exported_engine(tiny_model)) is OnnxEngine
    assert type(exported_engine(tiny_model, engine="openvino")) is OpenVinoEngine


def test_onnx_runtime_where_it_is_not(tiny_model, machine, no_openvino):
    assert type(exported_engine(tiny_model)) is OnnxEngine
    with pytest.raises(MissingExtra, match="extra 'openvino'") as caught:
        exported_engine(tiny_model, engine="openvino")
    assert "\n" not in str(caught.value)


def test_onnx_runtime_where_openvino_is_broken(tiny_model, machine, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert type(exported_engine(tiny_model)) is OnnxEngine


def test_onnx_runtime_for_what_openvino_cannot_load(tiny_model, machine, monkeypatch):
    def refuse(path, **_):
        raise InputError(f"{path}: not one that OpenVINO can load")

    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    monkeypatch.setattr(choice, "OpenVinoEngine", refuse)
    assert type(exported_engine(tiny_model)) is OnnxEngine
    with pytest.raises(InputError, match="OpenVINO can load"):
        exported_engine(tiny_model, engine="openvino")


def test_a_gpu_comes_first(tiny_model, machine, monkeypatch):
    import onnxruntime

    class OnGpu(OnnxEngine):
        def __init__(self, path, **options):
            super().__init__(path, threads=options.get("threads"), device="cpu")
            self.device = options.get("device") or "cuda"

    monkeypatch.setattr(choice, "OnnxEngine", OnGpu)
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert exported_engine(tiny_model).device == "cuda"
    assert exported_engine(tiny_model, device="cuda:1").device == "cuda:1"
    with pytest.raises(InputError, match="device"):
        exported_engine(tiny_model, device="cuda", engine="openvino")


@installed
def test_a_segmenter_passes_the_choice_on(tiny_model, tmp_path, red_square):
    labels = {}
    for name in ("onnxruntime", "openvino"):
        segmenter = Segmenter(tiny_model, engine=name)
        assert segmenter.engine.name == name
        labels[name] = segmenter(red_square).labels
    assert (labels["onnxruntime"] == labels["openvino"]).all()
    with pytest.raises(InputError, match="engine="):
        Segmenter(OnnxEngine(tiny_model), engine="openvino")


@installed
def test_a_saved_folder_on_either(tiny_model, tmp_path, tiny_metadata):
    pytest.importorskip("huggingface_hub", reason="pip install 'atrous[hub]'")
    crf = replace(tiny_metadata.crf, weight=7.0)
    Segmenter(tiny_model, engine="openvino", crf=crf).save_pretrained(tmp_path / "saved")
    for name in ("onnxruntime", "openvino"):
        segmenter = Segmenter.from_pretrained(tmp_path / "saved", engine=name)
        assert segmenter.engine.name == name
        assert segmenter.crf == crf


def test_a_checkpoint_is_run_by_pytorch(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    for name, says in {"openvino": "PyTorch runs", "tflite": "expected 'onnxruntime' or 'openvino'"}.items():
        with pytest.raises(InputError, match=says):
            Segmenter(tmp_path, engine=name)
