"""Metrics of exemplar-based translation, and the protocol that compares methods with them."""

from .correspondence import CarriedLabels, carry_labels
from .distances import frechet_distance, is_rank_deficient, kernel_distance, swd, swd_levels
from .extractors import Extractor, extract, load_extractor, load_perceptual
from .intervals import Estimate, mean_estimate
from .methods import Method, load_baseline
from .pairs import EvaluationPairs, Pair
from .picture_sets import PictureFiles
from .pictures import (
    class_iou,
    confusion,
    copy_score,
    diversity,
    edge_f1,
    mask_accuracy,
    perceptual_distance,
    pose_pck,
    psnr,
    ssim,
)
from .protocol import evaluate
from .regions import RegionScores, semantic_consistency, style_relevance
from .results import Evaluation, Result, eval_results
from .scoring import MetricNetworks, Scorer
from .settings import EvaluationSettings

__all__ = [
    "CarriedLabels",
    "Estimate",
    "Evaluation",
    "EvaluationPairs",
    "EvaluationSettings",
    "Extractor",
    "MetricNetworks",
    "Method",
    "Pair",
    "PictureFiles",
    "RegionScores",
    "Result",
    "Scorer",
    "carry_labels",
    "class_iou",
    "confusion",
    "copy_score",
    "diversity",
    "edge_f1",
    "eval_results",
    "evaluate",
    "extract",
    "frechet_distance",
    "is_rank_deficient",
    "kernel_distance",
    "load_extractor",
    "load_perceptual",
    "load_baseline",
    "mask_accuracy",
    "mean_estimate",
    "perceptual_distance",
    "pose_pck",
    "psnr",
    "semantic_consistency",
    "ssim",
    "style_relevance",
    "swd",
    "swd_levels",
]
