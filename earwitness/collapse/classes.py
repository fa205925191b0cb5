"""Class numbers of a manifest's trials: bonafide, and one class for each generator."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.trials import CLASSES, Manifest, Trial

__all__ = ["Relabelled", "relabel"]

_BONAFIDE = CLASSES[0]


class Relabelled(NamedTuple):
    """Names of classes, and the class of each trial ``(trials,)`` as a place in them."""

    names: tuple[str, ...]
    codes: NDArray[np.int64]


def relabel(manifest: Manifest, names: Sequence[str] | None = None) -> Relabelled:
    """Bonafide is class 0, each generator (the column ``attack`` of spoofs) a class of its own.

    With two classes NC2 says nothing; with these it does. The last layer of a two-class detector does
    not belong to them, so metrics are taken without its weight.

    Args:
        manifest: of bonafide and spoof trials, every spoof with its attack.
        names: the classes of an earlier call, for instance of the training split, so that numbers mean
            the same here; else bonafide and the attacks in alphabetical order.

    >>> from earwitness.trials import Trial
    >>> trials = [Trial("a", "a.wav", "spoof", "A02"), Trial("b", "b.wav", "bonafide"),
    ...           Trial("c", "c.wav", "spoof", "A01")]
    >>> relabel(Manifest("toy", trials))
    Relabelled(names=('bonafide', 'A01', 'A02'), codes=array([2, 0, 1]))

    Raises:
        ProtocolError: a trial of other classes or unknown label, a spoof without an attack, or with one
            that ``names`` has not.
        SettingsError: ``names`` do not begin with bonafide, or one stands there twice.
    """
    if manifest.classes != CLASSES:
        raise ProtocolError(
            f"manifest {manifest.name!r} is of {', '.join(manifest.classes)}; "
            "expected bonafide and spoof."
        )
    own = [_BONAFIDE if trial.label == _BONAFIDE else trial.attack for trial in manifest]
    _refuse(manifest, [t for t in manifest if t.label not in CLASSES], "of unknown label")
    spoofs = [trial for trial in manifest if trial.label != _BONAFIDE]
    without = [trial for trial in spoofs if trial.attack in ("", "-")]
    _refuse(manifest, without, "are spoofs without an attack, which is to say their class")
    _refuse(manifest, [t for t in spoofs if t.attack == _BONAFIDE], "are spoofs by the attack bonafide")
    classes = _require_names(names) if names else (_BONAFIDE, *sorted({t.attack for t in spoofs}))
    places = {name: place for place, name in enumerate(classes)}
    foreign = [trial for trial in spoofs if trial.attack not in places]
    if foreign:
        attack = foreign[0].attack
        what = f"are by attacks that are not among names ({attack!r}{nearest(attack, classes)[:-1]})"
        _refuse(manifest, foreign, what)
    return Relabelled(classes, np.array([places[name] for name in own], dtype=np.int64))


def _refuse(manifest: Manifest, wrong: list[Trial], what: str) -> None:
    if wrong:
        raise ProtocolError(
            f"manifest {manifest.name!r}: {len(wrong)} of {len(manifest)} trial(s) {what}, first "
            f"{wrong[0].id!r}; give each its attack, or leave them out with Manifest.where."
        )


def _require_names(names: Sequence[str]) -> tuple[str, ...]:
    classes = tuple(names)
    if classes[0] != _BONAFIDE or len(set(classes)) < len(classes):
        raise SettingsError(
            f"relabel: names={classes}; expected {_BONAFIDE} first, then each generator once."
        )
    return classes
