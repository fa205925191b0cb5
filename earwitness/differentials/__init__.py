"""Differential detectors without a network: the difference of two embeddings, reference minus test."""

from earwitness.differentials.base import Differential
from earwitness.shelf import Shelf

__all__ = ["DIFFERENTIALS", "Differential"]

DIFFERENTIALS = Shelf(
    "earwitness.differentials",
    "differential detector",
    {
        "lda_gaussian": "lda_gaussian:LDAGaussian",
        "gmm": "gmm:GMM",
        "svm": "svm:SVM",
    },
    helpers=("base", "pairs"),
)
