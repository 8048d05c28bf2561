"""Any known file of weights to one of ours."""

import json
import os
from pathlib import Path

from safetensors.torch import save_file

from ..atomic import replacing
from ..errors import InputError
from .deeplab import DeepLab
from .engine import STATE, read_state
from .starting_points import Start, Subset, start
from .weights import HEADER_KEY


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None,
    *,
    variant: str | None = None,
    classes: int | None = None,
    multiscale: bool | None = None,
    seed: int = 0,
    subset: Subset = "random",
    overwrite: bool = False,
) -> Start:
    """Write all of a network, filled as a training run would fill it, as safetensors.

    Parameters
    ----------
    source : path
        As for `start`.
    out : path or None
        A name that ends in .safetensors; None only tells what would be in it.
    variant, classes, multiscale
        Of the network. Left out, those of a checkpoint folder, otherwise "deeplab-largefov" with 21 classes
        and one scale.
    seed, subset
        As for `start`.
    overwrite : bool
        Replace `out` if it is there.

    Returns
    -------
    Start
        What was filled, drawn and left aside.

    Raises
    ------
    InputError
        If `source` cannot be used or `out` cannot be written.
    """
    target = None if out is None else Path(out)
    if target is not None:
        _check_target(target, overwrite)
    recipe, names = {}, None
    if (Path(source) / STATE).is_file():
        state = read_state(Path(source))
        recipe, names = state["recipe"], state["classes"]
    net = _network(
        variant or recipe.get("variant", "deeplab-largefov"),
        classes or (21 if names is None else len(names)),
        bool(recipe.get("multiscale", False)) if multiscale is None else multiscale,
    )
    done = start(net, source, seed=seed, subset=subset)
    if target is not None:
        # One key alone: safetensors writes several in any order, and the same command should give the same file.
        origin = {"variant": net.variant.name, "source": done.format, "drawn": done.drawn}
        header = {HEADER_KEY: json.dumps(origin)}
        try:
            with replacing(target) as temporary:
                save_file({key: value.contiguous() for key, value in net.state_dict().items()}, temporary, header)
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror or error})") from None
    return done


def _check_target(target: Path, overwrite: bool) -> None:
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: expected a name that ends in .safetensors")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}; make it first")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: is there already; give another name or --overwrite")


def _network(variant: str, classes: int, multiscale: bool) -> DeepLab:
    try:
        return DeepLab(variant, classes=classes, multiscale=multiscale)
    except ValueError as error:
        raise InputError(str(error)) from None
