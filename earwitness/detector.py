"""A detector: one front end and one back end; wave in, score and embedding out.

On disk it is a folder: ``weights.safetensors`` and ``card.json``, which says how to build it, what
it was trained on, how it scores, and what the weights' digest is. No code is ever loaded.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import earwitness
from earwitness import audio
from earwitness.backends import BACKENDS
from earwitness.backends._heads import make_head
from earwitness.backends.base import Output
from earwitness.errors import CheckpointError, SettingsError
from earwitness.files import digest, is_read_only, read_card, write_atomically, write_json
from earwitness.frame_cache import FrameCache
from earwitness.frontends import FRONTENDS
from earwitness.frontends.base import Frames
from earwitness.rules import RULES
from earwitness.rules.base import UNKNOWN, Rule
from earwitness.trials import CLASSES
from earwitness.windows import ClipScore, Windows

__all__ = ["ClipScore", "Detector", "Windows"]

_FORMAT = "earwitness-detector"
_CARD_KEYS = (
    *("format", "format_version", "front_end", "back_end", "sample_rate", "weights_sha256"),
    *("classes", "known", "rule"),
)


class Detector(nn.Module):
    """A countermeasure. Build with ``Detector.build``, load with ``Detector.load``.

    >>> detector = Detector.build("logmel", "linear", seed=0)
    >>> detector(torch.randn(2, 16000)).score.shape
    torch.Size([2])
    """

    def __init__(
        self,
        front_end: Mapping[str, Any],
        back_end: Mapping[str, Any],
        *,
        windows: Windows | None = None,
        classes: Iterable[str] = CLASSES,
        card: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.classes = tuple(classes)
        self.known = self.classes
        self._unknown = torch.zeros(len(self.classes), dtype=torch.bool)
        self._rule: tuple[Rule, ...] = ()  # in a tuple: it is judged by, not trained
        self.front_end = FRONTENDS.build(**front_end)
        given: dict[str, int] = {"features": self.front_end.features, "classes": len(self.classes)}
        if BACKENDS.get(back_end["name"]).wants_layers:
            given["layers"] = self.front_end.layers
        elif self.front_end.layers:
            raise SettingsError(
                f"the back end {back_end['name']!r} hears one layer and the front end gives "
                f"{self.front_end.layers}; set its layers to 'weighted' or to one of them."
            )
        fixed = {name: given[name] for name in given if name != "classes"}
        own = {**given, **back_end, **fixed}
        kind = own.pop("head", "linear")
        self.back_end = BACKENDS.build(**own)
        self.back_end.require_fit(self.front_end)
        if kind != "linear":
            self.back_end.head = make_head(kind, self.back_end.dim, len(self.classes))
        if self.back_end.head.out_features != len(self.classes):
            raise SettingsError(
                f"the back end has {self.back_end.head.out_features} logits for "
                f"{len(self.classes)} classes ({', '.join(self.classes)}); leave its setting out."
            )
        self.settings = {
            "front_end": self.front_end.resolved(self.front_end.built_from),
            "back_end": {k: v for k, v in self.back_end.built_from.items() if k not in given}
            | ({} if kind == "linear" else {"head": kind}),
        }
        self.cache: FrameCache | None = None
        self.windows = windows or Windows()
        self.require_seconds(self.windows.seconds, "windows.seconds")
        self.card = dict(card or {})

    @classmethod
    def build(
        cls,
        front_end: str | Mapping[str, Any] = "logmel",
        back_end: str | Mapping[str, Any] = "resnet",
        *,
        seed: int = 0,
        windows: Windows | None = None,
        classes: Iterable[str] = CLASSES,
    ) -> "Detector":
        """A new detector with random weights; names, or mappings with ``name`` and settings.

        The weights are a function of ``seed``; the caller's random state is left alone.

        Raises:
            SettingsError: an unknown component or setting.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(_named(front_end), _named(back_end), windows=windows, classes=classes)

    @property
    def min_samples(self) -> int:
        """The shortest clip that front and back end can hear."""
        return self.front_end.samples_for(self.back_end.min_frames)

    def require_seconds(self, seconds: float, setting: str) -> None:
        """Raise when clips of that length are too short for this detector."""
        least = self.min_samples / audio.SAMPLE_RATE
        if self.front_end.eats == "wave" and seconds < least:
            raise SettingsError(
                f"{setting} is {seconds} s; this front end and back end need at least {least:.3f} s."
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def digest(self) -> str:
        """SHA-256 over names and bits of the weights: two detectors that score alike share it."""
        import hashlib

        total = hashlib.sha256()
        for name, value in self.whole_state().items():
            total.update(name.encode())
            total.update(value.detach().cpu().contiguous().numpy().tobytes())
        if self.classes != CLASSES:
            total.update(repr((self.classes, self.known)).encode())
        return total.hexdigest()

    @property
    def wants_reference(self) -> bool:
        """Whether it can hear a genuine recording of the same speaker beside the one that it judges."""
        return self.back_end.wants_reference

    def forward(
        self,
        wave: Tensor,
        length: Tensor | None = None,
        reference: Tensor | None = None,
        reference_length: Tensor | None = None,
    ) -> Output:
        """Waves (batch, samples) with valid ``length`` (batch,) to logits, embedding, score.

        A ``reference`` (batch, samples) is heard by back ends that want one; a clip whose
        ``reference_length`` is 0 has none.
        """
        if length is None:
            length = torch.full((len(wave),), wave.shape[1], dtype=torch.long, device=wave.device)
        if int(length.min()) < self.min_samples:
            raise SettingsError(
                f"a clip has {int(length.min())} samples; this detector needs {self.min_samples}. "
                "Repeat or pad short clips first, as Detector.score does."
            )
        output = self._weigh(wave, length, reference, reference_length)
        if self.known == self.classes:
            return output
        unknown = self._unknown.to(output.logits.device)
        return Output(output.logits.masked_fill(unknown, UNKNOWN), output.embedding)

    def _weigh(
        self, wave: Tensor, length: Tensor, reference: Tensor | None, reference_length: Tensor | None
    ) -> Output:
        if reference is None or not self.wants_reference:
            return self.back_end(self.frames(wave, length))
        if reference_length is None:
            reference_length = torch.full_like(length, reference.shape[1])
        if self.back_end.joins_waves:
            return self.back_end(self.frames(*_joined(reference, reference_length, wave, length)))
        there = reference_length > 0
        if not bool(there.any()):
            return self.back_end(self.frames(wave, length))
        # Clips without a reference: the front end gets a second of silence, the back end length 0.
        heard = torch.where(there, reference_length, self.min_samples)
        frames = self.frames(_at_least(reference, self.min_samples), heard)
        frames = Frames(frames.values, torch.where(there, frames.length, 0))
        return self.back_end(self.frames(wave, length), frames)

    def frames(self, wave: Tensor, length: Tensor) -> Frames:
        """What the front end makes of waves; from the ``cache``, where there is one."""
        if self.cache is None:
            return self.front_end(wave, length)
        return self.front_end.finish(self.cache.hear(wave, length))

    def hear(self, batch: Any) -> Output:
        """``forward`` on a `batches.Batch`, with its references where it has some."""
        return self(batch.wave, batch.length, batch.reference, batch.reference_length)

    def judge(self, wave: Tensor, length: Tensor | None = None, *reference: Tensor | None) -> Output:
        """As ``forward``, with the logits that its decision rule gives, where there is one.

        Scores are made with this; training is not. A rule hears no references.
        """
        return self.rule(self, wave, length) if self.rule else self(wave, length, *reference)

    @property
    def rule(self) -> Rule | None:
        """What decides in place of the logits, or None."""
        return self._rule[0] if self._rule else None

    def set_rule(self, rule: Rule | None) -> None:
        """Decide by ``rule``, or by the logits again."""
        self._rule = (rule.to(self.device).eval(),) if rule else ()

    def know(self, names: Iterable[str]) -> None:
        """Only these classes can be named; the logits of the others become ``UNKNOWN``.

        Raises:
            SettingsError: none of the detector's classes, or none at all.
        """
        self.known = tuple(names)
        strangers = [name for name in self.known if name not in self.classes]
        if strangers or not self.known:
            raise SettingsError(
                f"{strangers[0] if strangers else 'nothing'!r} can't be known; the detector's classes "
                f"are {', '.join(self.classes)}."
            )
        self._unknown = torch.tensor([c not in self.known for c in self.classes])

    def _apply(self, fn: Any, recurse: bool = True) -> "Detector":
        """What ``to``, ``double`` and the like do to the weights, they do to the rule."""
        super()._apply(fn, recurse)
        for rule in self._rule:
            rule._apply(fn, recurse)
        return self

    def whole_state(self) -> dict[str, Tensor]:
        """``state_dict`` and, as ``rule.<name>``, what its rule knows: all that a score depends on."""
        rule = self.rule.state_dict() if self.rule else {}
        return self.state_dict() | {f"rule.{name}": value for name, value in rule.items()}

    def score(
        self,
        recording: str | Path | Any,
        *,
        windows: Windows | None = None,
        reference: str | Path | Any = None,
    ) -> ClipScore:
        """Score a whole recording (a path, or a mono wave at 16 kHz) in overlapping windows.

        A ``reference`` is a genuine recording of the same speaker, heard from its beginning for as long
        as a window, by back ends that want one.

        Raises:
            SettingsError: the detector was made for vectors, or hears no references.
            AudioError: the file cannot be used; the message says why.
        """
        self._require_scores()
        wave = audio.read(recording).wave if isinstance(recording, str | Path) else recording
        policy = windows or self.windows
        window, hop = (round(s * audio.SAMPLE_RATE) for s in (policy.seconds, policy.hop))
        starts = audio.windows(len(wave), window, hop)
        beside = self._beside(reference, window)
        scores = [
            s
            for first in range(0, len(starts), 64)  # bounded memory for recordings of any length
            for s in self._score_some(wave, starts[first : first + 64], window, beside)
        ]
        return ClipScore.of([s / audio.SAMPLE_RATE for s in starts], scores)

    def _beside(self, reference: Any, window: int) -> Tensor | None:
        """The reference's first samples (samples,)."""
        if reference is None:
            return None
        if not self.wants_reference:
            raise SettingsError(
                f"the back end {self.settings['back_end']['name']!r} hears no references; leave it out."
            )
        wave = audio.read(reference).wave if isinstance(reference, str | Path) else reference
        return torch.as_tensor(wave[:window], dtype=torch.float32, device=self.device)

    def _require_scores(self) -> None:
        if self.front_end.eats != "wave":
            kind = f"{self.front_end.eats}s"
            raise SettingsError(f"this detector eats {kind}, not audio; score a manifest of {kind}.")
        if self.classes != CLASSES:
            raise SettingsError(
                f"a score weighs bonafide against spoof; this names {', '.join(self.classes)}. "
                "Use judge() and its logits, or score a manifest of these classes."
            )

    def _score_some(
        self, wave: Any, starts: list[int], window: int, beside: Tensor | None
    ) -> list[float]:
        rows = [audio.crop_or_repeat(wave, window, start=start) for start in starts]
        pair = () if beside is None else (beside.expand(len(rows), -1),)
        return self.score_windows(np.stack(rows).astype(np.float32), *pair).tolist()

    @torch.no_grad()
    def score_windows(self, rows: NDArray[np.float32], *reference: Tensor) -> NDArray[np.float64]:
        """Windows (n, samples) of mono waves at 16 kHz to their scores (n,).

        Raises:
            SettingsError: the detector was made for vectors, names other classes, or needs longer ones.
        """
        self._require_scores()
        modes = {module: module.training for module in self.modules()}
        self.eval()
        scores = self.judge(torch.from_numpy(rows).to(self.device), None, *reference).score
        for module, mode in modes.items():
            module.training = mode
        return scores.cpu().double().numpy()

    def save(self, folder: str | Path) -> None:
        """Write ``weights.safetensors`` and ``card.json`` into a folder, each atomically."""
        if is_read_only():
            return
        folder = Path(folder)
        state = self.whole_state()
        weights = {n: v.detach().cpu().contiguous() for n, v in state.items()}
        path = folder / "weights.safetensors"
        write_atomically(path, lambda temporary: save_file(weights, temporary))
        write_json(
            folder / "card.json",
            {
                "format": _FORMAT,
                "format_version": 1,
                "version": earwitness.__version__,
                **self.settings,
                "windows": {"seconds": self.windows.seconds, "hop": self.windows.hop},
                "sample_rate": audio.SAMPLE_RATE,
                "classes": list(self.classes),
                "known": list(self.known),
                "rule": dict(self.rule.built_from) if self.rule else None,
                "orientation": "score = bonafide logit - spoof logit; higher = more bonafide"
                if self.classes == CLASSES
                else "one logit a class",
                "weights_sha256": digest(path),
                **{k: v for k, v in self.card.items() if k not in _CARD_KEYS},
            },
        )

    @classmethod
    def load(cls, folder: str | Path, *, tune: str | None = None) -> "Detector":
        """Read a detector that ``save`` wrote, in evaluation mode.

        ``tune`` has other weights of its front end learn from now on (see the front end ``ssl``): a
        second stage of training.

        Raises:
            CheckpointError: absent, truncated, corrupted, foreign, or of another version.
            SettingsError: ``tune``, and the front end has no such setting, or other weights with it.
        """
        folder = Path(folder)
        card = _read_card(folder)
        if tune is not None:
            card["front_end"] = _retuned(card["front_end"], tune)
        path = folder / "weights.safetensors"
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; a detector has card.json and weights.")
        found = digest(path)
        if found != card["weights_sha256"]:
            raise CheckpointError(
                f"{path}: the weights are corrupted or belong to another card "
                f"(SHA-256 {found[:12]}…, the card says {card['weights_sha256'][:12]}…)."
            )
        extra = {k: v for k, v in card.items() if k not in _CARD_KEYS}
        try:
            detector = cls(
                card["front_end"],
                card["back_end"],
                windows=Windows(**card["windows"]),
                classes=card["classes"],
                card=extra,
            )
            detector.know(card["known"])
            detector._load(load_file(path), card["rule"])
        except (SafetensorError, RuntimeError, SettingsError, TypeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{folder}: card and weights don't make a detector ({error})."
            ) from None
        return detector.eval()

    def _load(self, weights: dict[str, Tensor], rule: Mapping[str, Any] | None) -> None:
        of_rule = {n.removeprefix("rule."): v for n, v in weights.items() if n.startswith("rule.")}
        self.load_state_dict({n: v for n, v in weights.items() if not n.startswith("rule.")})
        if rule is not None:
            built = RULES.build(**rule)
            built.load_state_dict(of_rule)
            self.set_rule(built)


def _retuned(front_end: Mapping[str, Any], tune: str) -> dict[str, Any]:
    """Settings of a front end whose other weights learn; adapters are weights that others lack."""
    before = front_end.get("tune")
    if before is None:
        raise SettingsError(f"the front end {front_end['name']!r} has no setting 'tune'.")
    if "lora" in (before, tune) and before != tune:
        raise SettingsError(
            f"a detector with tune = {before!r} can't go on with {tune!r}: adapters are other weights."
        )
    return {**front_end, "tune": tune}


def _at_least(wave: Tensor, samples: int) -> Tensor:
    return torch.nn.functional.pad(wave, (0, max(0, samples - wave.shape[1])))


def _joined(
    reference: Tensor, reference_length: Tensor, wave: Tensor, length: Tensor
) -> tuple[Tensor, Tensor]:
    """Each clip's reference, then the clip, as one wave."""
    total = reference_length + length
    joined = wave.new_zeros(len(wave), int(total.max()))
    for row, (before, after) in enumerate(zip(reference_length.tolist(), length.tolist(), strict=True)):
        joined[row, :before] = reference[row, :before]
        joined[row, before : before + after] = wave[row, :after]
    return joined, total


def _named(component: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(component, str):
        return {"name": component}
    if "name" not in component:
        raise SettingsError(f"a component needs a name; found only {sorted(component)}.")
    return component


def annotate(folder: str | Path, **entries: Any) -> None:
    """Put entries of one's own into the card of a saved detector, atomically; its weights stay.

    Raises:
        CheckpointError: no detector is there.
        SettingsError: an entry that `Detector.save` writes itself.
    """
    folder = Path(folder)
    own = [name for name in entries if name in (*_CARD_KEYS, "windows")]
    if own:
        raise SettingsError(
            f"{', '.join(own)}: the detector's own entries of its card are not for notes."
        )
    _read_card(folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    write_json(folder / "card.json", {**card, **entries})


def _read_card(folder: Path) -> dict[str, Any]:
    written_by = "Detector.save or `earwitness run`"
    card = read_card(folder, _FORMAT, of="an earwitness detector", written_by=written_by)
    card = {"known": card.get("classes"), "rule": None, **card}  # version 0.1.0 had neither
    missing = [key for key in (*_CARD_KEYS, "windows") if key not in card]
    if not missing and not isinstance(card["weights_sha256"], str):
        missing = ["weights_sha256"]
    if missing or card["format_version"] != 1 or card["sample_rate"] != audio.SAMPLE_RATE:
        raise CheckpointError(
            f"{folder / 'card.json'}: expected format version 1 at {audio.SAMPLE_RATE} Hz, found "
            f"version {card.get('format_version')} at {card.get('sample_rate')} Hz, missing {missing}."
        )
    return card
