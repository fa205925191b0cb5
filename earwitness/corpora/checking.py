"""Whether a corpus on disk is what was published: counts, files, sound, duplicates, leaks.

Nothing is repaired. What is found is told, problems apart from remarks.
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness import audio, corpora
from earwitness.corpora.about import About
from earwitness.errors import AudioError
from earwitness.shelf import bind_settings
from earwitness.trials import Manifest

__all__ = ["Finding", "about", "check"]

_UNKNOWN = ("-", "")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what, whether it is a problem, and some examples."""

    what: str
    told: str
    is_problem: bool = False
    examples: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        mark = "PROBLEM" if self.is_problem else "ok"
        more = f" ({', '.join(self.examples)})" if self.examples else ""
        return f"{mark:8} {self.what}: {self.told}{more}"


def about(name: str) -> About | None:
    """What is known of the corpus that a reader is for; None for readers of a layout.

    >>> about("asvspoof5").counts["dev"]["spoof"]
    109616
    >>> about("folder") is None
    True

    Raises:
        SettingsError: no such reader.
    """
    reader = corpora.CORPORA.get(name)
    return getattr(__import__(reader.__module__, fromlist=["ABOUT"]), "ABOUT", None)


def check(
    name: str,
    root: str | Path,
    *,
    decode: int | None = 20,
    on_file: Callable[[int, int], object] = lambda done, total: None,
    **settings: Any,
) -> list[Finding]:
    """Look at everything; problems don't stop it.

    Args:
        name: a reader of the shelf.
        root: where the corpus lies.
        decode: how many files of each part are decoded, drawn with a fixed seed; None for all.
        on_file: called with (done, total) while files are decoded.
        settings: the reader's own.

    Raises:
        ProtocolError: the protocol can't be read at all.
    """
    reader = corpora.CORPORA.get(name)
    for lenient in ("check_counts", "require_audio"):
        if lenient in _settings_of(reader):
            settings.setdefault(lenient, False)
    parts = reader(**bind_settings(reader, {"root": root, **settings}, f"corpus {name!r}"))
    told = about(name)
    findings = list(_counts(parts, told))
    findings += _digests(parts, told)
    there = {part: [manifest.path(t) for t in manifest] for part, manifest in parts.items()}
    findings += _files(there)
    findings += _sound(parts, decode, on_file)
    findings += _duplicates(there)
    findings += _leaks(parts)
    return findings


def _settings_of(reader: Callable[..., Any]) -> Iterable[str]:
    import inspect

    return inspect.signature(reader).parameters


def _counts(parts: Mapping[str, Manifest], told: About | None) -> Iterator[Finding]:
    for part, manifest in parts.items():
        found = {"total": len(manifest), **manifest.counts()}
        official = dict(told.counts.get(part, {})) if told else {}
        listed = ", ".join(f"{n:,} {label}" for label, n in found.items() if label != "total")
        differing = [label for label, n in official.items() if found.get(label, 0) != n]
        if not official:
            yield Finding(f"{part}, trials", f"{listed}; no official number is known")
        elif differing and told and "not enforced" in told.doubtful:
            yield Finding(f"{part}, trials", f"{listed}; {told.doubtful}")
        elif differing:
            wanted = ", ".join(f"{official[label]:,} {label}" for label in differing)
            yield Finding(f"{part}, trials", f"{listed}; official: {wanted}", True)
        else:
            yield Finding(f"{part}, trials", f"{listed}, as published")
        if told and part in told.speakers:
            speakers = len({t.speaker for t in manifest} - {*_UNKNOWN})
            wanted_speakers = told.speakers[part]
            yield Finding(
                f"{part}, speakers",
                f"{speakers}, official {wanted_speakers}",
                speakers != wanted_speakers,
            )


def _digests(parts: Mapping[str, Manifest], told: About | None) -> Iterator[Finding]:
    root = next(iter(parts.values())).root
    for file, expected in (told.digests if told else {}).items():
        path = root / file
        if not path.is_file():
            continue
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        same = found == expected
        yield Finding(file, "as published" if same else f"MD5 {found}, published {expected}", not same)


def _files(there: Mapping[str, list[Path]]) -> Iterator[Finding]:
    for part, paths in there.items():
        missing = [path for path in paths if not path.is_file()]
        told = f"{len(missing):,} of {len(paths):,} missing" if missing else f"all {len(paths):,} there"
        yield Finding(f"{part}, audio", told, bool(missing), tuple(map(str, missing[:3])))
    wanted = {path for paths in there.values() for path in paths}
    folders = {path.parent for path in wanted if path.parent.is_dir()}
    extra = sorted(
        path
        for folder in folders
        for path in folder.iterdir()
        if path.suffix.lower() in audio.EXTENSIONS and path not in wanted
    )
    if extra:
        told = f"{len(extra):,} audio file(s) beside them that no trial names"
        yield Finding("extra audio", told, examples=tuple(str(path) for path in extra[:3]))


def _sound(
    parts: Mapping[str, Manifest], decode: int | None, on_file: Callable[[int, int], object]
) -> Iterator[Finding]:
    chosen = {}
    for part, manifest in parts.items():
        present = [manifest.path(t) for t in manifest if manifest.path(t).is_file()]
        some = len(present) if decode is None else min(decode, len(present))
        chosen[part] = random.Random(0).sample(present, some)
    total, done = sum(map(len, chosen.values())), 0
    for part, paths in chosen.items():
        broken, silent = [], []
        for path in paths:
            try:
                wave = audio.read(path, check=False).wave
            except AudioError as error:
                broken.append(str(error))
            else:
                if not wave.any():
                    silent.append(str(path))
            done += 1
            on_file(done, total)
        if paths:
            told = f"{len(paths) - len(broken):,} of {len(paths):,} decoded"
            yield Finding(f"{part}, sound", told, bool(broken), tuple(broken[:3]))
        if silent:
            yield Finding(f"{part}, silence", f"{len(silent)} all zero", examples=tuple(silent[:3]))


def _duplicates(there: Mapping[str, list[Path]]) -> Iterator[Finding]:
    """The same bytes in two parts; only files of one size are read."""
    sizes: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for part, paths in there.items():
        for path in paths:
            if path.is_file():
                sizes[path.stat().st_size].append((part, path))
    same = []
    for group in sizes.values():
        if len({part for part, _ in group}) < 2:
            continue
        seen: dict[str, tuple[str, Path]] = {}
        for part, path in group:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            other = seen.setdefault(digest, (part, path))
            if other[0] != part:
                same.append(f"{other[1]} and {path}")
    if len(there) > 1:
        told = f"{len(same)} file(s) are in two parts" if same else "none in two parts"
        yield Finding("duplicates", told, bool(same), tuple(same[:3]))


def _leaks(parts: Mapping[str, Manifest]) -> Iterator[Finding]:
    speakers = {part: {t.speaker for t in one} - {*_UNKNOWN} for part, one in parts.items()}
    names = [part for part, known in speakers.items() if known]
    for place, part in enumerate(names):
        for other in names[place + 1 :]:
            shared = sorted(speakers[part] & speakers[other])
            if shared:
                told = f"{len(shared)} speaker(s) are in both"
                yield Finding(f"{part} and {other}", told, examples=tuple(shared[:3]))
    repeated = Counter(t.id for manifest in parts.values() for t in manifest)
    twice = [name for name, n in repeated.items() if n > 1]
    if twice:
        told = f"{len(twice)} id(s) are in two parts"
        yield Finding("ids", told, True, tuple(twice[:3]))
