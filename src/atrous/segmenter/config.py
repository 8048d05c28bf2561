"""A segmenter as a folder, here or on the Hugging Face hub."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from .._settings_files import read_json
from ..backends import ENGINES, Engine, ExportedEngine, exported_engine
from ..crf.kernels import Kernel
from ..crf.presets import PRESETS
from ..data.metadata import CONFIG, CrfParameters, ModelMetadata
from ..errors import InputError

if TYPE_CHECKING:
    from .segmenter import Segmenter

ONNX: Literal["model.onnx"] = "model.onnx"
WEIGHTS: Literal["model.safetensors"] = "model.safetensors"

# Of the images that the network sees, in a file of settings.
_LARGEST_SIDE = 65_535


class Pretrained:
    """What a segmenter has of the hub; huggingface_hub (extra "hub") is imported when it is needed."""

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **options: Any,
    ) -> Self:
        """Load a segmenter from a folder or from the Hugging Face hub.

        Parameters
        ----------
        model : path or "organization/name"
            A folder that is here is read without a look at the network.
        revision : str, optional
            Branch, tag or commit on the hub.
        token, cache_dir, force_download, local_files_only
            As in huggingface_hub.
        **options
            Those of `Segmenter`; crf and max_side are the saved ones if left out.

        Raises
        ------
        InputError
            If there is no such model, or what is there is none.
        MissingExtra
            If the model is not here and huggingface_hub is not installed.

        Examples
        --------
        >>> segmenter = Segmenter.from_pretrained("organization/name", device="cuda")  # doctest: +SKIP
        """
        folder = Path(model)
        if not folder.is_dir():
            if folder.is_file():
                raise InputError(f"{folder}: is a file; Segmenter({os.fspath(model)!r}) reads it")
            if _is_path(os.fspath(model)):
                raise InputError(f"{folder}: no such folder; expected one by save_pretrained, or organization/name")
            from .hub import download

            folder = download(
                os.fspath(model),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        if (saved := SavedSettings.read(folder)) is not None:
            options = {"crf": saved.crf, "max_side": saved.max_side, **options}
        return cast(Any, cls)(folder, **options)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        license: str | None = None,
        scores: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the model, its settings and a model card.

        `model.onnx`, or the weights `model.safetensors` of a network in PyTorch; `config.json`; and, unless there is
        one already, `README.md`.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        license : str, optional
            For the card: an identifier of the hub's, such as "mit" or "cc-by-4.0".
        scores : path, optional
            For the card: the file by `atrous evaluate --json`.

        Raises
        ------
        InputError
            If the engine is of another kind, the CRF has kernels that are nobody's preset, or `scores` is no such file.
        MissingExtra
            If huggingface_hub is not installed.
        """
        from .hub import HubModel, in_one_line

        with in_one_line(os.fspath(folder)):
            HubModel(cast("Segmenter", self), license, scores).save_pretrained(Path(folder))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        scores: str | os.PathLike[str] | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload a segmenter of atrous",
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub; the repository is made if it is not there.

        Parameters
        ----------
        repo_id : str
            "organization/name".
        license, scores
            As in `save_pretrained`.
        private, token, commit_message, branch, create_pr
            As in huggingface_hub.

        Returns
        -------
        str
            The commit's address.

        Raises
        ------
        InputError
            As in `save_pretrained`, and if the hub cannot be reached or refuses.
        MissingExtra
            If huggingface_hub is not installed.
        """
        from .hub import HubModel, in_one_line

        with in_one_line(repo_id):
            url = HubModel(cast("Segmenter", self), license, scores).push_to_hub(
                repo_id, private=private, token=token, commit_message=commit_message, branch=branch, create_pr=create_pr
            )
        return str(url)


@dataclass(frozen=True)
class SavedSettings:
    """What `config.json` says.

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
    def of(cls, segmenter: "Segmenter") -> "SavedSettings":
        """Gather a segmenter's; InputError if it cannot be saved."""
        engine: Any = segmenter.engine
        metadata, crf = segmenter.engine.metadata, _saved_crf(segmenter.crf)
        if isinstance(crf, CrfParameters):
            metadata = dataclasses.replace(metadata, crf=crf)
        if isinstance(engine, ExportedEngine):
            return cls(ONNX, metadata, crf, segmenter.max_side)
        if hasattr(engine, "net"):
            metadata = dataclasses.replace(metadata, variant=engine.net.name)
            return cls(WEIGHTS, metadata, crf, segmenter.max_side)
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


def folder_engine(
    folder: Path, *, threads: int | None = None, device: str | None = None, engine: str | None = None
) -> Engine:
    """Read the model in a folder: a training checkpoint, or what `save_pretrained` wrote.

    Raises
    ------
    InputError
        If there is none, or an engine for exported models is asked for and it is none.
    MissingExtra
        If it needs PyTorch or OpenVINO, which is not installed.
    """
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


def _is_path(name: str) -> bool:
    """Tell what cannot be a name on the hub."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith(("/", ".onnx"))
