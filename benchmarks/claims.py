r"""Table of the paper's claims and our measurements, from existing score files.

    atrous evaluate VOC_FOLDER --steps 0,1,2,3,5,10,15,20 --json scores.json
    atrous evaluate VOC_FOLDER --model MULTISCALE --json multiscale.json
    atrous evaluate VOC_FOLDER --model MULTISCALE_WITH_ITS_OWN_CRF --json searched.json
    python benchmarks/claims.py --costs costs.json
    python benchmarks/claims.py --scores scores.json --multiscale multiscale.json --searched searched.json \
        --costs costs.json --write

Pass the scores of another network to --trunk if multi-scale prediction was trained on it instead of that of --scores.

If the file of --costs does not exist, the networks are timed and the file is written. Prints the table; --write inserts
it into docs/paper-claims.md between the markers. Rows without a file contain "not measured".
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

from atrous.errors import InputError
from atrous.evaluation._plots import DEEPLAB_TRIMAP
from atrous.evaluation.bootstrap import DRAWS, Scored, paired_bootstrap
from atrous.evaluation.results import CRF, DCNN
from atrous.evaluation.trimap import WIDTHS
from pages import END, insert

PAGE = Path(__file__).parents[1] / "docs" / "paper-claims.md"
BEGIN = "<!-- written by benchmarks/claims.py -->"

# Chen et al. 2015, mean IoU on VOC 2012 val, per cent: DCNN alone, with CRF.
LARGE_FOV = (62.25, 67.64)
MSC_LARGE_FOV = (64.21, 68.70)
# Table 3 there: images per second in training.
SPEEDS = {"deeplab-7x7": 1.44, "deeplab-4x4": 2.90, "deeplab-largefov": 4.84}
STEPS = (0, 1, 2, 3, 5, 10, 15, 20)
TEN = 10
LETTERS = "ABCDEFGHI"  # of score files in the order of the sources; the costs have the next letter

NOT_MEASURED = "not measured"

TEMPLATE = f"""# The paper's claims, measured again

At the end of this page you will know which of the paper's gains this package reproduces: those of the CRF, of
multi-scale prediction and of the large field of view. The network here is not the paper's (see the [model
card](model-card.md)), so compare the gains, not the levels.

{BEGIN}
{END}
"""


class Row(NamedTuple):
    """Row of the table; `source` is the letter of a command."""

    claim: str
    paper: str
    ours: str
    source: str


def read_scores(path: Path) -> dict:
    """Read a file of `atrous evaluate --json`."""
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        if scores["format"] != 1 or CRF not in scores["labelings"]:
            raise KeyError(CRF)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected scores of `atrous evaluate --json` ({error!r})") from None
    counted = any("overlaps" in row for row in scores.get("per_image", ()))
    scores["scored"] = Scored.read(path) if counted else None
    return scores


def mean_iou(scores: dict, labeling: str) -> float:
    """Return the mean IoU of a label map's kind, in per cent."""
    return 100 * scores["labelings"][labeling]["mean IoU"]


def gain(before: float, after: float) -> str:
    """Return two scores and their difference as text."""
    return f"{before:.2f} → {after:.2f} ({after - before:+.2f})"


def sure_gain(before: tuple[dict, str], after: tuple[dict, str]) -> str:
    """Return two mean IoUs, their difference and its 95 % interval, if counts per image are available."""
    if not (before[0]["scored"] and after[0]["scored"]):
        return gain(mean_iou(*before), mean_iou(*after))
    ours, theirs = (scores["scored"].overlaps[labeling] for scores, labeling in (after, before))
    found = paired_bootstrap(ours, theirs)
    text = gain(mean_iou(*before), mean_iou(*after)).removesuffix(")")
    return f"{text}; {100 * found.low:+.2f} to {100 * found.high:+.2f})"


def crf_rows(scores: dict | None) -> list[Row]:
    """Return the gain of the CRF over all pixels."""
    ours = sure_gain((scores, DCNN), (scores, CRF)) if scores else NOT_MEASURED
    return [Row("the CRF refines the network: mean IoU", gain(*LARGE_FOV), ours, "A")]


def multiscale_rows(trunk: dict | None, multiscales: list[dict], searched: list[dict], letters: str) -> list[Row]:
    """Return the gain of multi-scale prediction for each training: without CRF, with CRF, with its own CRF.

    `letters` contains the trunk's letter, then the others'.
    """
    rows = []
    given = [*zip(letters[1:], multiscales + searched, strict=False)]
    first, second = given[: len(multiscales)], given[len(multiscales) :]
    kinds = [(DCNN, "without CRF", first), (CRF, "with CRF", first), (CRF, "with its own CRF", second)]
    for labeling, name, theirs in kinds:
        claim = f"multi-scale prediction, {name}"
        i = (DCNN, CRF).index(labeling)
        paper = gain(LARGE_FOV[i], MSC_LARGE_FOV[i])
        if not trunk or not theirs:
            rows.append(Row(f"{claim}: mean IoU", paper, NOT_MEASURED, letters[0]))
            continue
        for number, (letter, multiscale) in enumerate(theirs, start=1):
            ours = sure_gain((trunk, labeling), (multiscale, labeling))
            training = f", training {number} ({letter})" if len(theirs) > 1 else ""
            rows.append(Row(f"{claim}{training}: mean IoU", paper, ours, f"{letters[0]}, {letter}"))
    return rows


def trimap_rows(scores: dict | None) -> list[Row]:
    """Return the gain of the CRF near object boundaries, where the paper reports the largest."""
    rows = []
    before, after = DEEPLAB_TRIMAP["DeepLab"][0], DEEPLAB_TRIMAP["DeepLab-CRF"][0]
    for i, width in enumerate(WIDTHS):
        bands = [scores["labelings"][name]["trimap"].get(str(width)) for name in (DCNN, CRF)] if scores else [None]
        ours = gain(*(100 * band["mean IoU"] for band in bands)) if all(bands) else NOT_MEASURED
        claim = f"the CRF, within {width} pixel{'s' if width > 1 else ''} of an outline: mean IoU"
        rows.append(Row(claim, gain(before[i], after[i]) + " (1)", ours, "A"))
    return rows


def step_rows(scores: dict | None) -> list[Row]:
    """Return mean IoU by number of mean-field steps, compared with 10."""
    found = scores["mean_field_steps"] if scores else {}
    ten = found.get(str(TEN))
    rows = []
    for steps in STEPS:
        claim, paper = f"{steps} mean-field step{'s' if steps != 1 else ''}: mean IoU, compared with {TEN}", "-"
        ours = NOT_MEASURED
        if ten and (summary := found.get(str(steps))):
            value = 100 * summary["mean IoU"]
            ours = f"{value:.2f} ({value - 100 * ten['mean IoU']:+.2f})"
        if steps == TEN:
            claim, paper = f"{TEN} mean-field steps: mean IoU", "the paper's choice"
            ours = ours.split(" (")[0]
        rows.append(Row(claim, paper, ours, "A"))
    return rows


def measured_costs(runs: int, threads: int) -> dict:
    """Count the parameters and time the networks as benchmarks/variants.py does."""
    import torch

    from atrous.network import DeepLab
    from segment import processor
    from variants import NETWORKS, multiply_adds, times

    torch.set_num_threads(threads)
    costs: dict = {"machine": f"{processor()}, {threads} threads", "runs": runs, "networks": {}}
    for name in SPEEDS:
        row, multiscale = NETWORKS[name]
        with torch.device("meta"):
            net = DeepLab(row.name, multiscale=multiscale)
        test, train = times(name, runs)
        costs["networks"][name] = {
            "parameters": sum(p.numel() for p in net.parameters()),
            "multiply-adds": multiply_adds(net, 321),
            "test": test,
            "train": train,
        }
    return costs


def cost_rows(costs: dict | None, letter: str) -> list[Row]:
    """Return the savings of LargeFOV over the networks with larger kernels in fc6."""
    rows = []
    networks = costs["networks"] if costs else {}
    for other, title in (("deeplab-4x4", "DeepLab-4x4"), ("deeplab-7x7", "DeepLab-7x7")):

        def ratio(what: str, other: str = other) -> str:
            if not networks:
                return NOT_MEASURED
            return f"{networks[other][what] / networks['deeplab-largefov'][what]:.2f}x"

        head = f"LargeFOV instead of {title}"
        speed = f"{SPEEDS['deeplab-largefov'] / SPEEDS[other]:.2f}x"
        small = {"deeplab-4x4": "65.1 M → 20.5 M", "deeplab-7x7": "134.3 M → 20.5 M"}[other]
        here = NOT_MEASURED
        if networks:
            here = " → ".join(f"{networks[name]['parameters'] / 1e6:.1f} M" for name in (other, "deeplab-largefov"))
        rows += [
            Row(f"{head}: parameters", small, here, letter),
            Row(f"{head}: speedup in training", speed, ratio("train"), letter),
            Row(f"{head}: speedup at test", "-", ratio("test"), letter),
            Row(f"{head}: times fewer multiply-adds", "-", ratio("multiply-adds"), letter),
        ]
    return rows


def command(scores: dict, *, name: str) -> str:
    """Return the command that wrote the scores, with names in place of paths."""
    run = scores["run"]
    words = ["atrous evaluate VOC_FOLDER"]
    model = run["subject"].get("model", "").split(" (sha256")[0]
    if not model.startswith("bundled"):
        words.append(f"--model {Path(model).name}")
    if run["listed"] != "val":
        words.append(f"--list {run['listed']}")
    if scores["images"] != run["listed_images"]:
        words.append(f"--limit {scores['images']}")
    if scores["mean_field_steps"]:
        words.append("--steps " + ",".join(scores["mean_field_steps"]))
    return " ".join([*words, f"--json {name}"])


def scope(scores: dict) -> str:
    """Return a description of the scored images, network and CRF."""
    run, subject = scores["run"], scores["run"]["subject"]
    part = f" of VOC's {run['official']:,}" if run["official"] and run["official"] != scores["images"] else ""
    facts = [f"{scores['images']:,} images{part}, list {run['listed']}", subject.get("network", "")]
    if subject.get("trained on"):
        facts.append(f"trained on {subject['trained on']}")
    if subject.get("CRF"):
        facts.append(f"CRF: {subject['CRF']}")
    return "; ".join(filter(None, [*facts, run["machine"]]))


def text(
    plain: dict | None, multiscales: list[dict], searched: list[dict], costs: dict | None, trunk: dict | None = None
) -> str:
    """Return the section: table, commands and notes."""
    others = [(each, "multiscale") for each in multiscales] + [(each, "searched") for each in searched]
    first = 1 if trunk is None else 2  # index of the first multi-scale file's letter
    if len(others) >= len(LETTERS) - first:
        raise InputError(
            f"--multiscale, --searched: expected at most {len(LETTERS) - first - 1} files, got {len(others)}"
        )
    if trunk is not None:
        others.insert(0, (trunk, "trunk"))
    for each, option in others if plain else []:
        if plain["run"]["sha256"] != each["run"]["sha256"]:
            raise InputError(f"--{option}: expected the same images as --scores; score both on the same list")
        if plain["run"]["subject"] == each["run"]["subject"]:
            raise InputError(f"--{option}: expected another model than --scores; score another one")
    sources = {"A": (command(plain, name="scores.json"), scope(plain)) if plain else None}
    for letter, (each, option) in zip(LETTERS[1:], others, strict=False):
        sources[letter] = (command(each, name=f"{option}.json"), scope(each))
    last = LETTERS[max(2, 1 + len(others))]
    sources[last] = ("python benchmarks/variants.py " + " ".join(SPEEDS), _costs_scope(costs)) if costs else None
    lines = ["| claim | the paper's | ours | measured by |", "| --- | ---: | ---: | --- |"]
    rows = crf_rows(plain) + trimap_rows(plain) + step_rows(plain)
    rows += multiscale_rows(trunk or plain, multiscales, searched, LETTERS[first - 1 :])
    rows += cost_rows(costs, last)
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += [
        "",
        "Scores are in %. The range after a semicolon is the gain's 95 % interval from a paired bootstrap of",
        f"{DRAWS:,} draws; a range that contains zero means that the gain may be due to the choice of images. (1) The",
        "authors' figures are of the basic model, DeepLab, on the 1,449 images of val; their other rows are of",
        "LargeFOV. Measured by:",
        "",
    ]
    lines += [f"- {letter}: `{source[0]}` ({source[1]})" for letter, source in sources.items() if source]
    return "\n".join(lines) + "\n"


def _costs_scope(costs: dict) -> str:
    return f"one crop of 321 x 321, median of {costs['runs']} runs; {costs['machine']}"


def write_page(section: str, path: Path = PAGE) -> None:
    """Replace the section between the page's markers."""
    if not path.exists():
        path.write_text(TEMPLATE, encoding="utf-8")
    insert(path, BEGIN, section)


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, help="JSON of a network without multi-scale prediction")
    parser.add_argument("--trunk", type=Path, help="JSON of the network that multi-scale prediction was trained on")
    parser.add_argument(
        "--multiscale", type=Path, nargs="+", default=[], help="JSON of that network with it, one per training"
    )
    parser.add_argument("--searched", type=Path, nargs="+", default=[], help="the same networks, each with its own CRF")
    parser.add_argument("--costs", type=Path, help="JSON of the networks' times; measured if it does not exist")
    parser.add_argument("--runs", type=int, default=3, help="runs per network, if measured")
    parser.add_argument("--threads", type=int, default=2, help="threads, if measured")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.parent.name}/{PAGE.name}")
    arguments = parser.parse_args()

    plain = read_scores(arguments.scores) if arguments.scores else None
    multiscales = [read_scores(path) for path in arguments.multiscale]
    searched = [read_scores(path) for path in arguments.searched]
    costs = None
    if arguments.costs is not None:
        if not arguments.costs.exists():
            arguments.costs.write_text(json.dumps(measured_costs(arguments.runs, arguments.threads), indent=1) + "\n")
        costs = json.loads(arguments.costs.read_text())
    trunk = read_scores(arguments.trunk) if arguments.trunk else None
    section = text(plain, multiscales, searched, costs, trunk)
    print(section)
    if arguments.write:
        write_page(section)


if __name__ == "__main__":
    main()
