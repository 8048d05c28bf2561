"""Mean of two checkpoints of one network: of their weights, and of the kernel weights of their CRFs.

    python examples/average/average_checkpoints.py FIRST SECOND OUT

For a network before and after training with its CRF: that training improves the masks with the CRF and worsens those of
the network alone; the mean keeps most of both. OUT is a checkpoint for `atrous evaluate` and `atrous export`.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS, STATE, LIST = "model.safetensors", "state.json", "training-list.txt"


def mean_crf(first: dict, second: dict) -> dict:
    """Return the CRF of the second checkpoint with the mean of both CRFs' kernel weights."""
    return {
        key: (first[key] + value) / 2 if key in ("weight", "spatial_weight") else value for key, value in second.items()
    }


def average(first: Path, second: Path, out: Path) -> None:
    """Write the mean of two checkpoint folders to a new folder."""
    states = [json.loads((folder / STATE).read_text(encoding="utf-8")) for folder in (first, second)]
    one, two = (load_file(folder / WEIGHTS) for folder in (first, second))
    for key in ("classes", "training_list_sha256"):
        if states[0][key] != states[1][key]:
            sys.exit(f"{second}: expected the {key} of {first}")
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in two.items()}:
        sys.exit(f"{second}: expected the layers of {first}")
    if out.exists():
        sys.exit(f"{out}: exists; choose another name")
    state = states[1]
    if all("crf" in each for each in states):
        state["crf"] = mean_crf(states[0]["crf"], state["crf"])
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.mkdir(parents=True)
    save_file({key: (tensor + two[key]) / 2 for key, tensor in one.items()}, temporary / WEIGHTS)
    (temporary / STATE).write_text(json.dumps(state | {"sha256": {}}, indent=1), encoding="utf-8")
    if (second / LIST).is_file():
        shutil.copy(second / LIST, temporary / LIST)
    temporary.rename(out)


def main() -> None:
    """Average the two checkpoints of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="checkpoint folder")
    parser.add_argument("second", type=Path, help="checkpoint folder; its settings are kept")
    parser.add_argument("out", type=Path, help="new folder")
    arguments = parser.parse_args()
    average(arguments.first, arguments.second, arguments.out)


if __name__ == "__main__":
    main()
