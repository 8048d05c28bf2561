"""Effect of pruning improbable labels: the share of final labels that differ from those without pruning.

        python benchmarks/pruning.py IMAGE...

The bundled network segments the images; the CRF has the kernels w1=4 sxy=49 srgb=5 and w2=3 sxy=3.
"""

import argparse
from pathlib import Path

import numpy as np

from atrous import Segmenter
from atrous.crf import Bilateral, DenseCRF, Spatial
from atrous.image_io.decode import read_image

KERNELS = (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5))
BOUNDS = (0.02, 0.05, 0.1, 0.2)


def main():
    """Print the mean and the worst image for each threshold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    images = parser.parse_args().images
    segmenter = Segmenter(crf=None)
    changed = {bound: [] for bound in BOUNDS}
    left = {bound: [] for bound in BOUNDS}
    for path in images:
        image = read_image(path)
        probabilities = segmenter.probabilities(image)
        labels = DenseCRF(image, KERNELS, prune=0).labels(probabilities)
        for bound in BOUNDS:
            found = DenseCRF(image, KERNELS, prune=bound).infer(probabilities)
            changed[bound].append(np.mean(found.labels != labels))
            left[bound].append(len(found.kept))
    print(f"{len(images)} images\n bound   labels active   changed %: mean   median    worst")
    for bound in BOUNDS:
        shares = 100 * np.array(changed[bound])
        row = f"{shares.mean():.4f}   {np.median(shares):.4f}   {shares.max():.4f}"
        print(f"{bound:6g}{np.mean(left[bound]):14.1f}{row:>33}")


if __name__ == "__main__":
    main()
