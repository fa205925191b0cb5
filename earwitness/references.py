"""Which genuine recording of its speaker a trial is heard beside, and what becomes of it on the way.

For back ends that want a reference. A choice is a function of the trial's id (or, in training, of the
step), never of what was drawn before, so it is the same for any number of processes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.trials import Manifest, Trial

__all__ = [
    "POLICIES",
    "WAYS",
    "Policy",
    "References",
    "Way",
    "find_references",
    "read_enrolment",
]

POLICIES = ("none", "same-speaker", "rat-compat", "enrolment")
WAYS = ("real", "zero", "none", "silence", "noise", "snr", "duration", "mismatch")
_RATE = 16_000
Wave = NDArray[np.float32]


@dataclass(frozen=True)
class References:
    """Candidates for each trial, ``paths[speaker]`` with the ids of those that are trials themselves.

    >>> trials = [Trial(i, f"{i}.wav", label, speaker="s") for i, label in
    ...           [("a", "bonafide"), ("b", "bonafide"), ("c", "spoof")]]
    >>> references = find_references(Manifest("toy", trials), "same-speaker")
    >>> [references.choose(t).name for t in trials[:2]], references.missing
    (['b.wav', 'a.wav'], ())
    """

    policy: str
    paths: Mapping[str, Sequence[tuple[str, Path]]]
    excludes_self: bool = True
    missing: tuple[str, ...] = ()
    seed: int = 0
    speakers: tuple[str, ...] = ()

    def choose(
        self, trial: Trial, rng: np.random.Generator | None = None, *, mismatch: bool = False
    ) -> Path | None:
        """One of the trial's references, None where it has none.

        Args:
            trial: whose speaker is looked up.
            rng: draws anew, as in training; without it the trial's id decides.
            mismatch: one of another speaker, drawn evenly over speakers.
        """
        chosen = rng or _by_id(self.seed, trial.id)
        speaker = trial.speaker
        if mismatch:
            others = [one for one in self.speakers if one != speaker]
            if not others:
                return None
            speaker = others[int(chosen.integers(len(others)))]
        several = self.paths.get(speaker, ())
        if self.excludes_self:
            several = [one for one in several if one[0] != trial.id]
        return several[int(chosen.integers(len(several)))][1] if several else None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Where references come from, in training and when scores are made; ``none`` gives none.

    Args:
        training: ``none``, ``same-speaker``, ``rat-compat`` or ``enrolment``.
        scoring: the same; none by default, as what helped in learning may be taken away.
        enrolment: a list of each speaker's files, and ``root``: the folder where they lie.
        seed: of the choice when scores are made.
        without: trials that have no reference by the training policy are heard without one (``keep``),
            or left out of the experiment (``leave-out``), so that both ways are judged on the same.

    >>> Policy(training="same-speaker").of(Manifest("m", [Trial("a", "a.wav", "spoof")]), "scoring")
    """

    training: Literal["none", "same-speaker", "rat-compat", "enrolment"] = "none"
    scoring: Literal["none", "same-speaker", "rat-compat", "enrolment"] = "none"
    enrolment: str = ""
    root: str = ""
    seed: int = 0
    without: Literal["keep", "leave-out"] = "keep"

    def kept(self, manifest: Manifest) -> Manifest:
        """The trials that take part.

        A trial that is left out is no reference any more, so others may have to go after it.
        """
        while self.without == "leave-out":
            found = self.of(manifest, "training")
            if found is None or not found.missing:
                break
            missing = set(found.missing)
            manifest = manifest.where(lambda trial, gone=missing: trial.id not in gone)  # type: ignore[misc]
        return manifest

    def require_one_for_all(self, setting: str) -> None:
        """Raise where some clips of a batch may be heard beside a reference and others not.

        Processes that put layers together can't hear a reference each for itself.
        """
        if self.training != "none" and self.without != "leave-out":
            raise SettingsError(
                f"{setting}: clips without a reference would leave some processes waiting; set "
                "references.without to 'leave-out'."
            )

    def of(self, manifest: Manifest, purpose: Literal["training", "scoring"]) -> References | None:
        """The references of a manifest's trials.

        Raises:
            ProtocolError, SettingsError: as `find_references` and `read_enrolment`.
        """
        policy = self.training if purpose == "training" else self.scoring
        if policy == "none":
            return None
        if policy == "enrolment" and not self.enrolment:
            raise SettingsError(
                "references: the policy 'enrolment' needs a list of each speaker's files: enrolment = "
                "'FILE' in the experiment, --enrolment FILE on the command line."
            )
        files = read_enrolment(self.enrolment, self.root) if policy == "enrolment" else None
        return find_references(manifest, policy, enrolment=files, seed=self.seed)


@dataclass(frozen=True)
class Way:
    """What is done to a reference before it is heard: ``"snr=10"`` is ``Way("snr", 10.0)``.

    As in RAT's evaluation: ``real`` as it is; ``none`` and ``zero`` give the network its zero vector;
    ``silence`` is a wave of zeros; ``noise`` Gaussian noise of the reference's mean power; ``snr=D``
    adds Gaussian noise at exactly D dB; ``duration=D`` keeps the first D seconds; ``mismatch`` is a
    genuine recording of another speaker.
    """

    name: str
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Way":
        """From the command line's form.

        Raises:
            SettingsError: no such way, or a number is missing, unexpected or out of range.

        >>> Way.parse("snr=10")
        Way(name='snr', value=10.0)
        """
        name, equals, number = text.strip().partition("=")
        if name not in WAYS:
            raise SettingsError(
                f"no reference is called {name!r}{nearest(name, WAYS)} Known: {', '.join(WAYS)}."
            )
        if (name in ("snr", "duration")) != bool(equals):
            raise SettingsError(f"{text!r}: expected {name}{'=NUMBER' if not equals else ' alone'}.")
        try:
            value = float(number) if equals else 0.0
        except ValueError:
            raise SettingsError(f"{text!r}: {number!r} is no number.") from None
        if not np.isfinite(value) or (name == "duration" and value <= 0):
            raise SettingsError(f"{text!r}: expected a finite number, above 0 for seconds.")
        return cls(name, value)

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}" if self.name in ("snr", "duration") else self.name

    @property
    def is_heard(self) -> bool:
        """Whether the network hears anything at all."""
        return self.name not in ("none", "zero")

    def apply(self, wave: Wave, trial_id: str, seed: int = 0) -> Wave:
        """The reference as it is heard; noise is a function of the trial's id.

        >>> noisy = Way("snr", 10.0).apply(np.ones(16000, dtype=np.float32), "a")
        >>> round(float(10 * np.log10(1 / np.mean((noisy - 1) ** 2))), 4)
        10.0
        """
        if self.name == "silence":
            return np.zeros_like(wave)
        if self.name == "duration":
            return wave[: max(1, int(self.value * _RATE))]
        if self.name not in ("noise", "snr"):
            return wave
        noise = _by_id(seed + 1, trial_id).standard_normal(len(wave))
        power = float(np.mean(np.square(wave, dtype=np.float64)))
        if self.name == "noise":
            return (noise * np.sqrt(power or 1.0)).astype(np.float32)
        wanted = power / 10 ** (self.value / 10)
        return (wave + noise * np.sqrt(wanted / np.mean(noise**2))).astype(np.float32)


def find_references(
    manifest: Manifest,
    policy: Literal["same-speaker", "rat-compat", "enrolment"] | str = "same-speaker",
    *,
    pool: Manifest | None = None,
    enrolment: Mapping[str, Sequence[Path]] | None = None,
    seed: int = 0,
) -> References:
    """The references of every trial.

    Args:
        manifest: the trials.
        policy: ``same-speaker``: bonafide trials of the speaker, never the trial itself; a trial whose
            speaker has no other is heard without one, and counted in ``missing``. ``rat-compat``: as
            the released code, the trial itself may be its own reference, and a speaker without any is
            an error. ``enrolment``: the files that the speaker enrolled.
        pool: where bonafide trials are looked for; the manifest itself unless given.
        enrolment: of each speaker, for that policy.
        seed: of the choice.

    Raises:
        ProtocolError: no trial has a reference, or with ``rat-compat`` one has none.
        SettingsError: no such policy, or no enrolment for it.
    """
    if policy not in POLICIES[1:]:
        raise SettingsError(
            f"references: no policy {policy!r}{nearest(policy, POLICIES)} Known: {', '.join(POLICIES)}."
        )
    if policy == "enrolment":
        if enrolment is None:
            raise SettingsError("references: the policy 'enrolment' needs the speakers' files.")
        found = {who: [("", path) for path in paths] for who, paths in enrolment.items()}
    else:
        found = _bonafide_of(pool or manifest)
    references = References(policy, found, policy != "rat-compat", (), seed, tuple(sorted(found)))
    missing = tuple(trial.id for trial in manifest if references.choose(trial) is None)
    if len(missing) == len(manifest) or (missing and policy == "rat-compat"):
        raise ProtocolError(
            f"manifest {manifest.name!r}: {len(missing)} of {len(manifest)} trials have no "
            f"reference by the policy {policy!r}, first {missing[0]!r}; are the speakers known?"
        )
    return References(policy, found, references.excludes_self, missing, seed, references.speakers)


def read_enrolment(
    path: str | Path, root: str | Path, *, suffix: str = ".flac"
) -> dict[str, list[Path]]:
    """The enrolment list of ASVspoof 5, track 2: ``SPEAKER FILE,FILE,...`` a line.

    Args:
        path: the list. ``root``: where the audio lies. ``suffix``: of its files.

    Raises:
        ProtocolError: a line has no files, or a speaker stands there twice.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "enroll.tsv"
    >>> _ = path.write_text("D_0001 D_A1,D_A2\\n")
    >>> [one.name for one in read_enrolment(path, "flac_D")["D_0001"]]
    ['D_A1.flac', 'D_A2.flac']
    """
    from earwitness.files import read_text

    found: dict[str, list[Path]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        speaker, *rest = line.split()
        files = [name for part in rest for name in part.split(",") if name]
        if not files or speaker in found:
            why = "stands there twice" if speaker in found else "has no files"
            raise ProtocolError(f"{path}, line {number}: the speaker {speaker} {why}.")
        found[speaker] = [Path(root) / f"{name}{suffix}" for name in files]
    return found


def _bonafide_of(manifest: Manifest) -> dict[str, list[tuple[str, Path]]]:
    found: dict[str, list[tuple[str, Path]]] = {}
    for trial in manifest:
        if trial.label == "bonafide" and trial.speaker != "-":
            found.setdefault(trial.speaker, []).append((trial.id, manifest.path(trial)))
    return found


def _by_id(seed: int, id_: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{id_}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
