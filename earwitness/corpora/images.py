"""Any corpus of images sorted into folders by class.

::

    root/[train|dev|test/][DOMAIN/]CLASS/image.png

With domain folders, their names are the tasks of a stream, in natural order; a domain need not have
every class. Where there is no dev or no test folder, trials of each class and domain are set apart
for it by lot. Hidden files (``.DS_Store``) are no content; a file that is no image is an error.

`load_image` gives the pixels (needs Pillow).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.corpora._trees import (
    class_folders,
    class_trials,
    holds_folders,
    set_apart,
    subfolders,
)
from earwitness.corpora.base import by_split, listing
from earwitness.errors import MissingExtra, ProtocolError, nearest
from earwitness.trials import Manifest

__all__ = ["SUFFIXES", "load_image", "read"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_SPLITS = {"train": "train", "dev": "dev", "val": "dev", "validation": "dev", "test": "test"}
_MODES = {1: "L", 3: "RGB"}


def read(
    root: str | Path,
    *,
    classes: tuple[str, ...] = (),
    test_share: float = 0.3,
    dev_share: float = 0.1,
    split_seed: int = 0,
) -> dict[str, Manifest]:
    """The manifests of train, dev and test; ids are paths relative to ``root`` without suffix.

    Args:
        root: see above.
        classes: the classes to learn, in the order of a detector's logits; folders of other classes
            are left out. By default all folders' names, sorted. Folders may spell bonafide and
            spoof in any way when these are the classes.
        test_share: of the images of each class and domain, where there is no folder ``test``.
        dev_share: of what remains for training, where there is no folder ``dev``.
        split_seed: of the lots.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (folder / name).mkdir()
    ...     for number in range(10):
    ...         (folder / name / f"{number}.png").touch()
    >>> {split: part.counts() for split, part in read(folder).items()}["test"]
    {'cat': 3, 'dog': 3}

    Raises:
        SettingsError: a share that is not between 0 and 1.
        ProtocolError: another layout, a file that is no image, a class without images.
    """
    root = Path(root)
    splits = _splits(root)
    places = [(split, domain, folder) for split, whole in splits for domain, folder in _domains(whole)]
    found = {path.name for *_, folder in places for path in subfolders(folder, "one a class")}
    wanted = classes or tuple(sorted(found))
    trials = []
    for split, domain, folder in places:
        for label, path in class_folders(folder, wanted, every=False, only=False):
            trials += class_trials(root, path, SUFFIXES, label=label, domain=domain, split=split)
    labels = {trial.label for trial in trials}
    absent = [name for name in wanted if name not in labels]
    if absent:
        raise ProtocolError(
            f"{root}: no folder for the class {absent[0]!r}{nearest(absent[0], found)} "
            f"Found: {', '.join(sorted(found)[:12])}."
        )
    for split, share in (("test", test_share), ("dev", dev_share)):
        if split not in dict(splits):
            trials = set_apart(trials, split, share, split_seed)
    return by_split(Manifest(root.name, trials, root=root, classes=wanted))


def load_image(path: Path, *, size: int, channels: int) -> NDArray[np.uint8]:
    """The pixels of an image, (channels * size * size,): channel by channel, row by row.

    Grey (``channels=1``) or colour (3), resized to a square whatever its shape was (bilinear);
    transparency and a camera's note on orientation are ignored.

    Raises:
        MissingExtra: Pillow is not installed.
        ProtocolError: not an image that Pillow can read, or one of more than 8 bits a channel.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("reading images", "images") from None
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # Pillow would clip 16 bits to 8, not scale them
                raise ProtocolError(f"{path}: more than 8 bits a channel; convert the image first.")
            square = image.convert(_MODES[channels]).resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ProtocolError(f"{path}: not an image that Pillow can read ({error}).") from None
    pixels: NDArray[Any] = np.asarray(square).reshape(size, size, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)).ravel()


def _splits(root: Path) -> list[tuple[str, Path]]:
    """The folders of train, dev and test, or the root for train where there are none."""
    below = subfolders(root, "splits, domains or classes")
    found = [(_SPLITS[p.name], p) for p in below if p.name in _SPLITS and holds_folders(p)]
    if found and (len(found) < len(below) or "train" not in dict(found)):
        raise ProtocolError(
            f"{root}: expected train/, with or without dev/ and test/, and nothing beside them; "
            f"found {listing(root)}."
        )
    return found or [("train", root)]


def _domains(folder: Path) -> list[tuple[str, Path]]:
    """The folders that hold classes: one for each domain, or the folder itself."""
    below = subfolders(folder, "domains or classes")
    domains = [path for path in below if holds_folders(path)]
    if domains and len(domains) < len(below):
        plain = next(path.name for path in below if path not in domains)
        raise ProtocolError(
            f"{folder}: {domains[0].name} holds folders, but {plain} does not; expected classes, or "
            "domains that hold classes, and not both."
        )
    return [(path.name, path) for path in domains] or [("-", folder)]
