"""Scoring of the network during training."""

import numpy as np

from ..data.dataset import Dataset
from ..data.metadata import ModelMetadata, tuples
from ..data.samples import ImageList
from ..data.transforms import MEAN_BGR
from ..evaluation.evaluator import evaluate
from ..evaluation.metrics import ConfusionMatrix
from ..network.deeplab import DeepLab
from ..network.torch_backend import RELEASED_LARGEFOV, TorchEngine
from ..segmenter import Segmenter
from .distributed import Processes
from .end_to_end import EndToEnd, split


def validate(model: DeepLab | EndToEnd, dataset: Dataset, samples: ImageList, group: Processes) -> ConfusionMatrix:
    """Segment a list of images and count pixels, without a CRF unless one is trained. The processes divide the images.

    Parameters
    ----------
    model : DeepLab or EndToEnd
        Stays in training mode.
    dataset, samples
        Data set and images to score.
    group : Processes

    Returns
    -------
    ConfusionMatrix
        Counts over all images, in every process.
    """
    net, crf = split(model)
    metadata = ModelMetadata(
        variant=net.name,
        classes=dataset.classes,
        palette=tuples(dataset.palette.tolist()),
        mean=MEAN_BGR,
        crf=crf or RELEASED_LARGEFOV,
        training_list="",
        training_list_sha256="",
        precision="float32",
        output_stride=net.output_stride,
    )
    engine = TorchEngine(net, metadata, device=str(group.device))
    matrix = ConfusionMatrix(len(dataset.classes))
    share = samples.samples[group.rank :: group.count]
    if share:
        scored = evaluate(Segmenter(engine, crf=crf), share)
        matrix = scored.crf or scored.dcnn
    counts = group.sums(*matrix.counts.ravel().tolist())
    matrix.counts = np.array(counts, np.float64).astype(np.int64).reshape(matrix.counts.shape)
    model.train()
    return matrix
