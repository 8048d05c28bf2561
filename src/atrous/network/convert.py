"""Conversion of any known weight file to a file or folder of this package."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from .._io import replacing, replacing_folder
from ..data.metadata import VOC_CLASSES, ModelMetadata
from ..errors import InputError
from ._onnx_import import FIRST_BYTE, read_exported
from .deeplab import DeepLab
from .pretrained_init import Start, Subset, start
from .torch_backend import MODEL, STATE, read_state
from .variants import variant_of
from .weights import HEADER_KEY

SUFFIX = ".safetensors"


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None,
    *,
    variant: str | None = None,
    classes: int | None = None,
    class_names: Sequence[str] | None = None,
    multiscale: bool | None = None,
    seed: int = 0,
    subset: Subset = "random",
    overwrite: bool = False,
) -> Start:
    """Write a complete network, initialized like at the start of a training run.

    Parameters
    ----------
    source : path
        See `start`. From an exported network, its classes, palette, CRF parameters and training list are converted,
        too.
    out : path or None
        A name that ends in .safetensors: a file to start a training from. A name without a suffix: a checkpoint folder
        to segment, evaluate or export, if no layer is random. None: write nothing.
    variant, classes, multiscale
        Of the network. Default: those of a checkpoint folder, otherwise "deeplab-largefov" with 21 classes and one
        scale.
    class_names : sequence of str, optional
        Class names of a checkpoint folder, background first. Default: those of `source`, or VOC's for 21 classes.
    seed, subset
        See `start`.
    overwrite : bool
        Whether to replace an existing file at `out`; folders are never replaced.

    Returns
    -------
    Start
        Loaded, random and unused layers.

    Raises
    ------
    InputError
        If `source` cannot be used or `out` cannot be written.
    """
    target = None if out is None else Path(out)
    if target is not None:
        _check_target(target, overwrite)
    known = known_state(Path(source))
    recipe = known.get("recipe", {})
    names: Sequence[str] | None = class_names or known.get("classes")
    net = _network(
        variant or recipe.get("variant", "deeplab-largefov"),
        classes or (len(VOC_CLASSES) if names is None else len(names)),
        bool(recipe.get("multiscale", False)) if multiscale is None else multiscale,
    )
    if names is None and net.classes == len(VOC_CLASSES):
        names = VOC_CLASSES
    if class_names is not None and net.classes != len(class_names):
        raise InputError(f"class_names: expected {net.classes} names, one per class, got {len(class_names)}")
    done = start(net, source, seed=seed, subset=subset)
    if target is None:
        return done
    try:
        if target.suffix == SUFFIX:
            with replacing(target) as temporary:
                _save(net, temporary, done)
        else:
            _write_checkpoint(target, net, done, names, known, Path(source).name)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{target}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    return done


def _check_target(target: Path, overwrite: bool) -> None:
    if target.suffix not in (SUFFIX, ""):
        raise InputError(f"{target}: expected a name that ends in {SUFFIX}, or one without a suffix for a checkpoint")
    if not target.parent.is_dir():
        raise InputError(f"{target}: expected an existing folder {target.parent}; create it first")
    if target.exists() and (target.is_dir() or target.suffix != SUFFIX):
        raise InputError(f"{target}: exists; choose another name")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: exists; choose another name, or overwrite it")


def known_state(source: Path) -> dict[str, Any]:
    """Return the state of a checkpoint folder or of an exported network; empty for other files."""
    if (source / STATE).is_file():
        return read_state(source)
    if not source.is_file():
        return {}
    with source.open("rb") as file:
        if file.read(1) != FIRST_BYTE:
            return {}
    return _state_of_exported(read_exported(source)[1])


def _state_of_exported(metadata: ModelMetadata) -> dict[str, Any]:
    name, multiscale = variant_of(metadata.variant)
    return {
        "recipe": {"variant": name, "multiscale": multiscale},
        "classes": list(metadata.classes),
        "palette": list(metadata.palette),
        "crf": dataclasses.asdict(metadata.crf),
        "training_list": metadata.training_list,
        "training_list_sha256": metadata.training_list_sha256,
    }


def _network(variant: str, classes: int, multiscale: bool) -> DeepLab:
    try:
        return DeepLab(variant, classes=classes, multiscale=multiscale)
    except ValueError as error:
        raise InputError(str(error)) from None


def _save(net: DeepLab, path: Path, done: Start) -> None:
    # A single key: safetensors writes several keys in any order, but the same command should give the same file.
    origin = {"variant": net.variant.name, "source": done.format, "drawn": done.drawn}
    tensors = {key: value.contiguous() for key, value in net.state_dict().items()}
    save_file(tensors, path, {HEADER_KEY: json.dumps(origin)})


def _write_checkpoint(
    folder: Path, net: DeepLab, done: Start, names: Sequence[str] | None, known: dict[str, Any], source: str
) -> None:
    """Write a checkpoint folder atomically."""
    if done.drawn:
        raise InputError(
            f"{folder}: expected all layers of a checkpoint, but {', '.join(done.drawn[:3])} would be random (another"
            f" variant, or another number of classes?); write {folder}{SUFFIX} to train from"
        )
    if names is None or len(names) != net.classes:
        raise InputError(f"{folder}: expected the names of the {net.classes} classes of a checkpoint; pass class names")
    state: dict[str, Any] = {
        **{key: known[key] for key in ("palette", "crf") if key in known},
        "recipe": {"variant": net.variant.name, "multiscale": net.branches is not None},
        "classes": list(names),
        "training_list": known.get("training_list", f"unknown, converted from {source}"),
        "training_list_sha256": known.get("training_list_sha256", ""),
    }
    with replacing_folder(folder) as temporary:
        _save(net, temporary / MODEL, done)
        (temporary / STATE).write_text(json.dumps(state, indent=1))
