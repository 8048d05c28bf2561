"""Labeled images: data sets, lists, models' metadata, network inputs."""

from .dataset import Choice, Dataset, choose_photos, files_below, open_dataset, read_at_most
from .folder_dataset import read_classes
from .metadata import VOC_CLASSES, CrfParameters, ModelMetadata
from .samples import ImageList, Sample, read_pair
from .sbd import LIST_SIZES, merge_sbd
from .soft_targets import SoftTargets
from .unary_io import (
    class_names,
    fit_probabilities,
    parse_array,
    probabilities_from_labels,
    read_mask,
    read_probabilities,
)
from .validate import Findings, check_dataset

__all__ = [
    "LIST_SIZES",
    "VOC_CLASSES",
    "Choice",
    "CrfParameters",
    "Dataset",
    "Findings",
    "ImageList",
    "ModelMetadata",
    "Sample",
    "SoftTargets",
    "check_dataset",
    "choose_photos",
    "class_names",
    "files_below",
    "fit_probabilities",
    "merge_sbd",
    "open_dataset",
    "parse_array",
    "probabilities_from_labels",
    "read_at_most",
    "read_classes",
    "read_mask",
    "read_pair",
    "read_probabilities",
]
