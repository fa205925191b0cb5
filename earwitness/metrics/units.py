"""The sampling unit of a bootstrap: speakers where the manifest knows all of them, else trials."""

from earwitness.metrics.bootstrap import Clusters
from earwitness.trials import Manifest

__all__ = ["speaker_clusters"]

_FEW_SPEAKERS = 10
_UNKNOWN = ("", "-")


def speaker_clusters(manifest: Manifest) -> tuple[Clusters | None, list[str]]:
    """Speakers of the bonafide and of the spoof trials, in order, and doubts about the intervals.

    The speakers are None unless every trial has one. A doubt is a sentence: speakers are known for
    some trials only, or a class has fewer than ten of them.

    >>> from earwitness.trials import Trial
    >>> trials = [Trial("a", "a", "bonafide", speaker="ann"), Trial("b", "b", "spoof")]
    >>> speaker_clusters(Manifest("toy", trials))
    (None, ['speakers are known for 1 of 2 trials: the intervals take trials as independent.'])
    """
    known = sum(trial.speaker not in _UNKNOWN for trial in manifest)
    if known < len(manifest):
        partly = (
            f"speakers are known for {known} of {len(manifest)} trials: "
            "the intervals take trials as independent."
        )
        return None, [partly] if known else []
    bonafide, spoof = (
        [trial.speaker for trial in manifest if trial.label == label] for label in ("bonafide", "spoof")
    )
    few = [
        f"only {len(set(speakers))} {label} speaker(s): the intervals are too narrow."
        for label, speakers in (("bonafide", bonafide), ("spoof", spoof))
        if len(set(speakers)) < _FEW_SPEAKERS
    ]
    return (bonafide, spoof), few
