"""Losses: what a detector is trained to make small on its own data. One file each, in this table."""

from earwitness.losses.base import Criterion, Loss
from earwitness.losses.cross_entropy import cross_entropy, plain_cross_entropy
from earwitness.shelf import Shelf

__all__ = ["CRITERIA", "LOSSES", "Criterion", "Loss", "cross_entropy", "plain_cross_entropy"]

LOSSES = Shelf(
    "earwitness.losses",
    "loss",
    {
        "cross_entropy": "cross_entropy:CrossEntropy",
        "binary_cross_entropy": "binary_cross_entropy:BinaryCrossEntropy",
        "focal": "focal:Focal",
        "am_softmax": "am_softmax:AMSoftmax",
        "oc_softmax": "oc_softmax:OCSoftmax",
    },
    helpers=("base",),
)

CRITERIA: dict[str, Criterion] = {"classes": cross_entropy, "none": plain_cross_entropy}
