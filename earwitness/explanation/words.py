"""What an explanation says, in sentences: what was found, what that is worth, and what it is not."""

from earwitness.explanation import Explanation
from earwitness.landmarks import Landmarks

__all__ = ["LIMITS", "headline", "meaning", "sentences", "times", "worth"]

LIMITS = (
    "The score tells apart the kinds of recording that the detector was trained on. A generator, "
    "a codec, a room or a language that was not among them can make it wrong in either direction.",
    "The distances describe how this network sees the recording. They are not independent of its "
    "score, and they don't make a wrong score right.",
    "The network's probability is not calibrated and is not the probability that the recording is "
    "genuine: that depends also on how likely a fake was before anybody listened.",
    "An attribution shows what the score rests on, not what is fake: a detector can rest on silence, "
    "on a codec or on the loudness.",
)
_RARE = 0.05  # share of held-out recordings
_FEW = 100  # training clips of a class, below which a percentile of 99 is nearly the farthest clip
_MEANINGS = {
    "CONSISTENT": "The network's class is also that of the nearer class mean, and the recording lies "
    "within the spread of that class's training clips.",
    "CONFLICT": "The network's score and the distances to the class means don't say the same.",
    "ATYPICAL": "The recording is unlike both training classes: the score is extrapolation.",
}


def headline(told: Explanation) -> str:
    """The verdict in one sentence."""
    sure = min(max(told.probability, 1 - told.probability), 0.9999)  # no network is quite sure
    return (
        f"The network itself, before any threshold, says {told.named} (score {told.score:+.2f}, its "
        f"own confidence {_percent(sure)}); the nearer class mean is that of {told.place.nearest} "
        "clips."
    )


def meaning(told: Explanation) -> str:
    """What the verdict's word means here."""
    place = told.place
    if told.word == "CONFLICT" and told.named == place.nearest:
        return (
            f"{_MEANINGS['CONFLICT']} Both name {told.named}, but the recording is farther from "
            f"that mean than {place.percentiles[place.nearest]:.1f} % of its training clips, and lies "
            "within the spread of the other class."
        )
    return _MEANINGS[told.word]


def worth(marks: Landmarks, word: str) -> str:
    """How often that word came on recordings that were not learned from: its base rate."""
    count = sum(marks.counts["held_out"].values())
    if not count:
        return "How often this happens on recordings that were not learned from is not known."
    rate = marks.rates[word]
    told = f"On {count:,} recordings that were not learned from, {_percent(rate)} were {word}"
    if word == "CONSISTENT":
        return f"{told}; that is no measure of how many of them were judged rightly."
    if rate > _RARE:
        return f"{told}: it is common, and says little about this recording."
    if _most(rate, count) > _RARE:
        return f"{told}; these are too few to say that it is rare."
    return f"{told}: it is rare there, and reason to look closer."


def _most(rate: float, count: int) -> float:
    """Upper end of Clopper and Pearson's one-sided 95 % interval of a share.

    >>> round(_most(0.0, 12), 2), round(_most(0.0, 1000), 3)
    (0.22, 0.003)
    """
    from scipy.special import betaincinv

    hits = round(rate * count)
    return 1.0 if hits >= count else float(betaincinv(hits + 1, count - hits, 0.95))


def sentences(told: Explanation) -> list[str]:
    """What was measured, a sentence each."""
    place = told.place
    said = [
        f"The distance to the bonafide mean is {place.distances['bonafide']:.2f} of the distance "
        f"between both means: {_rank(place.percentiles['bonafide'], 'bonafide')}.",
        f"The distance to the spoof mean is {place.distances['spoof']:.2f}: "
        f"{_rank(place.percentiles['spoof'], 'spoof')}.",
    ]
    if place.llr is not None:
        side = "bonafide" if place.llr > 0 else "spoof"
        said.append(
            f"By the distances alone such a place is {times(place.llr)} as likely for a {side} "
            "recording as for the other class, by the held-out recordings (which can't show more than "
            "their number)."
        )
    few = [label for label, n in told.landmarks.counts["training"].items() if n < _FEW]
    if few:
        said.append(
            f"There were fewer than {_FEW} {' and '.join(few)} training clips: percentiles are coarse, "
            "and ATYPICAL comes easily."
        )
    if told.seconds < told.windows.seconds:
        said.append("The recording is shorter than a window, so it was heard repeated to its length.")
    if told.wants_reference:
        said.append(
            "The detector can hear a reference of the same speaker; none was heard here, and the "
            "threshold may be of scores with one."
        )
    if told.threshold is not None:
        side = "at or above" if told.score >= told.threshold else "below"
        said.append(
            f"The score is {side} the threshold {told.threshold:+.2f} that was chosen on development "
            "recordings, at which both kinds of error were equally frequent there."
        )
    if told.calibrated is not None:
        side = "bonafide" if told.calibrated > 0 else "spoof"
        said.append(
            f"Calibrated, such a score is {times(told.calibrated)} as likely for a {side} recording as "
            f"for the other class (log-likelihood ratio {told.calibrated:+.2f}), for recordings like "
            "those of the calibration."
        )
    if len(told.scores) > 1:
        share = float((told.scores > 0).mean())
        said.append(
            f"Of {len(told.scores):,} windows of {told.windows.seconds:g} s, {_percent(share)} score "
            f"above 0, where the network itself says bonafide; the lowest is {told.scores.min():+.2f} "
            f"at {clock(float(told.starts[told.scores.argmin()]))}."
        )
    return said


def times(llr: float) -> str:
    """A log-likelihood ratio's size as a person says it.

    >>> times(-2.302585), times(0.2), times(30.0)
    ('10 times', '1.2 times', 'more than 10,000 times')
    """
    ratio = abs(llr)
    if ratio > 9.2103:  # ln 10,000; no corpus that fits a laptop tells more
        return "more than 10,000 times"
    value = 2.718281828459045**ratio
    return f"{value:.1f} times" if value < 9.95 else f"{value:,.0f} times"


def clock(seconds: float) -> str:
    """A place in a recording.

    >>> clock(3.25), clock(3725)
    ('3.2 s', '1:02:05')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    hours = f"{whole // 3600}:{whole // 60 % 60:02d}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02d}"


def _rank(percentile: float, label: str) -> str:
    if percentile >= 100:
        return f"as far as the farthest {label} clip of the training, or farther"
    return f"farther than {min(percentile, 99.9):.1f} % of the {label} clips of the training"


def _percent(share: float) -> str:
    """A share without a false 100 %.

    >>> _percent(0.9999), _percent(0.123), _percent(0.0)
    ('more than 99.9 %', '12.3 %', '0.0 %')
    """
    return "more than 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"
