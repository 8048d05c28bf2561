"""The README.md of a saved model, whose head the Hugging Face hub reads."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from .._settings_files import LARGEST_SCORES, read_json
from ..data.metadata import CrfParameters, ModelMetadata
from ..errors import InputError
from .config import SavedSettings

# Of the method; the model may have been trained by anybody.
PAPER = "https://arxiv.org/abs/1412.7062"


def model_card(settings: SavedSettings, license: str | None, scores: str | os.PathLike[str] | None) -> str:
    """Return a model card in Markdown with a head in YAML.

    Parameters
    ----------
    settings : SavedSettings
    license : str, optional
        An identifier of the hub's; the card says that none is stated if left out.
    scores : path, optional
        The file by `atrous evaluate --json`; the card says that none are known if left out.

    Raises
    ------
    InputError
        If `scores` is no such file or of other classes.
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
        f"## Scores\n\n{_score_table(measured) if measured else 'None were given when this model was saved.'}",
        f"## Terms\n\n{f'License: {license}.' if license else 'No license was stated when this model was saved.'}"
        + (f" {metadata.notes}" if metadata.notes else ""),
    ]
    return "\n\n".join(parts) + "\n"


def _what(metadata: ModelMetadata) -> str:
    where = "at every pixel" if metadata.output_stride == 1 else f"on a grid of {metadata.output_stride} pixels"
    return f"scores {where} by a VGG-16 made dense by the hole algorithm"


def _crf(crf: CrfParameters | str | None) -> str:
    if crf is None:
        return "without a CRF"
    if isinstance(crf, str):
        return f"sharpened by a fully connected CRF with the parameters of {crf}"
    return (
        f"sharpened by a fully connected CRF (weight {crf.weight:g}, sxy {crf.sxy:g}, srgb {crf.srgb:g};"
        f" spatial {crf.spatial_weight:g}, {crf.spatial_sxy:g}; {crf.iterations} steps)"
    )


def _plain(name: str) -> str:
    """Keep a class' name from being read as Markdown."""
    return "".join("\\" + c if c in "\\`*_[]<>|#" else c for c in " ".join(name.split()))


def _read_scores(path: Path, metadata: ModelMetadata) -> dict[str, Any]:
    """Return the run, and mean IoU and pixel accuracy by labeling."""
    document = read_json(path, "scores by atrous evaluate --json", LARGEST_SCORES)
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
        raise InputError(f"{path}: expected scores written by atrous evaluate --json ({error!r:.100})") from None
    if tuple(classes) != metadata.classes:
        raise InputError(f"{path}: scores of {len(classes)} other classes; expected those of this model")
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
