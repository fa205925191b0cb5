"""The sampling unit of a bootstrap: speakers and attacks where all of them are known, else trials."""

from typing import NamedTuple

import numpy as np

from earwitness.errors import ProtocolError, SettingsError
from earwitness.metrics.bootstrap import Clusters
from earwitness.protocols import Protocol

__all__ = ["Sampling", "sampling"]

_FEW = 10
_UNKNOWN = ("", "-")


class Sampling(NamedTuple):
    """What is drawn: ``clusters`` and ``attacks`` of `bootstrap_values`, in words, and doubts."""

    unit: str
    clusters: Clusters | None
    attacks: np.ndarray | None
    doubts: tuple[str, ...]


def sampling(protocol: Protocol, unit: str = "auto") -> Sampling:
    """What to draw when trials of a protocol are resampled.

    Args:
        protocol: its columns ``speaker`` and ``attack`` are looked at.
        unit: ``"auto"`` takes speakers where every trial has one, and attacks where every spoof has
            one and there are several; ``"trial"`` takes trials as independent. A column's name takes
            its values for clusters, ``"attack"`` draws attacks, ``"speaker,attack"`` both.

    >>> toy = Protocol("toy", "ab", ["bonafide", "spoof"], {"speaker": ["ann", "-"]})
    >>> sampling(toy).unit, sampling(toy).doubts
    ('trial', ('speakers are known for 1 of 2 trials: the intervals take trials as independent.',))

    Raises:
        ProtocolError: a unit was asked for that is not known of every trial.
        SettingsError: no such column, or more than one beside attack.
    """
    asked = [] if unit in ("auto", "trial") else [one.strip() for one in unit.split(",")]
    columns = [one for one in asked if one != "attack"]
    if len(columns) > 1:
        raise SettingsError(
            f"the sampling unit is {unit!r}; expected one column, and attack beside it."
        )
    doubts: list[str] = []
    if unit == "auto":
        columns = ["speaker"] if _speakers_are_known(protocol, doubts) else []
        asked = columns + (["attack"] if _attacks_are_known(protocol) else [])
    bonafide, spoof = protocol.codes == 0, protocol.codes == 1
    clusters = None
    for column in columns:
        names = _column(protocol, column, bonafide | spoof)
        if len(set(names.tolist())) < 2:
            raise ProtocolError(
                f"{protocol.name}: all trials have the {column} {names[0]!r}; there is nothing to draw."
            )
        clusters = (names[bonafide], names[spoof])
        doubts += _doubts(clusters, column)
    attacks = _column(protocol, "attack", spoof)[spoof] if "attack" in asked else None
    if attacks is not None and len(set(attacks.tolist())) < _FEW:
        doubts.append(f"only {len(set(attacks.tolist()))} attack(s): the intervals are coarse.")
    return Sampling(" and ".join(asked) or "trial", clusters, attacks, tuple(doubts))


def _speakers_are_known(protocol: Protocol, doubts: list[str]) -> bool:
    """Whether every trial has one, and each class several."""
    if "speaker" not in protocol.columns:
        return False
    speakers = protocol.columns["speaker"]
    known = int((~speakers.is_in(_UNKNOWN)).sum())
    if 0 < known < len(protocol):
        doubts.append(
            f"speakers are known for {known} of {len(protocol)} trials: "
            "the intervals take trials as independent."
        )
    several = all(speakers.filter(protocol.codes == label).n_unique() > 1 for label in (0, 1))
    if known == len(protocol) and not several:
        doubts.append("a class has a single speaker: the intervals take trials as independent.")
    return known == len(protocol) and several


def _attacks_are_known(protocol: Protocol) -> bool:
    if "attack" not in protocol.columns:
        return False
    attacks = protocol.columns["attack"].filter(protocol.codes == 1)
    return not attacks.is_in(_UNKNOWN).any() and attacks.n_unique() > 1


def _column(protocol: Protocol, name: str, of: np.ndarray) -> np.ndarray:
    """The values of a column, which every one of the trials ``of`` must have."""
    values = protocol.column(name)
    unknown = int(values.filter(of).is_in(_UNKNOWN).sum())
    if unknown:
        raise ProtocolError(
            f"{protocol.name}: {unknown} of {int(of.sum())} trials have no {name}; "
            "intervals over it need one for each (take another sampling unit, or trial)."
        )
    return values.to_numpy()


def _doubts(clusters: Clusters, column: str) -> list[str]:
    return [
        f"only {len(set(names))} {label} {column}(s): the intervals are too narrow."
        for label, names in zip(("bonafide", "spoof"), clusters, strict=True)
        if len(set(names)) < _FEW
    ]
