"""Speaker verification beside a countermeasure: error rates, costs, the challenges' constants."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import SettingsError
from earwitness.metrics.base import require_scores
from earwitness.metrics.search import challenge_point

__all__ = ["ASVSPOOF5", "ASVSPOOF2019_LA", "CHALLENGE_COSTS", "AsvErrors", "TandemCosts"]


class AsvErrors(NamedTuple):
    """Error rates of a speaker verifier at its own threshold, fractions.

    ``miss`` of target trials, ``false_alarm`` of nontarget trials, ``false_alarm_spoof`` of spoofs.
    """

    miss: float
    false_alarm: float
    false_alarm_spoof: float

    @classmethod
    def of(
        cls,
        target: ArrayLike,
        nontarget: ArrayLike,
        spoof: ArrayLike,
        *,
        like_package_2024: bool = False,
    ) -> "AsvErrors":
        """The rates at the threshold of the verifier's EER (target against nontarget trials).

        The threshold is that of the ASVspoof packages: the score of the last trial that is rejected
        where misses and false alarms are nearest, a trial that is then accepted after all.

        Args:
            target, nontarget, spoof: scores of the verifier, one-dimensional, higher = the speaker.
            like_package_2024: repeat a fault of the ASVspoof 5 evaluation package, which takes the
                share of spoofs that the verifier rejects for the share that it accepts, whenever it
                is given scores of a verifier. Only to compare with numbers made by it.

        Raises:
            ProtocolError: an array is not one-dimensional, empty, or not finite.

        >>> AsvErrors.of([2, 1, 3], [-1, 0, 1.5], [0.5, 2])
        AsvErrors(miss=0.0, false_alarm=0.3333333333333333, false_alarm_spoof=0.5)
        """
        target = require_scores(target, "target")
        nontarget = require_scores(nontarget, "nontarget")
        spoof = require_scores(spoof, "spoof")
        threshold = _challenge_threshold(target, nontarget)
        accepted = float(np.mean(spoof >= threshold))
        return cls(
            float(np.mean(target < threshold)),
            float(np.mean(nontarget >= threshold)),
            1 - accepted if like_package_2024 else accepted,
        )


class TandemCosts(NamedTuple):
    """Priors of the three kinds of trial and costs of the errors, as in ASVspoof 2019, 2021 and 5."""

    p_target: float = 0.9405
    p_nontarget: float = 0.0095
    p_spoof: float = 0.05
    c_miss: float = 1.0
    c_fa: float = 10.0
    c_fa_spoof: float = 10.0

    def checked(self) -> "TandemCosts":
        """Self.

        Raises:
            SettingsError: priors that don't sum to 1, or a negative or infinite number.
        """
        if abs(self.p_target + self.p_nontarget + self.p_spoof - 1) > 1e-10:
            raise SettingsError(f"the priors of {self} don't sum to 1.")
        if not all(0 <= value < np.inf for value in self):
            raise SettingsError(f"{self}: priors and costs are finite numbers, 0 or above.")
        return self


CHALLENGE_COSTS = TandemCosts()
# The organisers' verifiers on the evaluation trials: ASVspoof 5 over all conditions together
# (calculate_metrics.py of its package), and 2019 LA (from the scores published with it).
ASVSPOOF5 = AsvErrors(0.01880141010575793, 0.01881016557566423, 0.4607082907604729)
ASVSPOOF2019_LA = AsvErrors(0.0245810056, 0.0246046749, 1 - 0.2393475470)


def _challenge_threshold(target: NDArray[np.float64], nontarget: NDArray[np.float64]) -> float:
    """The score of the trial that the packages reject last at their EER (see `eer_challenge`)."""
    order = np.sort(np.concatenate([target, nontarget]))
    first = sum(challenge_point(target, nontarget))
    return float(order[first - 1] if first else order[0] - 0.001)
