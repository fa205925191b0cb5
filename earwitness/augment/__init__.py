"""Augmentation: a wave changed at random, drawn first, then applied. The table below is all there is.

Conventions: a wave is float32, mono, 16 kHz, of shape (samples,), at least 400 samples, usually within
[-1, 1]; levels are not clipped unless a docstring says so. What is drawn is plain: numbers, text, lists
and dictionaries that JSON can hold, so that a log of it is enough to make the same wave again.
"""

from earwitness.shelf import Shelf

__all__ = ["AUGMENTS"]

AUGMENTS = Shelf(
    "earwitness.augment",
    "augmentation",
    {
        "rawboost": "rawboost:RawBoost",
        "time_mask": "time_mask:TimeMask",
        "trim": "trim:Trim",
        "mu_law": "companding:MuLaw",
        "a_law": "companding:ALaw",
        "noise": "noise:Noise",
        "hiss": "noise:Hiss",
        "recorded_noise": "recorded_noise:RecordedNoise",
        "reverberation": "reverberation:Reverberation",
        "band_pass": "pass_filters:BandPass",
        "band_stop": "pass_filters:BandStop",
        "high_pass": "pass_filters:HighPass",
        "low_pass": "pass_filters:LowPass",
        "high_shelf": "equalisers:HighShelf",
        "low_shelf": "equalisers:LowShelf",
        "peaking": "equalisers:Peaking",
        "gain": "gain:Gain",
        "speed": "speed:Speed",
        "resample": "resample:Resample",
        "codec": "codec:Codec",
        "packet_loss": "packet_loss:PacketLoss",
        "griffin_lim": "griffin_lim:GriffinLim",
        "world": "world:World",
        "lpc": "lpc:LinearPrediction",
        "fixed_length": "fixed_length:FixedLength",
        "chain": "chain:Chain",
        "one_of": "one_of:OneOf",
        "audiomentations": "audiomentations:Audiomentations",
    },
    helpers=("base", "presets"),
)
