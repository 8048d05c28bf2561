"""`atrous bulk`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MissingExtra
from .terminal import say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from ..bulk.driver import Progress

SECONDS_BETWEEN_LINES = 30  # of progress, where there is no terminal for a bar


def bulk(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Folder of photos, of parquet files or of WebDataset tars; a .txt list of paths or URLs (- for stdin);"
            " a quoted pattern; or one such file. Local, or any fsspec URL.",
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder for masks and tables; a path or fsspec URL.")],
    to: Annotated[str, typer.Option(help="png: a file for each mask; parquet; or tar: WebDataset.")] = "png",
    ray_address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="Of a Ray cluster: auto, host:port. Left out: this machine alone."),
    ] = None,
    actors: Annotated[int | None, typer.Option(help="At most so many; default: as many as fit.")] = None,
    cpus: Annotated[int, typer.Option(help="CPUs, and threads, of an actor.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs of an actor; 0.5 puts two on one.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="Exported .onnx or checkpoint folder instead of the bundled model.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="What runs an exported model: onnxruntime or openvino. Default: the quicker one there is."),
    ] = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Sharpen with the fully connected CRF.")] = True,
    max_side: Annotated[int, typer.Option(help="Scale larger photos down to this for the network.")] = 513,
    kind: Annotated[str | None, typer.Option(help="photos, parquet or tars, where INPUT holds several.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Of parquet: the column of encoded photos; of tars: the suffix of photos.")
    ] = None,
    key_column: Annotated[
        str | None, typer.Option(help="Of parquet: the column that names the masks; default: file and row.")
    ] = None,
    part: Annotated[
        int | None, typer.Option(help="Photos handed out, and written to a parquet or tar file, at a time.")
    ] = None,
    retry_errors: Annotated[bool, typer.Option(help="Try photos again that failed in an earlier run.")] = False,
) -> None:
    """Segment very many photos with Ray Data, here or on a cluster; run again, it does what is missing."""
    try:
        from ..bulk.config import Settings
        from ..bulk.driver import run
        from ..bulk.ray_cluster import Actors
    except ImportError as error:
        name = (error.name or "ray").split(".")[0]
        raise MissingExtra(
            f"{name} is not installed: atrous bulk needs the extra, pip install 'atrous[bulk]'"
        ) from None
    settings = Settings(
        output=to,  # type: ignore[arg-type]
        model=model,
        engine=engine,
        crf=crf,
        max_side=max_side,
        kind=kind,  # type: ignore[arg-type]
        column=column,
        key_column=key_column,
        part=part,
        retry_errors=retry_errors,
    )
    with _Follower() as follower:
        try:
            summary = run(source, out, settings, Actors(actors, cpus, gpus), address=ray_address, progress=follower)
        except KeyboardInterrupt:
            follower.close()
            say(f"error: interrupted after {follower.said}; what is written is whole, run again for the rest", err=True)
            raise typer.Exit(130) from None
    again = f", {summary.again} parts begun again" if summary.again else ""
    rate = f"; {summary.rate:.2f} photos/s" if summary.done else ""
    say(f"{out}: {summary.done} done, {summary.skipped} done before, {summary.failed} failed{again}{rate}")
    if summary.failed:
        say(f"error: {summary.failed} photos failed; see {summary.errors}", err=True)
        raise typer.Exit(2)


class _Follower:
    """Shows progress: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        from rich.console import Console

        self.said = "0 photos"
        self._console = Console(stderr=True)
        self._bar: Bar | None = None
        self._last = time.monotonic()

    def __enter__(self) -> "_Follower":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __call__(self, progress: "Progress") -> None:
        self.said = f"{progress.done} of {progress.total} photos"
        if self._console.is_terminal:
            self._draw(progress)
        elif time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            rate = progress.done / progress.seconds if progress.seconds else 0.0
            say(f"{self.said}, {progress.failed} failed, {rate:.2f} photos/s", err=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, progress: "Progress") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        if self._bar is None:
            columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("segmenting", total=progress.total)
        self._bar.update(self._task, completed=progress.done)
