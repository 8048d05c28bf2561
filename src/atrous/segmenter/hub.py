"""Segmenters on the Hugging Face hub (extra "hub")."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from .._io import transaction
from .._quiet_imports import disable_telemetry
from .._settings_files import LARGEST_SCORES, read_json
from ..backends import Engine, ExportedEngine
from ..data.metadata import CONFIG, CrfParameters, ModelMetadata
from ..errors import InputError, MissingExtra
from .config import ONNX, WEIGHTS, SavedSettings

try:
    disable_telemetry("huggingface_hub")
    from huggingface_hub import EvalResult, HfApi, ModelCardData, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
except ImportError as error:
    raise MissingExtra.of(
        f"{error.name} is not installed, but saving for the hub and loading from it need it", "hub"
    ) from None


CARD = "README.md"

# Module names of huggingface_hub's HTTP library: httpx, or requests before version 1.
_HTTP_ERROR: Any = HfHubHTTPError.__bases__[0]


def save(
    folder: Path,
    engine: Engine,
    settings: SavedSettings,
    *,
    license: str | None = None,
    scores: str | os.PathLike[str] | None = None,
) -> None:
    """Write a model, its settings and, unless one exists, a model card, atomically.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    engine : Engine
    settings : SavedSettings
        Settings of a segmenter with this engine.
    license, scores
        See `model_card`.
    """
    # Read first, because the score file may be damaged.
    card = model_card(settings, license, scores)
    network: Any = engine
    target = folder / settings.file
    with _in_one_line(os.fspath(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        with transaction() as outputs:
            outputs.file(folder / CONFIG).write_text(settings.to_json(), encoding="utf-8")
            if not (folder / CARD).exists():
                outputs.file(folder / CARD).write_text(card, encoding="utf-8", newline="")
            if not isinstance(engine, ExportedEngine):
                from safetensors import SafetensorError
                from safetensors.torch import save_file

                tensors = {name: tensor.contiguous().cpu() for name, tensor in network.net.state_dict().items()}
                try:
                    save_file(tensors, outputs.file(target))
                except SafetensorError as error:
                    raise InputError(f"{target}: cannot be written ({error})") from None
            elif not (target.exists() and target.samefile(engine.path)):
                shutil.copyfile(engine.path, outputs.file(target))


def push(
    repo_id: str,
    engine: Engine,
    settings: SavedSettings,
    *,
    license: str | None = None,
    scores: str | os.PathLike[str] | None = None,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = "Upload a segmenter of atrous",
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Upload the output of `save` to a repository, which is created if necessary; return the commit's URL."""
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as temporary, _in_one_line(repo_id):
        folder = Path(temporary)
        save(folder, engine, settings, license=license, scores=scores)
        repo_id = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=commit_message,
            revision=branch,
            create_pr=create_pr,
        )
    return str(commit)


def download(repo_id: str, **options: Any) -> Path:
    """Download a model from the hub, or find it in the cache; raise InputError with one line on failure.

    Parameters
    ----------
    repo_id : str
    **options
        Arguments of huggingface_hub's `snapshot_download`: revision, token, cache_dir, force_download,
        local_files_only.

    Returns
    -------
    Path
        Folder with the model's files. Other files of the repository are not downloaded.
    """
    fetch: Any = partial(snapshot_download, repo_id, **options)
    with _in_one_line(repo_id):
        # A repository may contain weights and an exported model. The settings name one of them.
        saved = SavedSettings.read(Path(fetch(allow_patterns=[CONFIG])))
        files = [ONNX, WEIGHTS, "state.json"] if saved is None else [saved.file]
        folder = Path(fetch(allow_patterns=[CONFIG, *files]))
    if not any((folder / name).is_file() for name in files[:2]):
        raise InputError(f"{repo_id}: expected {' or '.join(files[:2])} of push_to_hub, found none")
    return folder


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    """Convert errors of the hub, the network and the disk to InputError."""
    try:
        yield
    except InputError:
        raise
    except (_HTTP_ERROR, HFValidationError, OSError, RuntimeError) as error:
        lines = str(error).strip().splitlines()
        raise InputError(f"{name}: {type(error).__name__}: {' '.join(lines)[:300]}") from None


# The paper of the method. The model itself may be from anyone.
PAPER = "https://arxiv.org/abs/1412.7062"


def model_card(settings: SavedSettings, license: str | None, scores: str | os.PathLike[str] | None) -> str:
    """Return a model card in Markdown with YAML metadata.

    Parameters
    ----------
    settings : SavedSettings
    license : str, optional
        License identifier of the hub. Default: the card states that none is given.
    scores : path, optional
        File of `atrous evaluate --json`. Default: the card states that there are no scores.

    Raises
    ------
    InputError
        If `scores` is not such a file or has other classes.
    """
    metadata = settings.metadata
    measured = None if scores is None else _read_scores(Path(scores), metadata)
    data = ModelCardData(
        license=license,
        library_name="atrous",
        pipeline_tag="image-segmentation",
        tags=["deeplab", "semantic-segmentation", "conditional-random-field", metadata.variant],
        model_name=metadata.variant,
        eval_results=None if measured is None else _results(measured),
    )
    parts = [
        f"---\n{data.to_yaml()}\n---\n\n# {metadata.variant}, {metadata.precision}",
        f"Semantic segmentation into {len(metadata.classes)} classes: {_what(metadata)}, after"
        f" [Chen et al. 2015]({PAPER}), {_crf(settings.crf)}.",
        '## Use\n\n```sh\npip install "atrous[hub]"\n```\n\n```python\nimport atrous\n\n'
        'segmenter = atrous.Segmenter.from_pretrained("organization/name")  # this model\'s name, or a folder\n'
        'segmenter("photo.jpg").save("segmentation")\n```',
        "## Classes\n\n" + ", ".join(f"{i} {_plain(name)}" for i, name in enumerate(metadata.classes)) + ".",
        f"## Training\n\nOn the list of images `{metadata.training_list}`, whose sorted names have the sha256"
        f" `{metadata.training_list_sha256}`.",
        f"## Scores\n\n{_score_table(measured) if measured else 'No scores were given when this model was saved.'}",
        f"## Terms\n\n{f'License: {license}.' if license else 'No license was given when this model was saved.'}"
        + (f" {metadata.notes}" if metadata.notes else ""),
    ]
    return "\n\n".join(parts) + "\n"


def _what(metadata: ModelMetadata) -> str:
    where = "at every pixel" if metadata.output_stride == 1 else f"on a grid of {metadata.output_stride} pixels"
    return f"scores {where} by a VGG-16 with the hole algorithm"


def _crf(crf: CrfParameters | str | None) -> str:
    if crf is None:
        return "without a CRF"
    if isinstance(crf, str):
        return f"refined by a fully connected CRF with the parameters of {crf}"
    return (
        f"refined by a fully connected CRF (weight {crf.weight:g}, sxy {crf.sxy:g}, srgb {crf.srgb:g};"
        f" spatial {crf.spatial_weight:g}, {crf.spatial_sxy:g}; {crf.iterations} steps)"
    )


def _plain(name: str) -> str:
    """Escape a class name for Markdown."""
    return "".join("\\" + c if c in "\\`*_[]<>|#" else c for c in " ".join(name.split()))


def _read_scores(path: Path, metadata: ModelMetadata) -> dict[str, Any]:
    """Return the run's description, and mean IoU and pixel accuracy by labeling."""
    document = read_json(path, "scores of atrous evaluate --json", LARGEST_SCORES)
    try:
        classes, run = document["classes"], document["run"]
        found = {
            "data": Path(run["data"]).name,
            "list": str(run["listed"]),
            "images": int(document["images"]),
            "scores": {
                name: (float(values["mean IoU"]), float(values["pixel accuracy"]))
                for name, values in document["labelings"].items()
            },
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: expected scores of atrous evaluate --json ({error!r:.100})") from None
    if tuple(classes) != metadata.classes:
        raise InputError(f"{path}: expected scores of this model's classes, got {len(classes)} other ones")
    return found


def _results(measured: dict[str, Any]) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=measured["data"],
            dataset_name=f"{measured['data']}, {measured['images']} images of {measured['list']}",
            dataset_split=measured["list"],
            metric_type="mean_iou",
            metric_name=f"mean IoU, {labeling}",
            metric_value=round(iou, 4),
        )
        for labeling, (iou, _) in measured["scores"].items()
    ]


def _score_table(measured: dict[str, Any]) -> str:
    rows = "".join(
        f"| {name} | {100 * iou:.2f} | {100 * accuracy:.2f} |\n" for name, (iou, accuracy) in measured["scores"].items()
    )
    return (
        f"On {measured['images']} images of {measured['list']} ({measured['data']}), in percent.\n\n"
        f"| | mean IoU | pixel accuracy |\n|---|---|---|\n{rows}"
    ).rstrip()
