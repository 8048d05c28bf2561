"""Whether a model was trained on what it is scored on."""

from pathlib import Path

from ..data.metadata import ModelMetadata
from ..data.samples import ImageList

# The names of the training images, one a line, that training leaves in a checkpoint's folder.
TRAINING_LIST = "training-list.txt"


def overlap_warning(metadata: ModelMetadata, model: Path | None, samples: ImageList) -> str | None:
    """Return a sentence if a model has, or may have, seen images that it is to be scored on.

    Parameters
    ----------
    metadata : ModelMetadata
    model : Path or None
        A checkpoint's folder holds the names themselves; of an exported model only the list's name and hash are known.
    samples : ImageList
        The whole list, before any are left out.
    """
    names = model / TRAINING_LIST if model is not None else None
    if names is not None and names.is_file():
        seen = set(names.read_bytes().decode("utf-8", "surrogateescape").split("\n"))
        count = sum(sample.name in seen for sample in samples.samples)
        return f"{count} of {samples.name}'s {len(samples)} images are among those trained on" if count else None
    if metadata.training_list_sha256 == samples.sha256:
        return f"the model was trained on the very images of {samples.name}"
    if metadata.training_list == samples.name:
        return f"the model was trained on a list of the same name, {samples.name}; it may have seen these images"
    return None
