"""The command `atrous bulk`."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from .._defaults import MAX_SIDE
from ..errors import MissingExtra
from .options import Engine, MaxSide, Model
from .progress import Update, progress_bar
from .terminal import print_line

if TYPE_CHECKING:
    from ..bulk import Progress

SECONDS_BETWEEN_LINES = 30  # between progress lines if there is no terminal


def bulk(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Folder of images, of parquet files or of WebDataset tars; a .txt list of paths or URLs (- for stdin);"
            " a quoted pattern; or one such file. A local path or any fsspec URL.",
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder for masks and tables; a path or fsspec URL.")],
    output: Annotated[
        str, typer.Option("--to", help="Format of the masks: png (one file each), parquet or tar (WebDataset).")
    ] = "png",
    ray_address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="Address of a Ray cluster: auto or host:port. Default: this machine."),
    ] = None,
    actors: Annotated[int | None, typer.Option(help="Maximum number of actors. Default: as many as fit.")] = None,
    cpus: Annotated[int, typer.Option(help="CPUs and threads per actor.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs per actor; 0.5 puts two actors on one GPU.")] = 0,
    model: Model = None,
    engine: Engine = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Refine with the fully connected CRF.")] = True,
    max_side: MaxSide = MAX_SIDE,
    kind: Annotated[
        str | None, typer.Option(help="Files to segment if INPUT contains several kinds: images, parquet or tars.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of encoded images in parquet files; suffix of images in tars.")
    ] = None,
    key_column: Annotated[
        str | None, typer.Option(help="Column of names for the masks in parquet files. Default: file and row.")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(help="Images per shard: an actor's unit of work, and one parquet or tar file.")
    ] = None,
    retry_errors: Annotated[bool, typer.Option(help="Retry images that failed in an earlier run.")] = False,
) -> None:
    """Segment very many images with Ray Data, on this machine or a cluster. A second run resumes the first."""
    try:
        from ..bulk import Actors, Settings, run
    except ImportError as error:
        name = (error.name or "ray").split(".")[0]
        raise MissingExtra.of(f"{name} is not installed, but atrous bulk needs it", "bulk") from None
    settings = Settings(
        output=output,  # type: ignore[arg-type]
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
    reporter = _Reporter()
    try:
        with progress_bar("segmenting") as reporter.update:
            summary = run(source, out, settings, Actors(actors, cpus, gpus), address=ray_address, progress=reporter)
    except KeyboardInterrupt:
        print_line(
            f"error: interrupted after {reporter.count}; all written files are complete; run again to resume", err=True
        )
        raise typer.Exit(130) from None
    retried = f", {summary.retried} shards retried" if summary.retried else ""
    rate = f"; {summary.rate:.2f} images/s" if summary.done else ""
    print_line(f"{out}: {summary.done} done, {summary.skipped} skipped, {summary.failed} failed{retried}{rate}")
    if summary.failed:
        print_line(f"error: {summary.failed} images failed; see {summary.errors}", err=True)
        raise typer.Exit(2)


class _Reporter:
    """Progress display: a bar on a terminal, else a line at intervals."""

    update: Update

    def __init__(self) -> None:
        self.count = "0 images"
        self._last = time.monotonic()

    def __call__(self, progress: "Progress") -> None:
        self.count = f"{progress.done} of {progress.total} images"
        self.update(progress.done, progress.total)
        if not sys.stderr.isatty() and time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            rate = progress.done / progress.seconds if progress.seconds else 0.0
            print_line(f"{self.count}, {progress.failed} failed, {rate:.2f} images/s", err=True)
