"""CLEAR: what things looked like from 2004 to 2014, ten years of photographs in order.

Lin et al., "The CLEAR benchmark: continual learning on real-world imagery", NeurIPS Datasets and
Benchmarks 2021. CLEAR-10 has 11 classes with 300 photographs a bucket (a span of time), CLEAR-100
has 100; the buckets from 1 on are the tasks. Bucket 0 was for pre-training and is no task.

What lies in a bucket's folder says how it is read:

- ``CLASS/*.jpg``: photographs, for the front end ``pixels``;
- ``CLASS/*.pth``: features of photographs, each a tensor (1, dimensions) or (dimensions,), for the
  front end ``vectors``, as the code of RWM and RAWM stores them;
- ``all.txt``, or ``train.txt`` and ``test.txt``: lists of photographs as the makers' curation
  writes them, lines ``path class``, the path from the root on;
- ``all.pth``: the makers' features, a tensor (photographs, dimensions) and the list of classes.

Classes in lists are names, or numbers that count the lines of ``class_names.txt`` from 0.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.corpora._pth import read_pth
from earwitness.corpora._trees import class_folders, class_trials, entries, set_apart, subfolders
from earwitness.corpora.base import by_split, listing
from earwitness.corpora.images import SUFFIXES
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.files import read_text
from earwitness.trials import Manifest, Trial

__all__ = ["read"]

_BESIDE = (".txt", ".json", ".md")  # files that may lie beside the buckets


def read(
    root: str | Path,
    *,
    train: str = "",
    test: str = "",
    classes: tuple[str, ...] = (),
    per_class: int = 0,
    test_share: float = 0.3,
    dev_share: float = 0.1,
    split_seed: int = 0,
) -> dict[str, Manifest]:
    """``train``, ``dev`` and ``test`` of all buckets; the column ``domain`` has a bucket's number.

    Args:
        root: the folder of the buckets, or one above where ``train`` says more.
        train: where the buckets are below ``root``, for instance ``train/labeled_images`` or
            ``training_folder/filelists`` in the makers' releases.
        test: where those for testing are; "" sets ``test_share`` of the others apart.
        classes: in the order of a detector's logits; others are left out. By default the lines of
            ``class_names.txt`` beside or above the buckets, or the names of the folders, sorted.
        per_class: how many of each class and bucket, the first by name or in a list; 0 for all. Test
            folders of their own are taken whole.
        test_share: of each class and bucket, by lot.
        dev_share: of what remains of each for training, by lot.
        split_seed: of the lots.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("0/bus", "1/bus", "1/camera", "2/bus", "2/camera"):
    ...     (folder / name).mkdir(parents=True)
    ...     for number in range(10):
    ...         (folder / name / f"{number}.jpg").touch()
    >>> {split: part.counts("domain") for split, part in read(folder).items()}["train"]
    {'1': 12, '2': 12}

    Raises:
        SettingsError: a share that is not between 0 and 1, or less than no photographs.
        ProtocolError: another layout, a class that a bucket lacks, too few files.
    """
    root = Path(root)
    if per_class < 0:
        raise SettingsError(f"corpus 'clear': per_class is {per_class}, expected 0 (all) or more.")
    names = _class_names(root / train, root) or (() if classes else _folder_names(root / train))
    buckets = _Buckets(root, names or classes, classes or names, not classes)
    trials = buckets.trials(root / train, "train", per_class)
    if test:
        trials += buckets.trials(root / test, "test")
    else:
        trials = set_apart(trials, "test", test_share, split_seed)
    trials = set_apart(trials, "dev", dev_share, split_seed)
    return by_split(Manifest("clear", trials, root=root, classes=buckets.wanted))


@dataclass(frozen=True)
class _Buckets:
    """How buckets are read: ``names`` are what lists count, ``wanted`` the classes to learn."""

    root: Path
    names: tuple[str, ...]
    wanted: tuple[str, ...]
    only: bool  # whether any other class is an error

    def trials(self, start: Path, split: str, per_class: int = 0) -> list[Trial]:
        """Of all buckets in a folder; every wanted class must be in each."""
        trials: list[Trial] = []
        for bucket in _buckets(start):
            found = self._bucket(bucket, split)
            counts = Counter(trial.label for trial in found)
            least = max(per_class, 1)
            scarce = [c for c in self.wanted if counts[c] < least]
            if scarce:
                raise ProtocolError(
                    f"{bucket}: {counts[scarce[0]]} of the class {scarce[0]!r}, expected at least "
                    f"{least}; found {dict(counts)}."
                )
            trials += _first(found, per_class) if per_class else found
        return trials

    def _bucket(self, bucket: Path, split: str) -> list[Trial]:
        if (bucket / "all.pth").is_file():
            return self._rows(bucket / "all.pth", split)
        for path in (bucket / f"{split}.txt", bucket / "all.txt"):
            if path.is_file():
                return self._lines(path, split)
        return self._files(bucket, split)

    def _files(self, bucket: Path, split: str) -> list[Trial]:
        trials = []
        for label, folder in class_folders(bucket, self.wanted, every=True, only=self.only):
            suffixes = (".pth",) if any(p.suffix == ".pth" for p in entries(folder)) else SUFFIXES
            trials += class_trials(
                self.root, folder, suffixes, label=label, domain=bucket.name, split=split
            )
        return trials

    def _lines(self, path: Path, split: str) -> list[Trial]:
        trials = []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            file, _, token = line.strip().rpartition(" ")
            label = self._class(token, f"{path}, line {number}")
            if label in self.wanted:
                id_ = Path(file).with_suffix("").as_posix()
                trials.append(Trial(id_, file, label, domain=path.parent.name, split=split))
        return trials

    def _rows(self, path: Path, split: str) -> list[Trial]:
        held = read_pth(path)
        parts = held if isinstance(held, tuple | list) else ()
        lengths = [len(p) for p in parts if isinstance(p, list) or getattr(p, "ndim", False)]
        if not (len(parts) == len(lengths) == 2 and lengths[0] == lengths[1]):
            raise ProtocolError(f"{path}: expected a tensor and a list of as many classes.")
        name = path.relative_to(self.root)
        trials = []
        for row, token in enumerate(parts[1]):
            label = self._class(str(token), f"{path}, row {row}")
            if label in self.wanted:
                id_, tags = f"{name.parent.as_posix()}/{row:05d}", {"row": str(row)}
                domain = path.parent.name
                trials.append(Trial(id_, name.as_posix(), label, domain=domain, split=split, tags=tags))
        return trials

    def _class(self, token: str, where: str) -> str:
        if token.isdecimal() and token not in self.names and int(token) < len(self.names):
            return self.names[int(token)]
        if token not in self.names:
            raise ProtocolError(
                f"{where}: {token!r} is not among the classes {', '.join(self.names[:12])}"
                f"{nearest(token, self.names)} Nor does it count them, 0 to {len(self.names) - 1}."
            )
        return token


def _class_names(start: Path, root: Path) -> tuple[str, ...]:
    """The lines of the nearest ``class_names.txt`` from the buckets up to the root."""
    for folder in (start, *start.parents):
        if (folder / "class_names.txt").is_file():
            lines = read_text(folder / "class_names.txt").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
        if folder == root:
            break
    return ()


def _folder_names(start: Path) -> tuple[str, ...]:
    first = _buckets(start)[0]
    if all(path.is_file() for path in entries(first)):
        raise ProtocolError(
            f"{first}: lists need the classes' names; expected class_names.txt beside or above the "
            "buckets, or the setting classes in the order of the lists' numbers."
        )
    return tuple(sorted(path.name for path in subfolders(first, "one a class")))


def _buckets(start: Path) -> list[Path]:
    """The folders 1, 2, 3, ... in this order."""
    found = [path for path in entries(start) if path.is_dir() or path.suffix not in _BESIDE]
    other = [path.name for path in found if not (path.is_dir() and path.name.isdecimal())]
    buckets = [path for path in found if path.name != "0"]
    if other or not buckets:
        raise ProtocolError(
            f"{start}: expected a folder for each bucket, 1, 2, 3, ...; found {listing(start)}. "
            "Say where they are below the root with the setting train (and test)."
        )
    return buckets


def _first(trials: Sequence[Trial], count: int) -> list[Trial]:
    seen: Counter[str] = Counter()
    kept = []
    for trial in trials:
        seen[trial.label] += 1
        if seen[trial.label] <= count:
            kept.append(trial)
    return kept
