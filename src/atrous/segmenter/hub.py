"""Segmenters on the Hugging Face hub (extra "hub")."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._io import transaction
from .._quiet_imports import disable_telemetry
from ..backends import ExportedEngine
from ..data.metadata import CONFIG
from ..errors import InputError, MissingExtra
from .config import ONNX, WEIGHTS, SavedSettings

try:
    disable_telemetry("huggingface_hub")
    from huggingface_hub import ModelHubMixin, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
except ImportError as error:
    raise MissingExtra(
        f"{error.name} is not installed: saving for the hub and loading from it need the extra,"
        " pip install 'atrous[hub]'"
    ) from None

from .model_card import model_card

CARD = "README.md"

# Of the library beneath huggingface_hub: httpx, before version 1 requests.
_HTTP_ERROR: Any = HfHubHTTPError.__bases__[0]

if TYPE_CHECKING:
    from .segmenter import Segmenter


class HubModel(ModelHubMixin, library_name="atrous"):
    """A segmenter in the shape that huggingface_hub saves and uploads.

    Parameters
    ----------
    segmenter : Segmenter
    license : str, optional
        For the model card.
    scores : path, optional
        For the model card: the file by `atrous evaluate --json`.
    """

    def __init__(self, segmenter: "Segmenter", license: str | None, scores: str | os.PathLike[str] | None) -> None:
        self.segmenter = segmenter
        self.settings = SavedSettings.of(segmenter)
        # Before anything is written: the scores' file may be damaged.
        self.card = model_card(self.settings, license, scores)

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:
        """Write model, settings and, where there is none, the card: all of them or none."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        engine: Any = self.segmenter.engine
        target = folder / self.settings.file
        with transaction() as outputs:
            outputs.file(folder / CONFIG).write_text(self.settings.to_json(), encoding="utf-8")
            if not (folder / CARD).exists():
                outputs.file(folder / CARD).write_text(self.card, encoding="utf-8", newline="")
            if not isinstance(engine, ExportedEngine):
                from safetensors import SafetensorError
                from safetensors.torch import save_file

                tensors = {name: tensor.contiguous().cpu() for name, tensor in engine.net.state_dict().items()}
                try:
                    save_file(tensors, outputs.file(target))
                except SafetensorError as error:
                    raise InputError(f"{target}: cannot be written ({error})") from None
            elif not (target.exists() and target.samefile(engine.path)):
                shutil.copyfile(engine.path, outputs.file(target))


def download(repo_id: str, **options: Any) -> Path:
    """Fetch a model from the hub, or find it in the cache; InputError in one line where that fails.

    Parameters
    ----------
    repo_id : str
    **options
        Of huggingface_hub's `snapshot_download`: revision, token, cache_dir, force_download, local_files_only.

    Returns
    -------
    Path
        A folder with its files: nothing else of the repository is fetched.
    """
    fetch: Any = partial(snapshot_download, repo_id, **options)
    with in_one_line(repo_id):
        # A repository may hold weights and an exported model; the settings name one.
        saved = SavedSettings.read(Path(fetch(allow_patterns=[CONFIG])))
        files = [ONNX, WEIGHTS, "state.json"] if saved is None else [saved.file]
        folder = Path(fetch(allow_patterns=[CONFIG, *files]))
    if not any((folder / name).is_file() for name in files[:2]):
        raise InputError(f"{repo_id}: holds no {' or '.join(files[:2])}; expected a model by push_to_hub of atrous")
    return folder


@contextmanager
def in_one_line(name: str) -> Iterator[None]:
    """Turn what the hub, the network and the disk raise into InputError."""
    try:
        yield
    except InputError:
        raise
    except (_HTTP_ERROR, HFValidationError, OSError, RuntimeError) as error:
        lines = str(error).strip().splitlines()
        raise InputError(f"{name}: {type(error).__name__}: {' '.join(lines)[:300]}") from None
