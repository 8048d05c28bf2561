"""Tables, plots and report of the CRF benchmark, from its results."""

import os
import statistics
from textwrap import fill

from atrous._io import replacing
from crf_cases import ALL, CASES, LABELS, MEGAPIXELS, PEER, PRUNED, ROWS, UNPRUNED
from crf_text import END, SETTINGS, TEMPLATE, WRITTEN

NONE = "-"


def _milliseconds(seconds):
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.1f}"


def ratios(result, key):
    """Return the peer's time relative to ours: in full, and without its conversion to a unary term.

    Medians over the rounds of each round's ratio.
    """
    own, theirs = result["times"][key], result["times"][PEER]
    bare = [whole - unary for whole, unary in zip(theirs, result["unary"], strict=True)]
    return tuple(statistics.median(b / a for a, b in zip(own, other, strict=True)) for other in (theirs, bare))


def table(results, rows=ROWS, *, targets=False):
    """Return the table of the paired runs, head row first."""
    head = ["case", "vertices / pixel", "labels: all, most probable, active", "rounds"]
    head += ["atrous, ms", f"{PEER}, ms", "its unary, ms", "speedup", "without unary"]
    head += ["target"] * targets + ["same labels"]
    lines = [head]
    for row in rows:
        result = results["cases"].get(row.case)
        key = row.run.key
        if result is None or key not in result["times"]:
            continue
        counts = f"{result['labels']}, {result['most probable somewhere']}, {result['active'][key]}"
        line = [row.title, f"{result['vertices per pixel']:.2f}", counts, str(len(result["times"][key]))]
        line.append(_milliseconds(statistics.median(result["times"][key])))
        if PEER in result["times"]:
            whole, bare = ratios(result, key)
            line += [_milliseconds(statistics.median(column)) for column in (result["times"][PEER], result["unary"])]
            line += [f"{whole:.1f}x", f"{bare:.1f}x"]
            line += [_verdict(row.target, whole)] * targets + [f"{100 * result['same labels'][key]:.2f} %"]
        else:
            line += [NONE] * (5 + targets)
        lines.append(line)
    return lines


def _verdict(target, reached):
    if target is None:
        return NONE
    return f"{target:g}x {'reached' if reached >= target else 'missed'}"


def memory_table(results, names=CASES):
    """Return the peak memory of calls beyond their inputs, head row first."""
    lines = [["case", "run", "before the call, MiB", "peak, MiB", "peak - before, MiB", f"ratio to {PEER}"]]
    for name, case in CASES.items():
        if name not in names or name not in results["memory"]:
            continue
        runs = results["memory"][name]["MiB"]
        for key, memory in runs.items():
            rise = memory["peak"] - memory["before"]
            share = f"{rise / (runs[PEER]['peak'] - runs[PEER]['before']):.2f}" if PEER in runs else NONE
            title = f"{case.height}x{case.width}, {case.labels} labels, {case.scene}"
            lines.append([title, key, f"{memory['before']:,.0f}", f"{memory['peak']:,.0f}", f"{rise:,.0f}", share])
    return lines


def scaling_table(results, names=CASES):
    """Return the times of the scaling part, head row first."""
    lines = [["case", "pixels", "labels", "vertices / pixel", "run", "rounds", "ms", "ns / pixel / label"]]
    for name, case in CASES.items():
        if case.part != "scaling" or name not in names or name not in results["cases"]:
            continue
        result = results["cases"][name]
        for key, times in result["times"].items():
            median = statistics.median(times)
            each = 1e9 * median / case.pixels / case.labels
            cells = [name, f"{case.pixels:,}", str(case.labels), f"{result['vertices per pixel']:.2f}"]
            lines.append([*cells, key, str(len(times)), _milliseconds(median), f"{each:.0f}"])
    return lines


def _series(results, prefix, values, key):
    points = []
    for value in values:
        times = results["cases"].get(f"{prefix}-{value:g}", {"times": {}})["times"]
        if key in times:
            points.append((value, statistics.median(times[key])))
    return tuple(zip(*points, strict=True)) or ((), ())


# Colors for all kinds of color vision (Okabe and Ito).
_STYLES = {
    PEER: {"color": "#555555", "marker": "s", "label": PEER},
    UNPRUNED.key: {"color": "#0072b2", "marker": "o", "label": "atrous, no pruning"},
    PRUNED.key: {"color": "#d55e00", "marker": "o", "label": "atrous"},
}


def _axes(pyplot, xlabel, ylabel):
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.grid(which="major", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plain_ticks(axis, ticks=None):
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if ticks is None:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axis.set_ticks(ticks)
        axis.set_ticks([], minor=True)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _growth_plot(pyplot, results, prefix, values, xlabel, title):
    figure, axes = _axes(pyplot, xlabel, "seconds per call")
    for key, style in _STYLES.items():
        axes.plot(*_series(results, prefix, values, key), **style)
    _plain_ticks(axes.xaxis, values)
    _plain_ticks(axes.yaxis)
    axes.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _threads_plot(pyplot, results):
    figure, axes = _axes(pyplot, "threads", "seconds per call")
    times = {key: statistics.median(values) for key, values in results["cases"]["threads"]["times"].items()}
    own = [run for run in CASES["threads"].runs if run.key in times and run.library != PEER]
    counts = sorted({run.threads for run in own})
    for example in (UNPRUNED, PRUNED):
        points = [(run.threads, times[run.key]) for run in own if run.prune == example.prune]
        axes.plot(*zip(*points, strict=True), **_STYLES[example.key])
        axes.plot(counts, [points[0][1] / n for n in counts], color="#aaaaaa", linestyle=":", zorder=0)
    if PEER in times:
        axes.axhline(times[PEER], color=_STYLES[PEER]["color"], label=f"{PEER} (one thread)")
    _plain_ticks(axes.xaxis, counts)
    _plain_ticks(axes.yaxis)
    axes.set_title("375x500, 21 labels, textured image; dotted: linear speedup", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _memory_plot(pyplot, results):
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    names = [name for name in CASES if name in results["memory"] and PEER in results["memory"][name]["MiB"]]
    for offset, (key, style) in enumerate(_STYLES.items()):
        runs = [results["memory"][name]["MiB"][key] for name in names]
        heights = [run["peak"] - run["before"] for run in runs]
        places = [place + 0.27 * (offset - 1) for place in range(len(names))]
        bars = axes.bar(places, heights, width=0.25, color=style["color"], label=style["label"])
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    cases = [CASES[name] for name in names]
    labels = [f"{case.height}x{case.width}x{case.labels}\n{case.scene}" for case in cases]
    axes.set_xticks(range(len(names)), labels)
    axes.set_ylabel("peak MiB of a call, beyond the inputs")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def write_plots(results, folder):
    """Write the plots and return their captions by file name."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("error: the plots need matplotlib; pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    largest = f"up to {MEGAPIXELS[-1]:g} megapixels"
    plots = {
        "crf-pixels": (
            _growth_plot(pyplot, results, "pixels", MEGAPIXELS, "megapixels", "21 labels, mosaic of images"),
            f"Seconds per call by megapixels, {largest}",
        ),
        "crf-labels": (
            _growth_plot(pyplot, results, "labels", LABELS, "labels", "375x500, textured image"),
            f"Seconds per call by number of labels, {LABELS[0]} to {LABELS[-1]}",
        ),
        "crf-threads": (_threads_plot(pyplot, results), "Seconds per call by number of threads"),
        "crf-memory": (_memory_plot(pyplot, results), "Peak memory beyond the inputs"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (figure, _) in plots.items():
        with replacing(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
        pyplot.close(figure)
    return {name: caption for name, (_, caption) in plots.items()}


def _markdown(rows):
    head, *lines = rows
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def check_complete(results):
    """Raise SystemExit if a case is missing, or if the figures are from different builds."""
    required = {("cases", name) for name in CASES} | {("memory", name) for name, case in CASES.items() if case.memory}
    missing = sorted(f"{name} ({part})" for part, name in required if name not in results[part])
    if missing:
        raise SystemExit(f"error: not measured yet: {', '.join(missing)}")
    stamps = {(part, name): results[part][name] for part, name in required}
    builds = [stamp["build"] for stamp in stamps.values()]
    usual = max(set(builds), key=builds.count)
    others = sorted(f"{name} ({part})" for (part, name), stamp in stamps.items() if stamp["build"] != usual)
    if others:
        raise SystemExit(f"error: from another build than the rest, measure again: {', '.join(others)}")


def write_report(results, path, images):
    """Write the report in Markdown and its plots; preserve the text below the report in an existing page."""
    check_complete(results)
    captions = write_plots(results, images)
    folder = os.path.relpath(images, path.parent).replace(os.sep, "/")
    figures = {name.replace("-", "_"): f"![{text}]({folder}/{name}.png)" for name, text in captions.items()}
    prune = results["cases"]["plain-21"]["prune"]
    others = max(share for case in results["cases"].values() for share in case["used by others"])
    dates = sorted({case["date"] for case in results["cases"].values()})
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    span = " to ".join(dict.fromkeys([dates[0], dates[-1]]))
    threads = f"{ALL} thread{'s' * (ALL > 1)}"
    text = TEMPLATE.format(
        written=fill(WRITTEN.format(machine=machine, dates=span, others=others), 120),
        settings=fill(SETTINGS.format(threads=threads, prune=prune), 120),
        table=_markdown(table(results)),
        memory=_markdown(memory_table(results)),
        scaling=_markdown(scaling_table(results)),
        **figures,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    below = path.read_text().partition(END)[2] if path.exists() else ""
    with replacing(path) as temporary:
        temporary.write_text(text + END + (below or "\n"))
