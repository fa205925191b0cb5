"""EVDA, eight speech deepfake corpora as a stream of features, as its code stores them.

Zhang et al., "EVDA: evolving deepfake audio detection continual learning benchmark", 2024. An
utterance is an array (frames, dimensions) of a large speech model, 1,024 dimensions in the released
ones, to be averaged over frames; `vectors.load_vectors` does so, and keeps the mean::

    root/[TRAIN/]TASK/real/UTTERANCE.npy
    root/[TRAIN/]TASK/fake/UTTERANCE.npy

Its file lists, ``data_train_path.txt`` and ``data_test_path.txt``, have the header ``file
class_index timestamp`` and lines ``path class_index timestamp``: 0 is real and 1 fake, the
timestamp is the task's folder. The published lists name files of another machine; the end of each
path, from the folder of the tasks or the one above, is looked for in the root.
"""

from pathlib import Path

from earwitness.corpora._trees import class_folders, class_trials, natural, set_apart, subfolders
from earwitness.corpora.base import by_split, listing
from earwitness.errors import ProtocolError, SettingsError
from earwitness.files import read_text
from earwitness.trials import CLASSES, Manifest, Trial

__all__ = ["read"]

_HEADER = "file class_index timestamp"
_FOLDERS = {"bonafide": ("real", "bonafide"), "spoof": ("fake", "spoof")}


def read(
    root: str | Path,
    *,
    train: str = "",
    test: str = "",
    lists: str = "",
    test_share: float = 0.3,
    dev_share: float = 0.1,
    split_seed: int = 0,
) -> dict[str, Manifest]:
    """``train``, ``dev`` and ``test`` of all tasks; the column ``domain`` has the task.

    Args:
        root: the folder of the tasks, or one above where ``train`` says more.
        train: where the tasks are below ``root``, for instance ``train_fadcl_wav2vec``.
        test: where those for testing are; "" sets ``test_share`` of the others apart.
        lists: a folder in ``root`` with the two file lists, in place of ``train`` and ``test``.
        test_share: of each class and task, by lot.
        dev_share: of what remains of each for training, by lot.
        split_seed: of the lots.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("1/real", "1/fake", "10/real", "10/fake", "2/real", "2/fake"):
    ...     (folder / name).mkdir(parents=True)
    ...     for number in range(10):
    ...         (folder / name / f"{number}.npy").touch()
    >>> {split: part.counts("domain") for split, part in read(folder).items()}["test"]
    {'1': 6, '2': 6, '10': 6}

    Raises:
        SettingsError: a share that is not between 0 and 1; lists and folders both.
        ProtocolError: another layout, a class that a task lacks, a line that does not fit.
    """
    root = Path(root)
    if lists and (train or test):
        raise SettingsError("corpus 'evda': lists say where train and test are; leave both out.")
    if lists:
        trials = _listed(root, root / lists / "data_train_path.txt", "train")
        trials += _listed(root, root / lists / "data_test_path.txt", "test")
    else:
        trials = _below(root, root / train, "train")
        trials += _below(root, root / test, "test") if test else []
    if not (test or lists):
        trials = set_apart(trials, "test", test_share, split_seed)
    trials = set_apart(trials, "dev", dev_share, split_seed)
    return by_split(Manifest("evda", trials, root=root))


def _below(root: Path, start: Path, split: str) -> list[Trial]:
    trials = []
    for task in subfolders(start, "one a task"):
        for label, folder in class_folders(task, CLASSES, every=True, only=True):
            trials += class_trials(root, folder, (".npy",), label=label, domain=task.name, split=split)
    return trials


def _listed(root: Path, path: Path, split: str) -> list[Trial]:
    lines = read_text(path).splitlines()
    if not lines or lines[0].split() != _HEADER.split():
        raise ProtocolError(f"{path}, line 1: expected {_HEADER!r}; found {lines[:1]}.")
    trials = [_trial(root, line, split, f"{path}, line {n}") for n, line in enumerate(lines[1:], 2)]
    return sorted(trials, key=lambda trial: natural(trial.domain))


def _trial(root: Path, line: str, split: str, where: str) -> Trial:
    cells = line.rsplit(maxsplit=2)
    if len(cells) != 3 or cells[1] not in ("0", "1"):
        raise ProtocolError(f"{where}: {line!r}; expected a path, 0 (real) or 1 (fake), and the task.")
    file, label, task = _find(root, cells[0], where), CLASSES[int(cells[1])], cells[2]
    parts = Path(file).parts
    if parts[-3] != task or parts[-2] not in _FOLDERS[label]:
        raise ProtocolError(
            f"{where}: class {cells[1]} ({label}) of task {task}, but the file lies in "
            f"{'/'.join(parts[-3:-1])}."
        )
    return Trial(Path(file).with_suffix("").as_posix(), file, label, domain=task, split=split)


def _find(root: Path, file: str, where: str) -> str:
    """The path of a listed file below the root."""
    parts = Path(file).parts
    for count in (4, 3):
        path = Path(*parts[-count:])
        if not path.is_absolute() and (root / path).is_file():
            return path.as_posix()
    raise ProtocolError(
        f"{where}: {'/'.join(parts[-4:])} is not in {root}, nor is {'/'.join(parts[-3:])}; "
        f"the root has {listing(root)}."
    )
