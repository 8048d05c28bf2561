"""The ONNX Runtime engine."""

import os
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.crops import network_input
from ..data.metadata import METADATA_KEY, ModelMetadata
from ..errors import InputError
from .providers import CPU, CUDA, providers

BUNDLED = "deeplab-largefov-voc12.onnx"


class Engine(Protocol):
    """What the segmenter asks of a network."""

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, palette, CRF parameters."""

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to (C, h, w) scores of the image padded to 32 k - 31 a side.

        Cell (i, j) lies on the pixel `metadata.output_stride` times (i, j).
        """


def bundled_model_path() -> Path:
    """Return the path of the model that ships with the package.

    Raises
    ------
    InputError
        If this build of the package holds none.
    """
    path = Path(str(resources.files("atrous") / "models" / BUNDLED))
    if not path.is_file():
        raise InputError(f"{path}: this build of atrous ships no model; give one (--model MODEL.onnx)")
    return path


class OnnxEngine:
    """Runs a model exported by `atrous export`.

    Parameters
    ----------
    path : path
        An ONNX file with atrous' metadata.
    threads : int, optional
        Threads of one forward pass; all cores if left out.
    device : str, optional
        "cpu", "cuda" or "cuda:N". If left out, CUDA where the installed ONNX Runtime has it and a GPU answers,
        else the CPU.

    Attributes
    ----------
    path : Path
    metadata : ModelMetadata
    device : str
        "cpu", "cuda" or "cuda:N".

    Raises
    ------
    InputError
        If there is no such file, it is no ONNX model, or not one of ours; if the device cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()  # which some of its builds send

        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; expected an ONNX model made by atrous export")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads if threads is not None else _processors()
        # Between two photos its threads would spin on the cores that the CRF wants.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        wanted = providers(device)
        try:
            try:
                self._session = onnxruntime.InferenceSession(
                    os.fspath(self.path), options, providers=wanted, enable_fallback=0
                )
            except Exception:
                # Without a word, unlike ONNX Runtime's own way back to the CPU.
                if wanted == [CPU]:
                    raise
                self._session = onnxruntime.InferenceSession(os.fspath(self.path), options, providers=[CPU])
        except Exception as error:  # ONNX Runtime has no public base class for its errors
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(f"{self.path}: not a model that ONNX Runtime can load ({reason})") from None
        on_gpu = CUDA in self._session.get_providers()
        if device is not None and device != "cpu" and not on_gpu:
            raise InputError(
                f"device={device!r}: ONNX Runtime cannot start CUDA (no such GPU, or its driver, CUDA or cuDNN is"
                " missing); see nvidia-smi, or use the device 'cpu'"
            )
        self.device = (device or "cuda") if on_gpu else "cpu"
        faces = ([i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()])
        if faces != (["image"], ["scores"]):
            raise InputError(
                f"{self.path}: an ONNX model from {faces[0]} to {faces[1]}; expected one made by atrous export,"
                " from 'image' to 'scores'"
            )
        stored = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in stored:
            raise InputError(f"{self.path}: an ONNX model without atrous' metadata; make it with atrous export")
        self.metadata = ModelMetadata.from_json(stored[METADATA_KEY], str(self.path))

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the scores of one photo.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.

        Returns
        -------
        (C, h, w) float32
            Of the photo padded at the bottom and right to 32 k - 31 a side, on the grid of
            `metadata.output_stride`: 8 pixels, or 1 with multi-scale prediction.
        """
        blob = network_input(image, self.metadata.mean, self.metadata.colour_order)
        (scores,) = self._session.run(["scores"], {"image": blob[None]})
        return scores[0]


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
