"""What was made from small files is kept in memory, so that a file is read once and not every epoch."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


class Kept:
    """Arrays by file, at most ``mib`` mebibytes of them; the one not asked for longest goes first.

    >>> import tempfile, numpy
    >>> file, calls = Path(tempfile.mkdtemp()) / "two.txt", []
    >>> _ = file.write_text("2")
    >>> read = lambda path: calls.append(path) or numpy.loadtxt(path)
    >>> kept = Kept(1)
    >>> float(kept.get(file, read)), float(kept.get(file, read)), len(calls)
    (2.0, 2.0, 1)
    """

    def __init__(self, mib: float):
        self._room = mib * 2**20
        self._arrays: OrderedDict[tuple[Any, ...], NDArray[Any]] = OrderedDict()

    def get(self, path: Path, make: Callable[..., NDArray[Any]], **settings: Any) -> NDArray[Any]:
        """``make(path, **settings)``, or what it gave before if the file is still the same.

        The array is shared, and therefore read-only.
        """
        try:
            found = path.stat()
        except OSError:
            return make(path, **settings)  # says best what is wrong
        key = (str(path), found.st_mtime_ns, found.st_size, *settings.values())
        if key in self._arrays:
            self._arrays.move_to_end(key)
            return self._arrays[key]
        array = make(path, **settings)
        array.flags.writeable = False
        self._arrays[key] = array
        self._room -= array.nbytes
        while self._room < 0:
            self._room += self._arrays.popitem(last=False)[1].nbytes
        return array
