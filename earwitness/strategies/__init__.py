"""Strategies: what changes in learning because there was a past. One file each."""

from earwitness.shelf import Shelf

__all__ = ["STRATEGIES"]

STRATEGIES = Shelf(
    "earwitness.strategies",
    "strategy",
    {
        # bounds, and several as one
        "naive": "naive:Naive",
        "joint": "joint:Joint",
        "cumulative": "joint:Cumulative",
        "frozen": "frozen:Frozen",
        "chain": "chain:Chain",
        # weights or outputs are held
        "ewc": "ewc:EWC",
        "ewc_online": "ewc:OnlineEWC",
        "si": "si:SI",
        "mas": "mas:MAS",
        "lwf": "lwf:LwF",
        "dfwf": "dfwf:DFWF",
        # a larger detector is listened to
        "distil": "distil:Distil",
        # gradients are turned
        "owm": "owm:OWM",
        "owm_s": "owm:OWMS",
        "rawm": "rawm:RAWM",
        "rwm": "rwm:RWM",
        "gpm": "gpm:GPM",
        "sgp": "gpm:SGP",
        "adam_nscl": "nscl:NSCL",
        "gem": "gem:GEM",
        "agem": "gem:AGEM",
        "rego": "rego:RegO",
        # clips are kept
        "replay": "replay:Replay",
        "replay_biased": "replay:BiasedReplay",
        "replay_selected": "replay_selected:SelectedReplay",
        "der": "der:DER",
        "derpp": "der:DERPlusPlus",
        "gdumb": "gdumb:GDumb",
        "gdumb_finetune": "gdumb:GDumbFinetune",
        "reservoir": "gdumb:Reservoir",
        "icarl": "icarl:ICaRL",
        "cope": "cope:CoPE",
        "bic": "bic:BiC",
        # parts of the network are set apart
        "cwr_star": "cwr_star:CWRStar",
        "slda": "slda:SLDA",
        "elma": "elma:ELMA",
    },
    helpers=(
        *("anchor", "base", "flat", "grouping", "importance", "memory", "projected"),
        *("projection", "protected", "rehearsal", "released", "subspace", "teacher", "turning"),
    ),
)
