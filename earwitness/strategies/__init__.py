"""Strategies: what changes in learning because there was a past. One file each."""

from earwitness.shelf import Shelf

__all__ = ["STRATEGIES"]

STRATEGIES = Shelf(
    "earwitness.strategies",
    "strategy",
    {
        "naive": "naive:Naive",
        "joint": "joint:Joint",
        "ewc": "ewc:EWC",
        "ewc_online": "ewc:OnlineEWC",
        "si": "si:SI",
        "mas": "mas:MAS",
        "lwf": "lwf:LwF",
        "dfwf": "dfwf:DFWF",
        "replay": "replay:Replay",
        "owm": "owm:OWM",
        "owm_s": "owm:OWMS",
        "rawm": "rawm:RAWM",
        "rwm": "rwm:RWM",
    },
    helpers=("anchor", "base", "grouping", "importance", "projected", "projection", "protected", "released", "teacher"),
)
