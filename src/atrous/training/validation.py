"""Scoring of the network during training."""

import numpy as np

from ..data.dataset import Dataset
from ..data.metadata import ModelMetadata
from ..data.samples import ImageList
from ..data.transforms import MEAN_BGR
from ..evaluation.evaluator import evaluate
from ..evaluation.metrics import ConfusionMatrix
from ..network.deeplab import DeepLab
from ..network.torch_backend import RELEASED_LARGEFOV, TorchEngine
from ..segmenter import Segmenter
from .distributed import Processes


def validate(net: DeepLab, dataset: Dataset, samples: ImageList, group: Processes) -> ConfusionMatrix:
    """Segment a list of images without the CRF and count pixels. The processes divide the images.

    Parameters
    ----------
    net : DeepLab
        Stays in training mode.
    dataset, samples
        Data set and images to score.
    group : Processes

    Returns
    -------
    ConfusionMatrix
        Counts over all images, in every process.
    """
    metadata = ModelMetadata(
        variant=net.name,
        classes=dataset.classes,
        palette=tuple((int(r), int(g), int(b)) for r, g, b in dataset.palette),
        mean=MEAN_BGR,
        crf=RELEASED_LARGEFOV,
        training_list="",
        training_list_sha256="",
        precision="float32",
        output_stride=net.output_stride,
    )
    engine = TorchEngine(net, metadata, device=str(group.device))
    matrix = ConfusionMatrix(len(dataset.classes))
    share = samples.samples[group.rank :: group.count]
    if share:
        matrix = evaluate(Segmenter(engine, crf=None), share).dcnn
    counts = group.sums(*matrix.counts.ravel().tolist())
    matrix.counts = np.array(counts, np.float64).astype(np.int64).reshape(matrix.counts.shape)
    net.train()
    return matrix
