"""What the HTTP interface answers with."""

from pydantic import BaseModel, Field

from ..data.metadata import CrfParameters
from ..labelmap.overlay import overlay_jpeg
from ..labelmap.png import label_png
from ..segmenter import Segmentation
from . import run_lengths


class Failure(BaseModel):
    """Why there is no result."""

    error: str = Field(description="One line: what it concerns, what was expected, the remedy.")


class RunLengths(BaseModel):
    """A mask as COCO's uncompressed run lengths."""

    size: tuple[int, int] = Field(description="Height and width.")
    counts: list[int] = Field(
        description="Pixels down the columns, left one first: so many outside, then so many inside, and so on in turn."
    )


class FoundClass(BaseModel):
    """A class that occurs in the photo."""

    id: int = Field(description="Pixel value in the PNG.")
    name: str
    color: str = Field(description="In the PNG's palette, #rrggbb.")
    pixels: int
    share: float = Field(description="Of the photo's pixels, 0 to 1.")
    mask: RunLengths


class Crf(BaseModel):
    """The CRF's parameters that were used."""

    weight: float
    sxy: float
    srgb: float
    spatial_weight: float
    spatial_sxy: float
    iterations: int
    normalization: str


class Found(BaseModel):
    """A photo's segmentation."""

    width: int
    height: int
    model: str
    crf: Crf | None = Field(description="null if the CRF was left out.")
    classes: list[FoundClass] = Field(description="Those that occur, largest first.")
    seconds: float = Field(description="Computing time, without waiting.")


class Health(BaseModel):
    """How the server is."""

    status: str
    version: str
    model: str
    classes: list[str]
    running: int = Field(description="Requests that are computed.")
    waiting: int = Field(description="Requests that wait.")
    queue: int = Field(description="Requests that may wait.")
    max_megapixels: float
    max_megabytes: float


def found(result: Segmentation, model: str, crf: CrfParameters | None, seconds: float) -> Found:
    """Describe a segmentation, each class with its mask."""
    height, width = result.labels.shape
    classes = []
    for label, counts in run_lengths.encode(result.labels).items():
        pixels = sum(counts[1::2])
        classes.append(
            FoundClass(
                id=label,
                name=result.classes[label],
                color="#{:02x}{:02x}{:02x}".format(*result.palette[label]),
                pixels=pixels,
                share=round(pixels / (height * width), 6),
                mask=RunLengths(size=(height, width), counts=counts),
            )
        )
    classes.sort(key=lambda c: -c.pixels)
    used = None if crf is None else Crf(**vars(crf))
    return Found(width=width, height=height, model=model, crf=used, classes=classes, seconds=round(seconds, 3))


def png(result: Segmentation) -> bytes:
    """Return the labels as an index PNG."""
    return label_png(result.labels, result.palette)


def jpeg(result: Segmentation) -> bytes:
    """Return the regions drawn over the photo."""
    return overlay_jpeg(result.overlay())
