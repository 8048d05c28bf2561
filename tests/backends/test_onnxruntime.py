import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")

from atrous.backends import OnnxEngine
from atrous.backends.onnxruntime import CPU, CUDA, providers
from atrous.errors import InputError
from atrous.segmenter import Segmenter


@pytest.fixture
def with_cuda(monkeypatch):
    """A build of ONNX Runtime with CUDA, as far as its lists tell."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn.so"), raising=False)


def test_the_build_for_the_cpu(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU])
    assert providers(None) == providers("cpu") == [CPU]
    with pytest.raises(InputError, match="pip install onnxruntime-gpu") as caught:
        providers("cuda")
    assert "\n" not in str(caught.value)


def test_the_build_for_cuda_is_used_where_it_is_installed(with_cuda, capsys):
    assert providers("cpu") == [CPU]
    for device, index in ((None, 0), ("cuda", 0), ("cuda:1", 1)):
        (name, options), second = providers(device)
        assert (name, second) == (CUDA, CPU)
        assert options["device_id"] == index
        # an exhaustive search for each new size of a photo would take seconds
        assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CUDA", "", 0])
def test_what_is_no_device(device, tiny_model):
    with pytest.raises(InputError, match="expected 'cpu', 'cuda' or 'cuda:N'"):
        OnnxEngine(tiny_model, device=device)


def test_a_gpu_that_does_not_answer(with_cuda, tiny_model, capfd, monkeypatch):
    heard = []
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", heard.append)
    # ONNX Runtime here knows no such provider, as where the driver is missing: without a request the CPU takes over
    engine = OnnxEngine(tiny_model)
    assert engine.device == "cpu"
    assert engine.scores(np.zeros((9, 9, 3), np.uint8)).shape == (3, 2, 2)
    with pytest.raises(InputError, match="cannot start CUDA"):
        Segmenter(tiny_model, device="cuda")
    assert "EP Error" not in capfd.readouterr().out
    # The real one writes a screenful of warnings about the libraries that it misses, unless it is told not to.
    assert heard == [4, 2, 4, 2]


def test_a_gpu_that_answers(with_cuda, tiny_model, monkeypatch):
    asked = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, path, options, providers, **rest):
            asked.append(providers)
            super().__init__(path, options, providers=[CPU], **rest)

        def get_providers(self):
            return [CUDA, CPU]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    assert Segmenter(tiny_model).engine.device == "cuda"
    assert Segmenter(tiny_model, device="cuda:2").engine.device == "cuda:2"
    assert [p[0][0] for p in asked] == [CUDA, CUDA]
    assert asked[1][0][1]["device_id"] == 2


def test_an_engine_has_its_own_device(tiny_model):
    with pytest.raises(InputError, match="has a device"):
        Segmenter(OnnxEngine(tiny_model), device="cpu")
