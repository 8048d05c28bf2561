"""`atrous bulk`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MissingExtra
from .terminal import say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from ..bulk import Progress

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
    to: Annotated[
        str, typer.Option(help="Format of the masks: png, a file each; parquet; or tar, WebDataset.")
    ] = "png",
    ray_address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="Address of a Ray cluster: auto, host:port. Default: this machine."),
    ] = None,
    actors: Annotated[int | None, typer.Option(help="Largest number of actors. Default: as many as fit.")] = None,
    cpus: Annotated[int, typer.Option(help="CPUs, and threads, of an actor.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs of an actor; 0.5 puts two on one.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="Exported .onnx or checkpoint folder instead of the bundled model.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Runtime of an exported model: onnxruntime or openvino. Default: the faster installed one."),
    ] = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Refine with the fully connected CRF.")] = True,
    max_side: Annotated[int, typer.Option(help="Scale larger photos down to this for the network.")] = 513,
    kind: Annotated[
        str | None, typer.Option(help="Files to segment where INPUT holds several kinds: images, parquet or tars.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of encoded photos in parquet files; suffix of photos in tars.")
    ] = None,
    key_column: Annotated[
        str | None, typer.Option(help="Column of names for the masks in parquet files. Default: file and row.")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(help="Photos per shard: an actor's unit of work, and one parquet or tar file.")
    ] = None,
    retry_errors: Annotated[bool, typer.Option(help="Try photos again that failed in an earlier run.")] = False,
) -> None:
    """Segment very many photos with Ray Data, here or on a cluster. Run again, it does what is missing."""
    try:
        from ..bulk import Actors, Settings, run
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
        shard_size=shard_size,
        retry_errors=retry_errors,
    )
    with _ProgressReporter() as reporter:
        try:
            summary = run(source, out, settings, Actors(actors, cpus, gpus), address=ray_address, progress=reporter)
        except KeyboardInterrupt:
            reporter.close()
            say(
                f"error: interrupted after {reporter.count}; what is written is whole, run again for the rest", err=True
            )
            raise typer.Exit(130) from None
    retried = f", {summary.retried} shards retried" if summary.retried else ""
    rate = f"; {summary.rate:.2f} photos/s" if summary.done else ""
    say(f"{out}: {summary.done} done, {summary.skipped} done before, {summary.failed} failed{retried}{rate}")
    if summary.failed:
        say(f"error: {summary.failed} photos failed; see {summary.errors}", err=True)
        raise typer.Exit(2)


class _ProgressReporter:
    """Progress as a bar on a terminal, as a line now and then elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self.count = "0 photos"
        self._console = Console(stderr=True)
        self._bar: Bar | None = None
        self._last = time.monotonic()

    def __enter__(self) -> "_ProgressReporter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __call__(self, progress: "Progress") -> None:
        self.count = f"{progress.done} of {progress.total} photos"
        if self._console.is_terminal:
            self._draw(progress)
        elif time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            rate = progress.done / progress.seconds if progress.seconds else 0.0
            say(f"{self.count}, {progress.failed} failed, {rate:.2f} photos/s", err=True)

    def close(self) -> None:
        """Remove the bar."""
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
