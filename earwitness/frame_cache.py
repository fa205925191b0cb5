"""Frames of a front end that doesn't learn, kept on disk: a second epoch costs reading.

What is kept is a function of one clip alone: each is heard by itself, never beside others, and found
again by the digest of its samples. So it doesn't matter who wrote it, when, or how often a run was
stopped in between. Below the cache's folder lies one folder for each front end; in it each process that
writes has a file of frames and a file that says where in it each clip is, which nobody else appends to.
A clip is listed after its frames are written: of a killed process, what is listed is whole.
"""

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import earwitness
from earwitness.errors import CheckpointError, RunError, SettingsError
from earwitness.files import write_json
from earwitness.frontends.base import Frames, FrontEnd

__all__ = ["FrameCache"]

_KINDS: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


@dataclass(frozen=True)
class _Place:
    """Where a clip's frames lie: a file's name, bytes from its start, and their shape."""

    file: str
    offset: int
    shape: tuple[int, ...]


class FrameCache:
    """Hears through a front end what it has not heard yet, and reads the rest from ``folder``.

    Several processes may use one folder at once; they read what others wrote.

    Args:
        folder: of caches; made when needed. Deleting it loses nothing but time.
        front_end: none of its weights may learn; frames are found again only for the same weights,
            settings, device, precision of computing, and versions of torch and this package.
        precision: ``float32``, or ``float16`` in half the room: then clips are heard rounded from the
            first time on, so that epochs don't differ.
        gib: room for all front ends' frames together. When it is full nothing is thrown away: what
            does not fit is heard anew each time, as epochs come round in circles.

    Raises:
        SettingsError: the front end learns, or does not hear clips one by one.

    >>> import tempfile
    >>> from earwitness.frontends import FRONTENDS
    >>> front_end = FRONTENDS.build("lfcc")
    >>> cache = FrameCache(tempfile.mkdtemp(), front_end)
    >>> wave, length = torch.randn(2, 16000), torch.tensor([16000, 9000])
    >>> first, second = cache.hear(wave, length), cache.hear(wave, length)
    >>> torch.equal(first.values, second.values), cache.heard, cache.read
    (True, 2, 2)
    """

    def __init__(
        self,
        folder: str | Path,
        front_end: FrontEnd,
        *,
        precision: Literal["float32", "float16"] = "float32",
        gib: float = 50.0,
    ):
        if precision not in _KINDS:
            raise SettingsError(f"cache: precision is {precision!r}; choose from {', '.join(_KINDS)}.")
        if not gib > 0:
            raise SettingsError(f"cache: gib is {gib}, expected > 0.")
        if front_end.eats != "wave" or not front_end.is_frozen:
            raise SettingsError(
                "cache: frames are kept of front ends that hear clips one by one and whose weights "
                "don't learn; leave [cache] out, or set the front end's tune to 'none'."
            )
        self.front_end, self.precision = front_end, precision
        self.root, self.room = Path(folder), int(gib * 2**30)
        self.heard = self.read = self.not_kept = 0
        self._opened: dict[Any, _Kept] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrameCache":
        return self  # a copied detector hears what this one hears

    def hear(self, wave: Tensor, length: Tensor) -> Frames:
        """The front end's `before` of waves (batch, samples) with valid ``length`` (batch,).

        Under ``torch.func`` (EWC's gradients of single clips) a wave has no samples to look up by, and
        the front end hears it again.
        """
        if torch._C._functorch.is_functorch_wrapped_tensor(wave):
            return self.front_end.before(wave, length)
        kept = self._kept(wave.device)
        rows = [row[:n] for row, n in zip(wave, length.tolist(), strict=True)]
        frames = [self._one(kept, row) for row in rows]
        count = torch.tensor([one.shape[-1] for one in frames])
        values = torch.zeros(len(rows), *frames[0].shape[:-1], int(count.max()))
        for row, one in zip(values, frames, strict=True):
            row[..., : one.shape[-1]] = torch.from_numpy(one.astype(np.float32))
        return Frames(values.to(wave), count.to(wave.device))

    def _one(self, kept: "_Kept", row: Tensor) -> NDArray[np.floating[Any]]:
        """(layer, feature, frame) or (feature, frame), of one clip without padding."""
        samples = row.detach().cpu().contiguous().numpy()
        name = hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest()
        known = kept.find(name)
        if known is not None:
            self.read += 1
            return known
        self.heard += 1
        with np.errstate(over="ignore"):  # told below
            frames = self._by_itself(row).astype(_KINDS[self.precision])
        if not np.isfinite(frames).all():
            raise RunError(
                f"cache: a front end's frames are infinite or NaN in {self.precision}; "
                "where they are only too large for float16, take float32."
            )
        if self.size() + frames.nbytes > self.room:
            self.not_kept += 1
        else:
            kept.keep(name, frames)
        return frames

    @torch.no_grad()
    def _by_itself(self, row: Tensor) -> NDArray[np.float32]:
        frames = self.front_end.before(row[None], torch.tensor([len(row)], device=row.device))
        return frames.values[0, ..., : int(frames.length[0])].float().cpu().numpy()

    def size(self) -> int:
        """Bytes of all frames below the folder, those of other processes and front ends too."""
        return sum(path.stat().st_size for path in self.root.glob("*/*.frames"))

    def _kept(self, device: torch.device) -> "_Kept":
        kind = device.type
        computing = (
            str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else "float32"
        )
        now = (f"{kind} {computing}", self._stamp())
        if now not in self._opened:
            told = self._about(now[0])
            key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
            self._opened[now] = _Kept(self.root / key, told, _KINDS[self.precision])
        return self._opened[now]

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes when any weight was written to, so that other weights are never taken for these."""
        values = self.front_end.state_dict(keep_vars=True).values()
        return tuple((v.data_ptr(), v._version) for v in values if not v.requires_grad)

    def weights(self) -> str:
        """A digest of those weights of the front end that don't learn."""
        total = hashlib.sha256()
        for name, value in self.front_end.state_dict(keep_vars=True).items():
            if not value.requires_grad:
                total.update(name.encode())
                total.update(value.detach().cpu().contiguous().numpy().tobytes())
        return total.hexdigest()

    def _about(self, place: str) -> dict[str, Any]:
        """All that frames depend on beside the clip."""
        return {
            "front_end": self.front_end.resolved(self.front_end.built_from),
            "weights": self.weights(),
            "place": place,
            "precision": self.precision,
            "earwitness": earwitness.__version__,
            "torch": torch.__version__,
        }


class _Kept:
    """The frames of one front end: those that all processes listed, and a file to add to."""

    def __init__(self, folder: Path, about: dict[str, Any], kind: np.dtype[Any]):
        self.folder, self.kind = folder, kind
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "about.json").is_file():
            write_json(folder / "about.json", about)
        self.places: dict[str, _Place] = {}
        self.seen: dict[str, int] = {}  # how far each list was read
        self.maps: dict[str, NDArray[np.uint8]] = {}
        self.own = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"

    def find(self, name: str) -> NDArray[np.floating[Any]] | None:
        """A clip's frames, or None where no process listed them."""
        if name not in self.places:
            self._read_lists()
        place = self.places.get(name)
        return None if place is None else self._at(place)

    def keep(self, name: str, frames: NDArray[np.floating[Any]]) -> None:
        """Write frames, then list them: in this order a kill leaves nothing half listed."""
        with open(self.folder / f"{self.own}.frames", "ab") as file:
            place = _Place(self.own, file.tell(), frames.shape)
            file.write(frames.tobytes())
        line = {"clip": name, "offset": place.offset, "shape": place.shape}
        with open(self.folder / f"{self.own}.list", "a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")
        self.places[name] = place

    def _read_lists(self) -> None:
        """What was listed since the last look; a line that a kill cut off is no line."""
        for path in self.folder.glob("*.list"):
            start = self.seen.get(path.stem, 0)
            if path.stem == self.own or path.stat().st_size == start:
                continue
            with open(path, "rb") as file:
                file.seek(start)
                whole, _, _ = file.read().rpartition(b"\n")
            self.seen[path.stem] = start + len(whole) + bool(whole)
            for line in whole.splitlines():
                told = json.loads(line)
                self.places[told["clip"]] = _Place(path.stem, told["offset"], tuple(told["shape"]))

    def _at(self, place: _Place) -> NDArray[np.floating[Any]]:
        size = int(np.prod(place.shape)) * self.kind.itemsize
        end = place.offset + size
        path = self.folder / f"{place.file}.frames"
        if place.file not in self.maps or len(self.maps[place.file]) < end:
            if not path.is_file() or path.stat().st_size < end:
                raise CheckpointError(
                    f"{path}: frames that were listed are not there; delete the folder "
                    f"{self.folder}, and they are heard anew."
                )
            self.maps[place.file] = np.memmap(path, dtype=np.uint8, mode="r")
        return self.maps[place.file][place.offset : end].view(self.kind).reshape(place.shape)
