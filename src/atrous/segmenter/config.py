"""Model and settings of a segmenter in a folder."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .._defaults import MAX_CRF_PIXELS
from .._settings_files import read_json
from ..backends import ENGINES, Engine, ExportedEngine, bundled_model_path, exported_engine
from ..crf.kernels import Kernel
from ..crf.presets import PRESETS
from ..crf.reduced import check_bound
from ..data.metadata import CONFIG, CrfParameters, ModelMetadata
from ..errors import InputError

ONNX: Literal["model.onnx"] = "model.onnx"
WEIGHTS: Literal["model.safetensors"] = "model.safetensors"

# Limit on the network's input size in a settings file.
_LARGEST_SIDE = 65_535


@dataclass(frozen=True)
class SavedSettings:
    """Contents of `config.json`.

    Attributes
    ----------
    file : str
        Name of the model file in the folder.
    metadata : ModelMetadata
    crf : CrfParameters, a preset's name or None
    max_side : int
    min_region, max_crf_pixels : int or None
    """

    file: Literal["model.onnx", "model.safetensors"]
    metadata: ModelMetadata
    crf: CrfParameters | str | None
    max_side: int
    min_region: int | None = None
    max_crf_pixels: int | None = MAX_CRF_PIXELS

    @classmethod
    def of(
        cls,
        engine: Engine,
        crf: CrfParameters | tuple[Kernel, ...] | None,
        *,
        max_side: int,
        min_region: int | None,
        max_crf_pixels: int | None,
    ) -> "SavedSettings":
        """Return the settings of a segmenter; raise InputError if it cannot be saved."""
        saved_crf = _saved_crf(crf)
        metadata = engine.metadata
        if isinstance(saved_crf, CrfParameters):
            metadata = dataclasses.replace(metadata, crf=saved_crf)
        if isinstance(engine, ExportedEngine):
            return cls(ONNX, metadata, saved_crf, max_side, min_region, max_crf_pixels)
        if (net := getattr(engine, "net", None)) is not None:
            metadata = dataclasses.replace(metadata, variant=net.name)
            return cls(WEIGHTS, metadata, saved_crf, max_side, min_region, max_crf_pixels)
        raise InputError(f"engine {type(engine).__name__}: expected an engine of ONNX Runtime, OpenVINO or PyTorch")

    def to_json(self) -> str:
        """Return JSON for `read`."""
        crf = dataclasses.asdict(self.crf) if isinstance(self.crf, CrfParameters) else self.crf
        values = {
            "library_name": "atrous",
            "file": self.file,
            "crf": crf,
            "max_side": self.max_side,
            "min_region": self.min_region,
            "max_crf_pixels": self.max_crf_pixels,
            "metadata": json.loads(self.metadata.to_json()),
        }
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "SavedSettings | None":
        """Read the settings of a folder; return None if it has none.

        Raises
        ------
        InputError
            If the settings are invalid or of another library.
        """
        path = folder / CONFIG
        if not path.is_file():
            return None
        values = read_json(path, "settings of save_pretrained")
        if not isinstance(values, dict) or values.get("library_name") != "atrous":
            raise InputError(f"{path}: expected library_name 'atrous', as written by save_pretrained of atrous")
        file, crf, max_side = (values.get(key) for key in ("file", "crf", "max_side"))
        if file not in (ONNX, WEIGHTS):
            raise InputError(f"{path}: file: expected {ONNX} or {WEIGHTS}, got {file!r:.60}")
        metadata = ModelMetadata.from_values(values.get("metadata"), str(path))
        if isinstance(crf, dict):
            crf = metadata.crf
        elif crf is not None and not (isinstance(crf, str) and crf in PRESETS):
            raise InputError(
                f"{path}: crf: expected parameters, a preset ({', '.join(PRESETS)}) or null, got {crf!r:.60}"
            )
        if not isinstance(max_side, int) or isinstance(max_side, bool) or not 1 <= max_side <= _LARGEST_SIDE:
            raise InputError(f"{path}: max_side: expected 1 to {_LARGEST_SIDE} pixels, got {max_side!r:.60}")
        min_region, max_crf_pixels = values.get("min_region"), values.get("max_crf_pixels", MAX_CRF_PIXELS)
        if min_region is not None and not (type(min_region) is int and 0 <= min_region <= _LARGEST_SIDE**2):
            raise InputError(f"{path}: min_region: expected a number of pixels or null, got {min_region!r:.60}")
        try:
            check_bound("max_crf_pixels", max_crf_pixels)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        return cls(file, metadata, crf, max_side, min_region, max_crf_pixels)


def load_engine(
    model: str | os.PathLike[str] | Engine | None,
    *,
    threads: int | None = None,
    device: str | None = None,
    engine: str | None = None,
) -> Engine:
    """Return the engine of a model: an .onnx file, a folder, None for the bundled model, or an engine.

    Raises
    ------
    InputError
        If the model cannot be loaded, or the device or the engine is not available.
    MissingExtra
        If a required package is not installed.
    """
    if model is None:
        return exported_engine(bundled_model_path(), threads=threads, device=device, engine=engine)
    if not isinstance(model, (str, os.PathLike)):
        if device is not None:
            raise InputError(f"device={device!r}: expected None, as the given engine has a device")
        if engine is not None:
            raise InputError(f"engine={engine!r}: expected None, as the model is an engine")
        return model
    if Path(model).is_dir():
        return _folder_engine(Path(model), threads=threads, device=device, engine=engine)
    return exported_engine(model, threads=threads, device=device, engine=engine)


def _folder_engine(folder: Path, *, threads: int | None, device: str | None, engine: str | None) -> Engine:
    """Load the model of a folder: a training checkpoint, or the output of `save_pretrained`."""
    saved = SavedSettings.read(folder)
    if saved.file == ONNX if saved is not None else (folder / ONNX).is_file():
        exported = exported_engine(folder / ONNX, threads=threads, device=device, engine=engine)
        if saved is not None:
            if saved.metadata.classes != exported.metadata.classes:
                raise InputError(f"{folder / CONFIG}: expected the classes of {ONNX} beside it; save both again")
            # The CRF may have been tuned after the export.
            exported.metadata = dataclasses.replace(exported.metadata, crf=saved.metadata.crf)
        return exported
    if engine is not None:
        raise InputError(
            f"engine={engine!r}: expected None for {folder}, which PyTorch runs; atrous export makes an .onnx"
            " file of it"
            if engine in ENGINES
            else f"engine={engine!r}: expected {' or '.join(map(repr, ENGINES))}, or None"
        )
    from ..network.torch_backend import TorchEngine  # raises MissingExtra without PyTorch

    return TorchEngine.read(folder, threads=threads, device=device)


def _saved_crf(crf: CrfParameters | tuple[Kernel, ...] | None) -> CrfParameters | str | None:
    if crf is None or isinstance(crf, CrfParameters):
        return crf
    for name, kernels in PRESETS.items():
        if kernels is crf:
            return name
    raise InputError(
        "crf: expected a preset or CrfParameters, got other kernels, which cannot be saved; create the segmenter with"
        " crf='model' and pass the kernels to from_pretrained(..., crf=[...])"
    )
