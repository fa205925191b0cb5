"""Decision rules: how a detector decides where its own logits don't say it. One file each."""

from earwitness.shelf import Shelf

__all__ = ["RULES"]

RULES = Shelf(
    "earwitness.rules",
    "rule",
    {
        "prototypes": "prototypes:Prototypes",
        "affine": "affine:Affine",
        "experts": "experts:Experts",
    },
    helpers=("base",),
)
