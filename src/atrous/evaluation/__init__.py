"""Scores of label maps against truth (Chen et al. 2015, section 5)."""

from .bootstrap import Difference, Scored, differences, paired_bootstrap
from .evaluator import evaluate, score
from .export_check import TOLERANCES, Parity, Tolerance, compare, generated_image
from .metrics import ConfusionMatrix, mean_iou
from .predictors import FolderLabeler, Labeler, SegmenterLabeler, with_maps
from .report import check_report, report_html
from .results import Evaluation, ImageScores, merged
from .run_info import RunInfo, official_size, overlap_warning, subject_of
from .text_report import (
    as_csv,
    as_json,
    differences_table,
    parity_json,
    parity_table,
    score_table,
    steps_table,
    trimap_table,
    write_text,
)
from .trimap import WIDTHS, band, rings
from .tuning_samples import FolderSamples, NetworkSamples, model_sha256
from .voc_submission import Submission

__all__ = [
    "TOLERANCES",
    "WIDTHS",
    "ConfusionMatrix",
    "Difference",
    "Evaluation",
    "FolderLabeler",
    "FolderSamples",
    "ImageScores",
    "Labeler",
    "NetworkSamples",
    "Parity",
    "RunInfo",
    "Scored",
    "SegmenterLabeler",
    "Submission",
    "Tolerance",
    "as_csv",
    "as_json",
    "band",
    "check_report",
    "compare",
    "differences",
    "differences_table",
    "evaluate",
    "generated_image",
    "mean_iou",
    "merged",
    "model_sha256",
    "official_size",
    "overlap_warning",
    "paired_bootstrap",
    "parity_json",
    "parity_table",
    "report_html",
    "rings",
    "score",
    "score_table",
    "steps_table",
    "subject_of",
    "trimap_table",
    "with_maps",
    "write_text",
]
