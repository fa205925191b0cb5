"""Chains of augmentations that have a name.

``rat`` is the training augmentation of RAT (Security-FIT/RAT, after Xu et al., ASVspoof workshop 2024),
in its order and with its probabilities: leading silence, time mask, room, mu-law, RawBoost 5, noise and
filter, four seconds. In the released code the gate of the room is drawn, but what it would open is
commented out; here a chain without parts stands in its place. Noise and filter share one gate of 0.3,
and each then has one of 0.9; the paper says 0.3 each.

Departures of ``rat``: the released code draws all gates first, and from the global generators; leading
silence is found by our own detector (`Trim`), not by that of torchaudio, which isn't a dependency;
samples beyond [-1, 1] are clipped before the mu-law; noise meets its ratio exactly, and coloured noise
has its slope at all frequencies; filters start from rest and not as if the first sample had always
been. The ranges of noise and filters are the defaults of audiomentations 0.43, whose version RAT leaves
open.
"""

from collections.abc import Iterable
from typing import Any

from earwitness.augment.base import Augment
from earwitness.augment.chain import Chain, build_part
from earwitness.errors import SettingsError, nearest

__all__ = ["PRESETS", "build_all", "build_named"]

_Part = dict[str, Any]

_NOISES: list[_Part] = [
    {"name": "noise", "snr": [5, 40], "slope": [-6, 6]},
    {"name": "hiss", "amplitude": [0.001, 0.015]},
    {"name": "noise", "snr": [5, 40]},
]
_FILTERS: list[_Part] = [
    {"name": "band_pass"},
    {"name": "band_stop"},
    {"name": "high_pass"},
    {"name": "high_shelf"},
    {"name": "low_pass"},
    {"name": "low_shelf"},
    {"name": "peaking"},
]

PRESETS: dict[str, _Part] = {
    "rat": {
        "name": "chain",
        "parts": [
            {"name": "trim", "probability": 0.5, "keep": 0.0},
            {"name": "time_mask", "probability": 0.3, "share": [0.2, 0.5]},
            {"name": "chain", "probability": 0.3},
            {"name": "mu_law", "probability": 0.3},
            {"name": "rawboost", "probability": 0.3, "algorithm": 5},
            {
                "name": "chain",
                "probability": 0.3,
                "parts": [
                    {"name": "one_of", "probability": 0.9, "parts": _NOISES},
                    {"name": "one_of", "probability": 0.9, "parts": _FILTERS},
                ],
            },
            {"name": "fixed_length", "samples": 64_000},
        ],
    },
    **{f"rawboost_{n}": {"name": "rawboost", "algorithm": n} for n in range(1, 9)},
    "telephone": {
        "name": "chain",
        "parts": [
            {"name": "band_pass", "centre": [1850, 1850], "fraction": [1.67, 1.67]},
            {"name": "codec", "codecs": ["mu_law", "a_law", "gsm", "amr_nb"]},
            {"name": "packet_loss", "probability": 0.5, "conceal": "repeat"},
        ],
    },
    "copy_synthesis": {
        "name": "one_of",
        "parts": [{"name": "griffin_lim"}, {"name": "world"}, {"name": "lpc"}],
    },
}


def build_named(name: str, **settings: Any) -> Augment:
    """The preset, or else the augmentation of the shelf, that is called ``name``.

    >>> type(build_named("rat")).__name__, build_named("rawboost_3").algorithm
    ('Chain', 3)

    Raises:
        SettingsError: neither is called so; a wrong setting.
    """
    from earwitness.augment import AUGMENTS

    known = [*PRESETS, *AUGMENTS.names()]
    if name not in known:
        raise SettingsError(
            f"no augmentation and no preset is called {name!r}{nearest(name, known)} "
            f"Known: {', '.join(known)}."
        )
    return build_part(name, {**PRESETS.get(name, {"name": name}), **settings})[0]


def build_all(parts: Iterable[Any]) -> Augment | None:
    """Names and tables as one augmentation, in order; None where there are none.

    >>> build_all(["rat", {"name": "gain", "probability": 0.5}]).makes_spoof
    False
    >>> build_all([]) is None
    True

    Raises:
        SettingsError: an unknown name, or a setting that doesn't fit.
    """
    listed = [
        build_named(part).built_from
        if isinstance(part, str)
        else build_part("augment", part)[0].built_from | {"probability": part.get("probability", 1.0)}
        for part in parts
    ]
    return Chain(parts=tuple(listed)) if listed else None
