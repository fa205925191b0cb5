"""Strategies: what changes in learning because there was a past. One file each."""

from earwitness.shelf import Shelf

__all__ = ["STRATEGIES"]

STRATEGIES = Shelf(
    "earwitness.strategies",
    "strategy",
    {
        "naive": "naive:Naive",
        "joint": "joint:Joint",
        "replay": "replay:Replay",
        "owm": "owm:OWM",
        "rawm": "rawm:RAWM",
        "rwm": "rwm:RWM",
    },
    helpers=("base", "grouping", "projected", "projection", "protected", "released"),
)
