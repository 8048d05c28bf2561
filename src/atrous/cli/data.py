"""The commands `atrous data check` and `atrous data sbd`."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._printable import printable
from ..errors import as_input_error
from .command import Command, with_options
from .options import Threads, Void, check_output
from .progress import progress_bar
from .terminal import print_line, print_text

if TYPE_CHECKING:
    from ..data import Findings

data = typer.Typer(
    name="data", help="Check and prepare data sets.", no_args_is_help=True, context_settings={"max_content_width": 120}
)

# Number of printed problems per kind. The JSON file contains all.
_MOST_LINES = 20


@data.command(cls=Command)
def check(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DATA", help="A PASCAL VOC folder, or one with images/, labels/ and classes.txt.")
    ],
    classes: Annotated[Path | None, typer.Option(help="Class list instead of the folder's classes.txt.")] = None,
    colors: Annotated[
        Path | None, typer.Option(help="Color table of masks drawn in colors, instead of the folder's colors.txt.")
    ] = None,
    void: Void = None,
    report: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all results to this file.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Decode all images and masks, report problems, and print statistics.

    Exit status: 0 without problems, 1 with problems, 2 if the folder is not a data set.
    """
    from ..data import check_dataset

    check_output("json", report)
    with progress_bar("checking") as done:
        found = check_dataset(folder, classes=classes, colors=colors, void=void or (), threads=threads, done=done)
    if report is not None:
        from .._io import write_text

        with as_input_error(report):
            write_text(report, json.dumps(found.as_dict(), indent=1) + "\n")
    print_text(with_options(text(found), ctx.command.params))
    if found.problems:
        raise typer.Exit(1)


@data.command(cls=Command)
def sbd(
    release: Annotated[
        Path, typer.Argument(metavar="SBD", help="SBD's unpacked release, benchmark_RELEASE, or its dataset/.")
    ],
    voc: Annotated[Path, typer.Option(help="The folder VOC2012 of PASCAL VOC 2012.")],
    out: Annotated[
        Path, typer.Option(help="VOC folder to create; may be the same as --voc. Existing files are not replaced.")
    ],
    threads: Threads = None,
) -> None:
    """Create the paper's train_aug: SBD's masks as PNG files beside VOC's, and the lists.

    After an interruption, run the same command again to resume.
    """
    from ..data import LIST_SIZES, merge_sbd

    with progress_bar("masks") as done:
        merged = merge_sbd(release, voc, out, threads=threads, done=done)
    for name, count in merged.lists.items():
        published = "as published" if count == LIST_SIZES[name] else f"of the {LIST_SIZES[name]:,} published"
        print_line(f"{name:<13}{count:>7,} images, {published}")
    print_line(f"{merged.written:,} masks written, {merged.existing:,} existed: {out}")
    if merged.skipped:
        print_line(
            f"note: {len(merged.skipped):,} listed images lack their image file or mask, such as {merged.skipped[0]};"
            " the lists omit them",
            err=True,
        )
    elif any(count != LIST_SIZES[name] for name, count in merged.lists.items()):
        print_line("note: SBD or VOC 2012 is incomplete, so scores are not comparable with published ones", err=True)


def text(found: "Findings") -> str:
    """Return problems, notes, shares of the classes and lists as text."""
    lines: list[str] = []
    shown: Counter[str] = Counter()
    for problem in sorted(found.problems, key=lambda p: (p.file, p.kind)):
        shown[problem.kind] += 1
        if shown[problem.kind] <= _MOST_LINES:
            lines.append(f"{problem.file}: {problem.message}")
    for kind, count in shown.items():
        if count > _MOST_LINES:
            lines.append(f"... and {count - _MOST_LINES:,} more of the kind '{kind}' (--json FILE lists all)")
    lines += [f"note: {note}" for note in found.notes[:_MOST_LINES]]
    if len(found.notes) > _MOST_LINES:
        lines.append(f"note: ... and {len(found.notes) - _MOST_LINES:,} more (--json FILE lists all)")
    if lines and found.classes:
        lines.append("")
    lines += _classes(found)
    if found.lists:
        lines += ["", "list" + " " * 16 + "images"]
        lines += [f"{name:<16}{count:>10,}" for name, count in found.lists.items()]
        lines += [f"{a} and {b} share {count:,} images" for a, b, count in found.overlaps]
    count = len(found.problems)
    lines += ["", f"{found.pairs:,} images with masks; " + (f"{count:,} problem(s)" if count else "no problems found")]
    return "\n".join(map(printable, lines))


def _classes(found: "Findings") -> list[str]:
    if not found.classes:  # the class list has a problem; a table of void alone would be misleading
        return []
    total = max(int(found.pixels.sum()), 1)
    names = [*enumerate(map(printable, found.classes)), (255, "void")]
    width = max(len(name) for _, name in names)
    lines = [f"{'id':>3}  {'class':<{width}}  pixels %    images"]
    for c, name in names:
        lines.append(f"{c:>3}  {name:<{width}}{100 * int(found.pixels[c]) / total:>10.2f}{int(found.images[c]):>10,}")
    return lines
