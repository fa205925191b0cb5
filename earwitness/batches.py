"""From a manifest to batches of equal-length clips (or vectors, or images), with explicit randomness.

The order of an epoch and every random crop are functions of (seed, task, epoch, position), never
of what was drawn before: that is what lets a killed run resume to the same bits.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness import audio
from earwitness.augment.base import Augment
from earwitness.corpora._kept import Kept
from earwitness.corpora.images import load_image
from earwitness.corpora.vectors import load_vectors
from earwitness.errors import ProtocolError
from earwitness.frontends.base import FrontEnd
from earwitness.references import References
from earwitness.trials import CLASSES, Manifest

__all__ = ["Batch", "Clips", "epoch_batches", "join_batches", "load_rows", "random_for"]

Rows = Callable[[NDArray[np.intp]], NDArray[np.float32]]

_ROWS = {"vector": 4096, "image": 64}  # scored together; the result does not depend on it
_SPOOF = CLASSES.index("spoof")
_IMAGES = Kept(1024)  # pixels as bytes: an image that is judged after every task is decoded once


@dataclass(frozen=True)
class Batch:
    """Clips that go through a detector together.

    ``wave`` (batch, samples), or (batch, dim) where vectors or the pixels of images (0 to 1) stand in
    for audio; ``length`` (batch,) valid samples of each row; ``label`` (batch,) index into the
    classes; ``reference`` as ``wave`` for back ends that want one, and ``reference_length``, which is
    0 where a clip has none; ``whole`` the labels of the batch that this one is a part of.
    """

    wave: Tensor
    length: Tensor
    label: Tensor
    ids: tuple[str, ...]
    reference: Tensor | None = None
    reference_length: Tensor | None = None
    whole: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        at_once = torch.device(device).type == "cuda"  # towards the host it would not be waited for
        return self._with(lambda value: value.to(device, non_blocking=at_once))

    def pinned(self) -> "Batch":
        """The same batch in memory that an accelerator copies from while it computes."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors = {n: change(v) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return Batch(ids=self.ids, **tensors)


def join_batches(one: Batch, other: Batch) -> Batch:
    """Two batches as one; the shorter waves are zero-padded at the end."""
    pair = _references(one, other) if one.reference is not None or other.reference is not None else {}
    return Batch(
        _stacked(one.wave, other.wave),
        torch.cat([one.length, other.length]),
        torch.cat([one.label, other.label]),
        one.ids + other.ids,
        **pair,
    )


def _stacked(one: Tensor, other: Tensor) -> Tensor:
    width = max(one.shape[1], other.shape[1])
    return torch.cat([torch.nn.functional.pad(w, (0, width - w.shape[1])) for w in (one, other)])


def _references(one: Batch, other: Batch) -> dict[str, Tensor]:
    """References of both; clips of a batch without any have length 0."""
    waves, lengths = [], []
    for batch in (one, other):
        there = batch.reference is not None and batch.reference_length is not None
        waves.append(batch.reference if there else batch.wave.new_zeros(len(batch), 1))
        lengths.append(batch.reference_length if there else torch.zeros_like(batch.length))
    return {"reference": _stacked(*waves), "reference_length": torch.cat(lengths)}  # type: ignore[arg-type]


def random_for(*numbers: int) -> np.random.Generator:
    """A generator that is a function of ``numbers`` alone.

    >>> bool(random_for(1, 2).integers(1000) == random_for(1, 2).integers(1000))
    True
    """
    return np.random.default_rng(np.random.SeedSequence(list(numbers)))


def epoch_batches(count: int, batch_size: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Shuffle ``count`` positions into batches of nearly equal size, none larger than asked.

    No clip is dropped and no batch is a lonely remainder.

    >>> [len(b) for b in epoch_batches(10, 4, random_for(0))]
    [4, 3, 3]
    """
    return np.array_split(rng.permutation(count), -(-count // batch_size))


class Clips:
    """What is behind a manifest: audio cut to one length, vectors or images; read once and kept.

    Args:
        manifest: its trials must be labelled with one of its classes.
        seconds: the length of every clip; shorter recordings are repeated.
        hop: seconds; random crops are then windows that scoring would hear, so that they come again.
            0 draws them anywhere.
        kind: ``"wave"``, ``"vector"`` for manifests of pre-extracted embeddings, or ``"image"``.
        cache_mib: how much decoded audio is kept in memory; the rest is read again when needed.
        size, channels: of images; see the front end ``pixels``.
        references: of the trials, for back ends that want them; each is cropped as its clip is.
        augment: what changes a clip, and its reference by itself, wherever crops are drawn at random.
            A clip that copy-synthesis made a spoof is labelled so.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        seconds: float = 3.0,
        hop: float = 0.0,
        kind: Literal["wave", "vector", "image"] = "wave",
        cache_mib: int = 4096,
        size: int = 32,
        channels: int = 3,
        references: References | None = None,
        augment: Augment | None = None,
    ):
        self.manifest = manifest
        self.samples = round(seconds * audio.SAMPLE_RATE)
        self.hop = round(hop * audio.SAMPLE_RATE)
        self.kind = kind
        self.labels = np.array([_class_index(t.label, t.id, manifest) for t in manifest])
        self._ids = [trial.id for trial in manifest]
        self._paths = [manifest.path(trial) for trial in manifest]
        self._cache: OrderedDict[Path, NDArray[np.float32]] = OrderedDict()
        self._room = cache_mib * 2**20
        self._one_at_a_time = threading.Lock()  # batches may be prepared ahead, in a thread
        self.references, self.augment = references, augment
        self._rows = None if kind == "wave" else _reader(manifest, kind, size=size, channels=channels)

    def __len__(self) -> int:
        return len(self.manifest)

    def batch(
        self, positions: Sequence[int] | NDArray[np.intp], rng: np.random.Generator | None = None
    ) -> Batch:
        """The clips at ``positions``; with ``rng`` longer ones are cropped at random, else at 0."""
        places = np.asarray(positions, dtype=np.intp)
        listed = places.tolist()
        labels = self.labels[places]
        if self._rows:
            rows = self._rows(places)
        else:
            clips = [self._cut(self._paths[p], rng) for p in listed]
            rows = np.stack([row for row, _ in clips])
            labels = np.where([made for _, made in clips], _SPOOF, labels)
        batch = Batch(
            torch.from_numpy(rows),
            torch.full((len(rows),), rows.shape[1], dtype=torch.long),
            torch.from_numpy(labels),
            tuple([self._ids[p] for p in listed]),
        )
        if self.references is None:
            return batch
        reference, length = self._beside(listed, rng)
        return replace(batch, reference=reference, reference_length=length)

    def batches(self, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One pass in random order."""
        for positions in epoch_batches(len(self), batch_size, rng):
            yield self.batch(positions, rng)

    def _cut(self, path: Path, rng: np.random.Generator | None) -> tuple[NDArray[np.float32], bool]:
        """One length of the recording, and whether augmentation made it a spoof."""
        wave = self._wave(path)
        row = audio.crop_or_repeat(wave, self.samples, start=self._start(len(wave), rng))
        if self.augment is None or rng is None:
            return row, False
        changed, drawn = self.augment(row, rng)
        return audio.crop_or_repeat(changed, self.samples), self.augment.made_spoof(drawn)

    def _start(self, samples: int, rng: np.random.Generator | None) -> int:
        spare = samples - self.samples
        if rng is None or spare <= 0:
            return 0
        if not self.hop:
            return int(rng.integers(spare + 1))
        starts = audio.windows(samples, self.samples, self.hop)
        return starts[int(rng.integers(len(starts)))]

    def _beside(self, positions: list[int], rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """A reference for each clip; zeros and length 0 where it has none."""
        assert self.references is not None
        paths = [self.references.choose(self.manifest.trials[p], rng) for p in positions]
        nothing = np.zeros(self.samples, dtype=np.float32)
        rows = np.stack([nothing if path is None else self._cut(path, rng)[0] for path in paths])
        length = torch.tensor([0 if path is None else self.samples for path in paths])
        return torch.from_numpy(rows), length

    def _wave(self, path: Path) -> NDArray[np.float32]:
        with self._one_at_a_time:
            return self._decoded(path)

    def _decoded(self, path: Path) -> NDArray[np.float32]:
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        wave = audio.read(path).wave
        self._room -= wave.nbytes
        while self._room < 0 and self._cache:
            self._room += self._cache.popitem(last=False)[1].nbytes
        self._cache[path] = wave
        return wave


def load_rows(manifest: Manifest, front_end: FrontEnd) -> Iterator[NDArray[np.float32]]:
    """The vectors or images that a front end eats, some trials at a time, in their order.

    Each is (trials, dim) or (trials, pixels); labels don't matter. Audio has no rows.
    """
    read = _reader(manifest, front_end.eats, **front_end.image)
    together = _ROWS[front_end.eats]
    for start in range(0, len(manifest), together):
        yield read(np.arange(start, min(start + together, len(manifest))))


def _reader(manifest: Manifest, kind: str, **image: int) -> Rows:
    """What gives the rows at some positions."""
    if kind == "vector":
        vectors = load_vectors(manifest)
        return lambda positions: vectors[positions]
    paths = [manifest.path(trial) for trial in manifest]

    def read(positions: NDArray[np.intp]) -> NDArray[np.float32]:
        pixels = [_IMAGES.get(paths[p], load_image, **image) for p in positions.tolist()]
        return np.stack(pixels).astype(np.float32) / np.float32(255)

    return read


def _class_index(label: str, id_: str, manifest: Manifest) -> int:
    if label not in manifest.classes:
        raise ProtocolError(
            f"manifest {manifest.name!r}: trial {id_!r} is labelled {label!r}; "
            f"learning needs {' or '.join(manifest.classes)}."
        )
    return manifest.classes.index(label)
