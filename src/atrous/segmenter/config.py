"""A segmenter's model and settings in a folder."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .._settings_files import read_json
from ..backends import ENGINES, Engine, ExportedEngine, bundled_model_path, exported_engine
from ..crf.kernels import Kernel
from ..crf.presets import PRESETS
from ..data.metadata import CONFIG, CrfParameters, ModelMetadata
from ..errors import InputError

ONNX: Literal["model.onnx"] = "model.onnx"
WEIGHTS: Literal["model.safetensors"] = "model.safetensors"

# Of the images that the network sees, in a file of settings.
_LARGEST_SIDE = 65_535


@dataclass(frozen=True)
class SavedSettings:
    """The contents of `config.json`.

    Attributes
    ----------
    file : str
        The model's, beside it.
    metadata : ModelMetadata
    crf : CrfParameters, a preset's name or None
    max_side : int
    """

    file: Literal["model.onnx", "model.safetensors"]
    metadata: ModelMetadata
    crf: CrfParameters | str | None
    max_side: int

    @classmethod
    def of(cls, engine: Engine, crf: CrfParameters | tuple[Kernel, ...] | None, max_side: int) -> "SavedSettings":
        """Gather the settings of a segmenter; InputError if it cannot be saved."""
        saved_crf = _saved_crf(crf)
        metadata = engine.metadata
        if isinstance(saved_crf, CrfParameters):
            metadata = dataclasses.replace(metadata, crf=saved_crf)
        if isinstance(engine, ExportedEngine):
            return cls(ONNX, metadata, saved_crf, max_side)
        if (net := getattr(engine, "net", None)) is not None:
            return cls(WEIGHTS, dataclasses.replace(metadata, variant=net.name), saved_crf, max_side)
        raise InputError(f"engine {type(engine).__name__}: expected one of ONNX Runtime, OpenVINO or PyTorch to save")

    def to_json(self) -> str:
        """Return the text that `read` reads."""
        crf = dataclasses.asdict(self.crf) if isinstance(self.crf, CrfParameters) else self.crf
        values = {
            "library_name": "atrous",
            "file": self.file,
            "crf": crf,
            "max_side": self.max_side,
            "metadata": json.loads(self.metadata.to_json()),
        }
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "SavedSettings | None":
        """Read a folder's; None if it has none.

        Raises
        ------
        InputError
            If they cannot be right, or are another library's.
        """
        path = folder / CONFIG
        if not path.is_file():
            return None
        values = read_json(path, "settings by save_pretrained of atrous")
        if not isinstance(values, dict) or values.get("library_name") != "atrous":
            raise InputError(f"{path}: not written by save_pretrained of atrous; expected library_name 'atrous' in it")
        file, crf, max_side = (values.get(key) for key in ("file", "crf", "max_side"))
        if file not in (ONNX, WEIGHTS):
            raise InputError(f"{path}: file {file!r:.60}; expected {ONNX} or {WEIGHTS}")
        metadata = ModelMetadata.from_values(values.get("metadata"), str(path))
        if isinstance(crf, dict):
            crf = metadata.crf
        elif crf is not None and not (isinstance(crf, str) and crf in PRESETS):
            raise InputError(f"{path}: crf {crf!r:.60}; expected parameters, a preset ({', '.join(PRESETS)}) or null")
        if not isinstance(max_side, int) or isinstance(max_side, bool) or not 1 <= max_side <= _LARGEST_SIDE:
            raise InputError(f"{path}: max_side {max_side!r:.60}; expected 1 to {_LARGEST_SIDE} pixels")
        return cls(file, metadata, crf, max_side)


def load_engine(
    model: str | os.PathLike[str] | Engine | None,
    *,
    threads: int | None = None,
    device: str | None = None,
    engine: str | None = None,
) -> Engine:
    """Return the engine of a model: an .onnx file, a folder, the bundled model for None, or an engine itself.

    Raises
    ------
    InputError
        If the model cannot be loaded, or the device or the engine cannot be used.
    MissingExtra
        If it needs a package that is not installed.
    """
    if model is None:
        return exported_engine(bundled_model_path(), threads=threads, device=device, engine=engine)
    if not isinstance(model, (str, os.PathLike)):
        if device is not None:
            raise InputError(f"device={device!r}: the engine that was given has its own; leave it out")
        if engine is not None:
            raise InputError(f"engine={engine!r}: the model that was given is an engine; leave it out")
        return model
    if Path(model).is_dir():
        return _folder_engine(Path(model), threads=threads, device=device, engine=engine)
    return exported_engine(model, threads=threads, device=device, engine=engine)


def _folder_engine(folder: Path, *, threads: int | None, device: str | None, engine: str | None) -> Engine:
    """Read the model in a folder: a training checkpoint, or what `save_pretrained` wrote."""
    saved = SavedSettings.read(folder)
    if saved.file == ONNX if saved is not None else (folder / ONNX).is_file():
        exported = exported_engine(folder / ONNX, threads=threads, device=device, engine=engine)
        if saved is not None:
            if saved.metadata.classes != exported.metadata.classes:
                raise InputError(f"{folder / CONFIG}: its classes are not those of {ONNX} beside it; save both again")
            # The CRF may have been tuned since the file was exported.
            exported.metadata = dataclasses.replace(exported.metadata, crf=saved.metadata.crf)
        return exported
    if engine is not None:
        raise InputError(
            f"engine={engine!r}: {folder} is run by PyTorch; make an .onnx file of it (atrous export),"
            " or leave the engine out"
            if engine in ENGINES
            else f"engine={engine!r}: expected {' or '.join(map(repr, ENGINES))}, or None"
        )
    from ..network.torch_backend import TorchEngine  # without PyTorch: MissingExtra

    return TorchEngine.read(folder, threads=threads, device=device)


def _saved_crf(crf: CrfParameters | tuple[Kernel, ...] | None) -> CrfParameters | str | None:
    if crf is None or isinstance(crf, CrfParameters):
        return crf
    for name, kernels in PRESETS.items():
        if kernels is crf:
            return name
    raise InputError(
        "crf: kernels of your own cannot be saved; make the segmenter with crf='model' and give them to"
        " from_pretrained(..., crf=[...]) again"
    )
