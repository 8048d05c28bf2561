"""Write golden.npz: what pydensecrf2 makes of `small_cases`. Run it where pydensecrf2 is installed.

python tests/pydensecrf/make_golden.py
"""

from pathlib import Path

import numpy as np
from cases import build, small_cases, solve

GOLDEN = Path(__file__).with_name("golden.npz")


def divergences(module, case):
    """Return the KL divergence before and after each of three single steps."""
    crf = build(module, case)
    q, first, second = crf.startInference()
    values = [crf.klDivergence(q)]
    for _ in range(3):
        crf.stepInference(q, first, second)
        values.append(crf.klDivergence(q))
    return np.array(values)


if __name__ == "__main__":
    arrays = {}
    for case in small_cases():
        arrays[case.name] = solve("pydensecrf", case)
        arrays[f"{case.name} divergence"] = divergences("pydensecrf", case)
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{GOLDEN}: {len(arrays)} arrays, {GOLDEN.stat().st_size} bytes")
