"""What happens behind the page when somebody drops a photo or moves a slider."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..crf import Bilateral, Spatial
from ..crf.presets import resolve
from ..data.metadata import CrfParameters
from ..segmenter import Segmentation
from .pictures import read_picture
from .refused import Refused, refusing
from .results import Shown, show
from .settings import CrfChoice, ServerSettings
from .studio import Kept, KeptPhotos, Studio
from .work import WorkQueue

T = TypeVar("T")
File: TypeAlias = dict[str, Any] | None  # as the browser names an upload
OWN = "this model's"
NAMES = ("weight", "sxy", "srgb", "spatial_weight", "spatial_sxy", "iterations")
EXAMPLES = ("astronaut.jpg", "photographer.jpg", "cat.jpg")
ROUGH_PHOTO, ROUGH_MASK = "astronaut.jpg", "astronaut-rough.png"


class Desk:
    """The page's actions; each returns what its components show then.

    Parameters
    ----------
    studio : Studio
    work : WorkQueue
    settings : ServerSettings
    folder : Path
        For results; holds `examples`.
    """

    def __init__(self, studio: Studio, work: WorkQueue, settings: ServerSettings, folder: Path) -> None:
        self.studio = studio
        self.work = work
        self.settings = settings
        self.folder = folder
        self.kept = KeptPhotos(int(settings.kept_megabytes * 1e6))

    async def segment(self, request: gr.Request, photo: File, *values: float) -> list[Any]:
        """Segment a new photo, or only run the CRF again if its scores are still there."""
        if photo is None:
            return hidden()
        path, name = _file(photo)
        key = str(request.session_hash)
        parameters = self.parameters(values)

        def compute() -> Shown:
            begun = time.perf_counter()
            kept = self.kept.get(key)
            again = kept is not None and kept.source == path
            with refusing(path, name):
                if kept is not None and again:
                    result = self.studio.sharpen(kept, parameters)
                else:
                    result = self.studio.segment(read_picture(path, name, self.settings.max_pixels), parameters)
                    assert result.network is not None
                    self.kept.put(key, Kept(result.image, result.network, path))
                before = result.dcnn_labels
                assert before is not None
            return self._show(result, before, name, begun, "CRF alone" if again else "network and CRF")

        return _components(await self._computed(compute))

    async def example(self, request: gr.Request, index: int, *values: float) -> list[Any]:
        """Segment an example photo."""
        path = self.folder / "examples" / EXAMPLES[int(index) % len(EXAMPLES)]
        photo = {"path": str(path), "orig_name": path.name}
        return [str(path), *await self.segment(request, photo, *values)]

    async def edit(self, photo: File, given: File, confidence: float, *values: float) -> list[Any]:
        """Sharpen an uploaded mask or probabilities."""
        if photo is None or given is None:
            return hidden()
        path, name = _file(photo)
        given_path, given_name = _file(given)
        parameters = self.parameters(values)
        sure = float(confidence)

        def compute() -> Shown:
            begun = time.perf_counter()
            image = read_picture(path, name, self.settings.max_pixels)
            before, result = self.studio.refine(
                image, given_path, given_name, sure, parameters, self.settings.max_pixels
            )
            return self._show(result, before, name, begun, "CRF alone")

        return _components(await self._computed(compute))

    async def edit_example(self, confidence: float, *values: float) -> list[Any]:
        """Sharpen the example's rough mask."""
        photo, mask = (str(self.folder / "examples" / name) for name in (ROUGH_PHOTO, ROUGH_MASK))
        result = await self.edit({"path": photo}, {"path": mask}, confidence, *values)
        return [photo, mask, *result]

    def preset(self, name: str) -> list[float]:
        """Return a preset's values in the sliders' order."""
        parameters = self.studio.parameters
        if name != OWN:
            with _telling(), refusing():
                spatial, bilateral = resolve(str(name))
            assert isinstance(spatial, Spatial)
            assert isinstance(bilateral, Bilateral)
            parameters = CrfParameters(
                weight=bilateral.weight,
                sxy=float(np.max(bilateral.sxy)),
                srgb=float(np.max(bilateral.srgb)),
                spatial_weight=spatial.weight,
                spatial_sxy=float(np.max(spatial.sxy)),
            )
        return [getattr(parameters, each) for each in NAMES]

    def parameters(self, values: Sequence[float]) -> CrfParameters:
        """Return the sliders' values as parameters, checked."""
        try:
            choice = CrfChoice.model_validate(dict(zip(NAMES, values, strict=True)))
        except (ValidationError, ValueError):
            raise gr.Error("A parameter of the CRF is out of its range.", print_exception=False) from None
        return choice.parameters(self.studio.parameters)

    def leave(self, request: gr.Request) -> None:
        """Forget the photo of somebody whose page is closed."""
        self.kept.forget(str(request.session_hash))

    def _show(self, result: Segmentation, before: NDArray[np.uint8], name: str, begun: float, what: str) -> Shown:
        seconds = time.perf_counter() - begun
        height, width = result.labels.shape
        note = f"{width} by {height} pixels; {what}: {seconds:.2f} s"
        return show(result, before, name, self.folder / "results", note)

    async def _computed(self, compute: Callable[[], T]) -> T:
        with _telling():
            return await self.work.run(compute)


@contextmanager
def _telling() -> Iterator[None]:
    """Show a refusal as a message on the page."""
    try:
        yield
    except Refused as error:
        title = "Busy" if error.status == 429 else "This does not work"
        raise gr.Error(escape(error.message), title=title, duration=12, print_exception=False) from None


def hidden() -> list[Any]:
    """No result yet: the hint instead."""
    return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.update(visible=False), gr.update(visible=True)]


def _components(shown: Shown) -> list[Any]:
    return [
        (str(shown.before), str(shown.after)),
        shown.legend,
        str(shown.mask),
        str(shown.overlay),
        gr.update(visible=True),
        gr.update(visible=False),
    ]


def _file(given: dict[str, Any]) -> tuple[Path, str]:
    path = Path(str(given["path"]))
    return path, str(given.get("orig_name") or path.name)[:200]


def defaults(parameters: CrfParameters) -> dict[str, float]:
    """Return the sliders' values for a model's parameters."""
    return {name: value for name, value in dataclasses.asdict(parameters).items() if name in NAMES}
