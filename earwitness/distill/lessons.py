"""Lessons: all that a student needs from its teacher, so that the teacher is not heard again.

One row for each window of each training clip: the norm of the teacher's embedding, its norm from the
global mean, and the logits; once, the teacher's means by class and by generator. A row is found by the
digest of the clip's id and the samples that were heard, or where lessons are of whole clips, of the id.
No audio and no embedding is kept.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from earwitness.batches import Batch
from earwitness.errors import CheckpointError, ProtocolError, SettingsError
from earwitness.state import load_state, save_state
from earwitness.trials import Manifest, Trial

__all__ = ["Heard", "Lesson", "Lessons", "View", "digests", "generators_of"]

View = Literal["window", "clip"]

_FORMAT = "earwitness-lessons-1"
_DIGEST = 16  # bytes


class Lesson(NamedTuple):
    """What the teacher said of a batch's clips.

    ``norms`` and ``centred_norms`` (clips,), ``logits`` (clips, classes), and ``generators`` (clips,),
    each clip's row of `Lessons.generator_means`.
    """

    norms: Tensor
    centred_norms: Tensor
    logits: Tensor
    generators: Tensor


@dataclass(frozen=True)
class Lessons:
    """A teacher's word on training clips.

    Attributes:
        keys: (rows, 16) bytes, digests of what was heard.
        norms, centred_norms: (rows,), of the embedding and of its difference from ``centre``.
        logits: (rows, classes). ``labels``, ``generators``: (rows,), places in ``classes`` and in
            ``generator_names``.
        means: (classes, dim) in float64, over a class's clips; a clip is the mean over its windows.
        generator_means: (generators, dim), the same by bonafide and each generator.
        classes, generator_names: what the rows of the means are. ``clips``: how many of each class.
        view: ``window``, a row for each window, or ``clip``, a row for each clip: means over windows.
        seconds, hop: of the windows.
        teacher: digest of its weights. ``fingerprint``: of the manifest that it heard.
    """

    keys: Tensor
    norms: Tensor
    centred_norms: Tensor
    logits: Tensor
    labels: Tensor
    generators: Tensor
    means: Tensor
    generator_means: Tensor
    classes: tuple[str, ...]
    generator_names: tuple[str, ...]
    clips: tuple[int, ...]
    view: View
    seconds: float
    hop: float
    teacher: str
    fingerprint: str

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        heard: Iterable["Heard"],
        *,
        view: View = "window",
        seconds: float = 0.0,
        hop: float = 0.0,
        teacher: str = "",
    ) -> "Lessons":
        """From what the teacher made of each of the manifest's clips, in their order.

        ``heard`` is gone through twice, for the means and for the distances from them, so that not all
        embeddings need to be in memory at once.

        Raises:
            ProtocolError: a class has no clip.
        """
        names = generators_of(manifest)
        made_by = torch.tensor([names.index(_made_by(trial)) for trial in manifest])
        means, generator_means = _both_means(manifest, made_by, names, heard)
        rows = [one.rows(t.id, view, means.mean(0)) for one, t in zip(heard, manifest, strict=True)]
        keys, norms, centred, logits = (torch.cat(parts) for parts in zip(*rows, strict=True))
        repeats = torch.tensor([len(own) for own, *_ in rows])
        labels = torch.tensor([manifest.classes.index(trial.label) for trial in manifest])
        return cls(
            keys, norms.float(), centred.float(), logits.float(), labels.repeat_interleave(repeats),
            made_by.repeat_interleave(repeats),
            means, generator_means, manifest.classes, names,
            tuple(manifest.counts().get(name, 0) for name in manifest.classes), view, seconds, hop,
            teacher, manifest.fingerprint(),
        )  # fmt: skip

    @property
    def centre(self) -> Tensor:
        """The global mean (dim,): that of the class means, which weigh the same."""
        return self.means.mean(0)

    @property
    def dim(self) -> int:
        """Of the teacher's embedding."""
        return self.means.shape[1]

    def likeness(self) -> float:
        """The largest cosine between two classes' means: 1 where they are all but one direction.

        Above 0.5 the plain ND loss mostly lengthens what the classes share; ``nd-centred`` doesn't.
        """
        directions = torch.nn.functional.normalize(self.means.double(), dim=1)
        cosines = directions @ directions.T
        return float(cosines[~torch.eye(len(cosines), dtype=torch.bool)].max())

    def find(self, batch: Batch) -> Lesson:
        """What the teacher said of the batch's clips.

        Raises:
            SettingsError: it has not heard one of them, or under another label; the message says what.
        """
        if self.view == "clip":
            names = _digests_of_ids(batch.ids)
        else:
            names = digests(batch.ids, batch.wave, batch.length)
        rows = [self._rows.get(name, -1) for name in names]
        if -1 in rows:
            raise SettingsError(self._never_heard(batch.ids[rows.index(-1)], batch.wave.shape[1]))
        found = torch.tensor(rows)
        other = (self.labels[found] != batch.label.cpu()).nonzero().flatten().tolist()
        if other:
            raise SettingsError(
                f"clip {batch.ids[other[0]]!r} has another label than the teacher's clip had; "
                "augmentation that makes spoofs of genuine speech can't be taught by what was said of "
                "the clean clip: leave it out."
            )
        parts = (self.norms, self.centred_norms, self.logits, self.generators)
        return Lesson(*(part[found].to(batch.wave.device) for part in parts))

    def _never_heard(self, id_: str, samples: int) -> str:
        if self.view == "clip":
            return f"the lessons know no clip {id_!r}; make them again for this stream."
        windows = f"windows of {self.seconds:g} s every {self.hop:g} s"
        return (
            f"the lessons have nothing on {samples} samples of clip {id_!r}; the teacher heard "
            f"{windows}. Learn with training.crops = 'windows', the same training.seconds and no "
            "training.augment; or have `earwitness distill` make lessons for this experiment elsewhere."
        )

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        whole = self.keys.numpy().tobytes()
        return {whole[n * _DIGEST : (n + 1) * _DIGEST]: n for n in range(len(self.keys))}

    def write(self, path: str | Path) -> None:
        """Write the lessons as one file, atomically."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        save_state(path, {"format": _FORMAT, **told})

    @classmethod
    def read(cls, path: str | Path) -> "Lessons":
        """Read what ``write`` wrote.

        Raises:
            CheckpointError: absent, damaged or foreign.
        """
        if not Path(path).is_file():
            raise CheckpointError(
                f"{path}: no such file; lessons are made by: "
                "earwitness distill EXPERIMENT --teacher DETECTOR"
            )
        told = load_state(path)
        try:
            if told.pop("format") != _FORMAT:
                raise KeyError("format")
            found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
            return cls(**found)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: not lessons of this version ({error}).") from None


class Heard(NamedTuple):
    """What a teacher made of one clip's windows.

    ``keys`` (windows, 16) bytes, ``embeddings`` (windows, dim), ``logits`` (windows, classes).
    """

    keys: Tensor
    embeddings: Tensor
    logits: Tensor

    def rows(self, id_: str, view: View, centre: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Keys, norms, norms from ``centre``, and logits: a row a window, or one of the clip."""
        h = self.embeddings.double()
        norms, centred = (torch.linalg.vector_norm(x, dim=1) for x in (h, h - centre))
        if view == "window":
            return self.keys, norms, centred, self.logits
        key = torch.frombuffer(bytearray(_digests_of_ids([id_])[0]), dtype=torch.uint8)[None]
        return key, norms.mean(0, True), centred.mean(0, True), self.logits.mean(0, True)


def _both_means(
    manifest: Manifest, made_by: Tensor, names: Sequence[str], heard: Iterable[Heard]
) -> tuple[Tensor, Tensor]:
    """By class and by generator, in float64; a clip counts once, however many windows it has."""
    of_class = torch.zeros(len(names), dtype=torch.long)
    sums: Tensor | None = None
    for one, trial, place in zip(heard, manifest, made_by.tolist(), strict=True):
        mean = one.embeddings.double().mean(0)
        sums = mean.new_zeros(len(names), len(mean)) if sums is None else sums
        sums[place] += mean
        of_class[place] = manifest.classes.index(trial.label)
    assert sums is not None  # a manifest has trials
    counts = made_by.bincount(minlength=len(names)).double()
    absent = set(range(len(manifest.classes))) - set(of_class[counts > 0].tolist())
    if absent:
        name = manifest.classes[min(absent)]
        raise ProtocolError(f"manifest {manifest.name!r}: no clip of {name}, so it has no mean.")
    whole = sums.new_zeros(len(manifest.classes), sums.shape[1]).index_add_(0, of_class, sums)
    clips = counts.new_zeros(len(manifest.classes)).index_add_(0, of_class, counts)
    return whole / clips[:, None], sums / counts[:, None]


def digests(ids: Sequence[str], wave: Tensor, length: Tensor) -> list[bytes]:
    """A name for what is heard of each clip: rows of ``wave`` (batch, samples).

    Of the id too, as a second of silence may stand in clips of both classes.
    """
    rows = wave.detach().cpu().contiguous().numpy()
    heard = (row[:n] for row, n in zip(rows, length.tolist(), strict=True))
    return [_digest(id_.encode() + b"\0" + one.tobytes()) for id_, one in zip(ids, heard, strict=True)]


def _digest(told: bytes) -> bytes:
    return hashlib.blake2b(told, digest_size=_DIGEST).digest()


def _digests_of_ids(ids: Sequence[str]) -> list[bytes]:
    return [_digest(id_.encode()) for id_ in ids]


def generators_of(manifest: Manifest) -> tuple[str, ...]:
    """What the manifest's clips were made by: its first class, then everything else by name.

    Spoofs are made by their generator (the column ``attack``), or where nobody knows it by "spoof";
    clips of any other class by that class.
    """
    first = manifest.classes[0]  # its mean is there whether it has clips or not: that is refused later
    return (first, *sorted({_made_by(trial) for trial in manifest} - {first}))


def _made_by(trial: Trial) -> str:
    known = trial.label == "spoof" and trial.attack not in ("", "-", "bonafide")
    return trial.attack if known else trial.label
