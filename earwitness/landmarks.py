"""Landmarks: where a detector's training clips lie in its embedding, so that a new clip can be placed.

Kept beside the detector, in ``landmarks.safetensors``: an explanation then needs no training data. What
is kept are statistics and some embeddings, no audio.

Geometry, for a clip's embedding h (the mean over its windows) and the class means mu_R (bonafide) and
mu_F (spoof): with d = mu_F - mu_R and mid = (mu_R + mu_F) / 2,

    u = <h - mid, d> / ||d||^2          -1/2 at the bonafide mean, +1/2 at the spoof mean
    v = ||h - mid - u d|| / ||d||       how far off the line through both means

so both distances are in the plane (u, v) without distortion:
``||h - mu_R||^2 = ((u + 1/2)^2 + v^2) ||d||^2``, and with u - 1/2 for the spoof mean.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.calibration import fit_affine
from earwitness.errors import CheckpointError, ProtocolError
from earwitness.state import load_state, save_state
from earwitness.trials import CLASSES

__all__ = ["FILE", "WORDS", "Embedded", "Landmarks", "Neighbour", "Place", "joined", "plane"]

WORDS = ("CONSISTENT", "CONFLICT", "ATYPICAL")
FILE = "landmarks.safetensors"
_FORMAT = "earwitness-landmarks-1"
_QUANTILES = np.linspace(0, 1, 1001)
_RARE = 99.0  # per cent
_CELLS = (60, 40)  # of the density, along u and v
_OUTSIDE = 0.002  # share of clips that the density leaves out on each side: far ones would coarsen it
_EXAMPLES = 1000  # a class

Floats = NDArray[np.float64]


class Embedded(NamedTuple):
    """Clips as a detector hears them: ``embeddings`` (clips, dim), ``scores`` and ``labels`` (clips,).

    ``ids`` and ``origins`` say which clips they are and what made them.
    """

    embeddings: Floats
    scores: Floats
    labels: Sequence[str]
    ids: Sequence[str]
    origins: Sequence[str]

    def of(self, label: str) -> NDArray[np.intp]:
        """Places of a class's clips."""
        return np.flatnonzero(np.array(self.labels, dtype=object) == label)


class Neighbour(NamedTuple):
    """A training clip near the one that is explained; ``distance`` in units of ||d||."""

    id: str
    origin: str
    distance: float


@dataclass(frozen=True)
class Place:
    """Where a clip lies among the landmarks.

    Attributes:
        u, v: see the module. ``distances``: to both means, in units of the distance between them.
        percentiles: of its distance to each class's mean, among that class's training clips: at 99,
            a hundredth of them are as far or farther.
        nearest: the class of the nearer mean. ``llr``: what the distances alone say, as a natural-log
            likelihood ratio, positive for bonafide and no larger than the held-out clips can show; None
            where they gave no scale.
        neighbours: the nearest of the kept training clips, by class.
    """

    u: float
    v: float
    distances: Mapping[str, float]
    percentiles: Mapping[str, float]
    nearest: str
    llr: float | None
    neighbours: Mapping[str, tuple[Neighbour, ...]] = field(default_factory=dict)

    def word(self, score: float) -> str:
        """How the place fits a network's score (above 0 says bonafide): one of ``WORDS``.

        ATYPICAL: farther from both means than 99 % of their training clips, so that the score is
        extrapolation. CONFLICT: the network names the class of the farther mean, or the clip is farther
        from the nearer one than 99 % of that class and lies within the spread of the other.
        """
        if min(self.percentiles.values()) > _RARE:
            return "ATYPICAL"
        named = "bonafide" if score > 0 else "spoof"
        agrees = named == self.nearest and self.percentiles[self.nearest] <= _RARE
        return "CONSISTENT" if agrees else "CONFLICT"


@dataclass(frozen=True)
class Landmarks:
    """Statistics of a detector's training clips, for placing others.

    Attributes:
        means: of both classes (2, dim), in the order of ``CLASSES``.
        quantiles: 1,001 of the distances to the own mean, for each class (2, 1001), in units of ||d||.
        density: share of each class's clips by cells of the plane (2, cells of u, cells of v), which
            ``edges_u`` and ``edges_v`` bound; the farthest clips lie outside.
        examples: embeddings of up to 1,000 clips of each class, ``example_labels``, ``example_ids`` and
            ``example_origins``.
        weight, offset: of the distances' log-likelihood ratio, fitted on held-out clips; None without.
        counts: how many clips of each class were taken for training and for ``held_out``.
        rates: how often each of ``WORDS`` came on held-out clips. ``nc4``: how often the network's
            class was not that of the nearest mean there.
        detector: digest of the weights they belong to.
    """

    means: Floats
    quantiles: Floats
    density: Floats
    edges_u: Floats
    edges_v: Floats
    examples: NDArray[np.float32]
    example_labels: tuple[str, ...]
    example_ids: tuple[str, ...]
    example_origins: tuple[str, ...]
    weight: float | None
    offset: float | None
    counts: Mapping[str, Mapping[str, int]]
    rates: Mapping[str, float]
    nc4: float | None
    detector: str

    @classmethod
    def fit(cls, training: Embedded, held_out: Embedded | None, *, detector: str = "") -> "Landmarks":
        """From clips that were learned from, and others that were not.

        Raises:
            ProtocolError: a class has no training clip, or both means are one point.

        >>> rng = np.random.default_rng(0)
        >>> labels = ["bonafide", "spoof"] * 50
        >>> h = rng.normal(size=(100, 3)) + np.array([[0, 0, 0], [9, 0, 0]] * 50)
        >>> ids = [str(n) for n in range(100)]
        >>> clips = Embedded(h, 4.5 - h[:, 0], labels, ids, ["-"] * 100)
        >>> marks = Landmarks.fit(clips, clips)
        >>> place = marks.place(h[1])
        >>> place.nearest, place.word(-3.0), place.neighbours["spoof"][0].id
        ('spoof', 'CONSISTENT', '1')
        """
        for name, clips in (("training", training), ("held-out", held_out)):
            if clips is not None and not np.isfinite(clips.embeddings).all():
                raise ProtocolError(f"landmarks: an embedding of a {name} clip is infinite or NaN.")
        means = np.stack([_mean(training, label) for label in CLASSES])
        apart = float(np.linalg.norm(means[1] - means[0]))
        if not apart > 0:
            raise ProtocolError("landmarks: the means of both classes are one point; nothing to tell.")
        u, v = plane(training.embeddings, means)
        own = [training.of(label) for label in CLASSES]
        signs = (0.5, -0.5)
        distances = [np.hypot(u[rows] + s, v[rows]) for rows, s in zip(own, signs, strict=True)]
        edges_u = _edges(u, _CELLS[0])
        edges_v = np.linspace(0, max(1e-9, 1.05 * np.quantile(v, 1 - _OUTSIDE)), _CELLS[1] + 1)
        density = [np.histogram2d(u[r], v[r], (edges_u, edges_v))[0] / len(r) for r in own]
        kept = np.concatenate([_examples(training.ids, rows) for rows in own])
        bare = cls(
            means=means,
            quantiles=np.stack([np.quantile(one, _QUANTILES) for one in distances]),
            density=np.stack(density),
            edges_u=edges_u,
            edges_v=edges_v,
            examples=training.embeddings[kept].astype(np.float32),
            example_labels=tuple(training.labels[n] for n in kept),
            example_ids=tuple(training.ids[n] for n in kept),
            example_origins=tuple(training.origins[n] for n in kept),
            weight=None,
            offset=None,
            counts={"training": _counts(training), "held_out": {}},
            rates={},
            nc4=None,
            detector=detector,
        )
        return bare if held_out is None else bare._judged(held_out)

    def _judged(self, held_out: Embedded) -> "Landmarks":
        """With what held-out clips say: the scale of a ratio, and how often words don't agree."""
        own = dict(vars(self))
        sides = [held_out.of(label) for label in CLASSES]
        if all(len(rows) for rows in sides):
            x = self._evidence(held_out.embeddings)
            fitted = fit_affine([x[sides[0]]], [x[sides[1]]])
            if fitted.weights[0] > 0:  # else clips of a class lie nearer to the other's mean
                own |= {"weight": fitted.weights[0], "offset": fitted.offset}
        known = np.sort(np.concatenate(sides))
        places = [self.place(held_out.embeddings[n], neighbours=0) for n in known]
        words = [p.word(float(held_out.scores[n])) for p, n in zip(places, known, strict=True)]
        if words:
            own["rates"] = {word: words.count(word) / len(words) for word in WORDS}
            differ = [
                (p.nearest == "bonafide") != (held_out.scores[n] > 0)
                for p, n in zip(places, known, strict=True)
            ]
            own["nc4"] = float(np.mean(differ))
        own["counts"] = {**self.counts, "held_out": _counts(held_out)}
        return Landmarks(**own)

    @property
    def apart(self) -> float:
        """Distance between both means, ||d||."""
        return float(np.linalg.norm(self.means[1] - self.means[0]))

    def place(self, embedding: Floats, *, neighbours: int = 5) -> Place:
        """Place one clip.

        Args:
            embedding: (dim,).
            neighbours: how many training clips of each class to name.

        Raises:
            ProtocolError: an embedding of another size, or one that isn't finite.
        """
        h = np.asarray(embedding, dtype=np.float64)
        if h.shape != self.means.shape[1:] or not np.isfinite(h).all():
            raise ProtocolError(
                f"landmarks: expected a finite embedding of {self.means.shape[1]} numbers, found "
                f"{h.shape}."
            )
        (u,), (v,) = plane(h[None], self.means)
        to = (float(np.hypot(u + 0.5, v)), float(np.hypot(u - 0.5, v)))
        ranks = (_percentile(self.quantiles[n], to[n]) for n in range(2))
        llr = None
        if self.weight is not None and self.offset is not None:
            llr = self.weight * float(self._evidence(h[None])[0]) + self.offset
            # Where held-out clips are perfectly apart the fit has no scale: n clips can't show more.
            most = float(np.log(1 + min(self.counts["held_out"].values())))
            llr = float(np.clip(llr, -most, most))
        return Place(
            u=float(u),
            v=float(v),
            distances=dict(zip(CLASSES, to, strict=True)),
            percentiles=dict(zip(CLASSES, ranks, strict=True)),
            nearest=CLASSES[0] if u < 0 else CLASSES[1],
            llr=llr,
            neighbours={label: self._near(h, label, neighbours) for label in CLASSES},
        )

    def _evidence(self, embeddings: Floats) -> Floats:
        """(||h - mu_F||^2 - ||h - mu_R||^2) / 2, in units of ||d||^2: it is -u."""
        return -plane(embeddings, self.means)[0]

    def _near(self, h: Floats, label: str, count: int) -> tuple[Neighbour, ...]:
        rows = np.flatnonzero(np.array(self.example_labels) == label)
        distances = np.linalg.norm(self.examples[rows].astype(np.float64) - h, axis=1) / self.apart
        order = np.argsort(distances, kind="stable")[:count]
        return tuple(
            Neighbour(
                self.example_ids[rows[n]], self.example_origins[rows[n]], float(distances[n])
            )
            for n in order
        )  # fmt: skip

    def write(self, folder: str | Path) -> None:
        """Write ``landmarks.safetensors`` into a detector's folder, atomically."""
        import torch

        told = {
            name: torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else _plain(value)
            for name, value in asdict(self).items()
        }
        save_state(Path(folder) / FILE, {"format": _FORMAT, **told})

    @classmethod
    def read(cls, folder: str | Path, *, detector: str = "") -> "Landmarks":
        """Read a detector folder's landmarks.

        Raises:
            CheckpointError: there are none, or they are of another detector's weights.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise CheckpointError(
                f"{path}: no such file, so nothing is known of the training clips. Detectors that "
                "`earwitness run` trains have it; make it with: earwitness landmarks DETECTOR MANIFEST"
            )
        told = load_state(path)
        try:
            if told.pop("format") != _FORMAT:
                raise KeyError("format")
            found = {k: v.numpy() if hasattr(v, "numpy") else _tupled(v) for k, v in told.items()}
            marks = cls(**found)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: not landmarks of this version ({error}).") from None
        if detector and marks.detector and marks.detector != detector:
            raise CheckpointError(
                f"{path}: made for other weights than this detector's; make it again with: "
                "earwitness landmarks DETECTOR MANIFEST"
            )
        return marks


def plane(embeddings: Floats, means: Floats) -> tuple[Floats, Floats]:
    """u and v of embeddings (clips, dim), by means (2, dim); see the module.

    >>> u, v = plane(np.array([[0.0, 0.0], [4.0, 8.0]]), np.array([[0.0, 0.0], [4.0, 0.0]]))
    >>> u.tolist(), v.tolist()
    ([-0.5, 0.5], [0.0, 2.0])
    """
    d = means[1] - means[0]
    length = np.linalg.norm(d)
    centred = np.asarray(embeddings, dtype=np.float64) - (means[0] + means[1]) / 2
    u = centred @ (d / length) / length
    return u, np.linalg.norm(centred - u[:, None] * d, axis=1) / length


def joined(parts: Sequence[Embedded]) -> Embedded:
    """Clips of several lists as one.

    >>> one = Embedded(np.zeros((1, 2)), np.zeros(1), ["spoof"], ["a"], ["-"])
    >>> joined([one, one]).ids
    ['a', 'a']
    """
    there = [part for part in parts if len(part.ids)] or list(parts[:1])
    lists = (
        [word for part in there for word in getattr(part, n)] for n in ("labels", "ids", "origins")
    )
    return Embedded(
        np.concatenate([part.embeddings for part in there]),
        np.concatenate([part.scores for part in there]),
        *lists,
    )


def _mean(clips: Embedded, label: str) -> Floats:
    rows = clips.of(label)
    if not len(rows):
        raise ProtocolError(f"landmarks: no {label} clip among the training clips.")
    return np.asarray(clips.embeddings[rows].mean(0, dtype=np.float64))


def _edges(u: Floats, cells: int) -> Floats:
    """From beyond both means and nearly all clips on one side to the other."""
    low, high = np.quantile(u, [_OUTSIDE, 1 - _OUTSIDE])
    low, high = min(float(low), -0.5), max(float(high), 0.5)
    room = 0.05 * (high - low)
    return np.linspace(low - room, high + room, cells + 1)


def _examples(ids: Sequence[str], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Up to ``_EXAMPLES`` of the rows, drawn by their ids alone, in their order."""
    if len(rows) <= _EXAMPLES:
        return rows
    drawn = sorted(rows, key=lambda n: hashlib.sha256(ids[n].encode()).digest())[:_EXAMPLES]
    return np.sort(np.array(drawn))


def _percentile(quantiles: Floats, distance: float) -> float:
    """Per cent of the training distances that are smaller, by their quantiles; ties to the middle."""
    below, upto = (np.searchsorted(quantiles, distance, side=s) for s in ("left", "right"))
    if below == len(quantiles):
        return 100.0
    if upto > below:
        return float(100 * (below + upto - 1) / 2 / (len(quantiles) - 1))
    if below == 0:
        return 0.0
    low, high = quantiles[below - 1], quantiles[below]
    return float(100 * (below - 1 + (distance - low) / (high - low)) / (len(quantiles) - 1))


def _counts(clips: Embedded) -> dict[str, int]:
    return {label: len(clips.of(label)) for label in CLASSES}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
