"""`atrous data check` and `atrous data sbd`."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._printable import printable
from ..errors import InputError
from .options import Threads, check_output
from .progress import progress_bar
from .terminal import say, show

if TYPE_CHECKING:
    from ..data import Findings

data = typer.Typer(
    name="data", help="Look after labeled photos.", no_args_is_help=True, context_settings={"max_content_width": 120}
)

# Of one kind; the rest is in the JSON.
_MOST_LINES = 20


@data.command()
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DATA", help="A PASCAL VOC folder, or one with images/, labels/ and classes.txt.")
    ],
    classes: Annotated[Path | None, typer.Option(help="Class list instead of the folder's classes.txt.")] = None,
    colors: Annotated[
        Path | None, typer.Option(help="Color table of masks drawn in colors, instead of the folder's colors.txt.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything found here.")] = None,
    threads: Threads = None,
) -> None:
    """Decode every photo and mask, say what is wrong, and count what is there.

    Exit status: 0 if all is well, 1 if something is to be put right, 2 if the folder is no data set.
    """
    from ..data import check_dataset

    check_output("json", report)
    with progress_bar("checking") as done:
        found = check_dataset(folder, classes=classes, colors=colors, threads=threads, done=done)
    if report is not None:
        from .._io import write_text

        try:
            write_text(report, json.dumps(found.as_dict(), indent=1) + "\n")
        except OSError as error:
            raise InputError(f"--json {report}: cannot be written ({error.strerror or error})") from None
    show(text(found))
    if found.problems:
        raise typer.Exit(1)


@data.command()
def sbd(
    release: Annotated[
        Path, typer.Argument(metavar="SBD", help="SBD's unpacked release, benchmark_RELEASE, or its dataset/.")
    ],
    voc: Annotated[Path, typer.Option(help="The folder VOC2012 of PASCAL VOC 2012.")],
    out: Annotated[Path, typer.Option(help="The VOC folder to make; may be the same as --voc. What is there is kept.")],
    threads: Threads = None,
) -> None:
    """Make the paper's train_aug: SBD's masks as PNG files beside VOC's, and the lists.

    Stopped, the same command goes on.
    """
    from ..data import LIST_SIZES, merge_sbd

    with progress_bar("masks") as done:
        merged = merge_sbd(release, voc, out, threads=threads, done=done)
    for name, count in merged.lists.items():
        of = "as published" if count == LIST_SIZES[name] else f"of the {LIST_SIZES[name]:,} published"
        say(f"{name:<13}{count:>7,} images, {of}")
    say(f"{merged.written:,} masks written, {merged.existing:,} were there: {out}")
    if merged.skipped:
        say(
            f"note: {len(merged.skipped):,} listed images lack their photo or mask, such as {merged.skipped[0]};"
            " lists are without them",
            err=True,
        )
    elif any(count != LIST_SIZES[name] for name, count in merged.lists.items()):
        say("note: these are not the whole of SBD and VOC 2012; figures do not compare with published", err=True)


def text(found: "Findings") -> str:
    """Return the problems, the notes, the classes' shares and the lists as text."""
    lines: list[str] = []
    shown: Counter[str] = Counter()
    for problem in sorted(found.problems, key=lambda p: (p.file, p.kind)):
        shown[problem.kind] += 1
        if shown[problem.kind] <= _MOST_LINES:
            lines.append(f"{problem.file}: {problem.message}")
    for kind, count in shown.items():
        if count > _MOST_LINES:
            lines.append(f"... and {count - _MOST_LINES:,} more of the kind '{kind}' (--json FILE holds all)")
    lines += [f"note: {note}" for note in found.notes[:_MOST_LINES]]
    if len(found.notes) > _MOST_LINES:
        lines.append(f"note: ... and {len(found.notes) - _MOST_LINES:,} more (--json FILE holds all)")
    if lines and found.classes:
        lines.append("")
    lines += _classes(found)
    if found.lists:
        lines += ["", "list" + " " * 16 + "images"]
        lines += [f"{name:<16}{count:>10,}" for name, count in found.lists.items()]
        lines += [f"{a} and {b} share {count:,} images" for a, b, count in found.overlaps]
    count = len(found.problems)
    lines += ["", f"{found.pairs:,} photos with masks; " + (f"{count:,} problem(s)" if count else "all is well")]
    return "\n".join(map(printable, lines))


def _classes(found: "Findings") -> list[str]:
    if not found.classes:  # the list of them is a problem; void alone would look like an empty data set
        return []
    total = max(int(found.pixels.sum()), 1)
    names = [*enumerate(map(printable, found.classes)), (255, "void")]
    width = max(len(name) for _, name in names)
    lines = [f"{'id':>3}  {'class':<{width}}  pixels %    images"]
    for c, name in names:
        lines.append(f"{c:>3}  {name:<{width}}{100 * int(found.pixels[c]) / total:>10.2f}{int(found.images[c]):>10,}")
    return lines
