"""JSON of the HTTP interface."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ..data import CrfParameters
from ..labelmap import run_lengths
from ..segmenter import Segmentation
from . import rle
from .config import CrfChoice


class Error(BaseModel):
    """Why there is no result."""

    error: str = Field(description="One line: what it concerns, what was expected, the remedy.")


class Mask(BaseModel):
    """A mask as COCO's uncompressed run lengths."""

    size: tuple[int, int] = Field(description="Height and width.")
    counts: list[int] = Field(
        description="Pixels down the columns, left one first: so many outside, then so many inside, in turn."
    )


class LabelMap(BaseModel):
    """A label map as run lengths along the rows, top row first."""

    size: tuple[int, int] = Field(description="Height and width.")
    labels: list[int] = Field(min_length=1, description="The label of each run, 0 to 255; 255 is unknown.")
    counts: list[int] = Field(min_length=1, description="The length of each run; they sum to height times width.")

    @classmethod
    def of(cls, labels: NDArray[np.uint8]) -> "LabelMap":
        """Return the runs of (H, W) labels."""
        values, lengths = rle.encode_labels(labels)
        return cls.model_construct(size=labels.shape, labels=values, counts=lengths)

    def array(self, name: str, max_pixels: int) -> NDArray[np.uint8]:
        """Return (H, W) labels; raises InputError with that name if these are no runs."""
        return rle.decode_labels(self.labels, self.counts, self.size, name, max_pixels)


class FoundClass(BaseModel):
    """A class that occurs in the image."""

    id: int = Field(description="Pixel value in the PNG.")
    name: str
    color: str = Field(description="In the PNG's palette, #rrggbb.")
    pixels: int
    share: float = Field(description="Of the image's pixels, 0 to 1.")
    mask: Mask


class Found(BaseModel):
    """An image's segmentation."""

    width: int
    height: int
    model: str
    crf: CrfParameters | None = Field(description="null without the CRF.")
    classes: list[FoundClass] = Field(description="Those that occur, largest first.")
    seconds: float = Field(description="Computing time, without waiting.")

    @classmethod
    def of(cls, result: Segmentation, model: str, parameters: CrfParameters | None, seconds: float) -> "Found":
        """Describe a segmentation, each class with its mask."""
        height, width = result.labels.shape
        classes = []
        for label in np.unique(result.labels).tolist():
            mask = Mask.model_validate(run_lengths(result.labels == label))
            pixels, color = sum(mask.counts[1::2]), hex_color(result.palette[label])
            share, name = round(pixels / (height * width), 6), result.classes[label]
            classes.append(FoundClass(id=label, name=name, color=color, pixels=pixels, share=share, mask=mask))
        classes.sort(key=lambda c: -c.pixels)
        return cls(width=width, height=height, model=model, crf=parameters, classes=classes, seconds=round(seconds, 3))


class Choice(CrfChoice):
    """Parameters of a request, in the query or in the form."""

    format: Literal["png", "json", "overlay", "cutout"] | None = Field(
        None,
        description="png: label ids (default); json: classes with run-length masks; overlay: a JPEG; cutout: the photo"
        " as a PNG, transparent outside of all objects.",
    )
    crf: bool | None = Field(None, description="false: without the CRF. Default: true.")
    confidence: float | None = Field(
        None, gt=0, lt=1, description="Probability of the labels of a mask (default 0.7) or of strokes (0.9)."
    )


class ClassName(BaseModel):
    """A class of a session."""

    name: str
    title: str = Field(description="The name as people write it: potted plant for pottedplant.")
    color: str = Field(description="In a mask's palette, #rrggbb.")
    overlay: str = Field(description="In overlays, #rrggbb.")


class NewSession(BaseModel):
    """A stored image, and its label map without the CRF."""

    id: str = Field(description="Random; whoever knows it can use the session.")
    width: int
    height: int
    model: str
    classes: list[ClassName] = Field(description="By id.")
    crf: CrfParameters = Field(description="The model's CRF parameters.")
    before: LabelMap
    expires: float = Field(description="Seconds without a request after which the session is deleted.")
    seconds: float = Field(description="Computing time, without waiting.")


class CrfRequest(CrfChoice):
    """A run of the CRF on a session's scores."""

    max_side: int | None = Field(
        None, ge=16, le=65_500, description="For a preview: pixels of its longer side, at least the network's."
    )
    strokes: LabelMap | None = Field(None, description="Labels drawn by hand, 255 elsewhere; of any size.")
    confidence: float = Field(0.9, gt=0, lt=1, description="Probability of the strokes' labels.")
    use_scores: bool = Field(True, description="false: the strokes are all that is known.")


class CrfResult(BaseModel):
    """A label map by the CRF."""

    after: LabelMap
    reduction: int = Field(
        description="Side of the blocks whose means the CRF used: above 1 for large or very noisy images."
    )
    seconds: float = Field(description="Computing time, without waiting.")


class Health(BaseModel):
    """State of the server."""

    status: str
    version: str
    model: str
    classes: list[str]
    titles: list[str] = Field(description="The classes' names as people write them.")
    presets: dict[str, CrfParameters] = Field(description="CRF parameters of the released models.")
    running: int = Field(description="Requests being computed.")
    waiting: int = Field(description="Requests that wait.")
    queue: int = Field(description="Requests that may wait.")
    sessions: int = Field(description="Stored sessions.")
    max_megapixels: float
    max_megabytes: float


def hex_color(color: tuple[int, int, int]) -> str:
    """Return a color as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*color)
