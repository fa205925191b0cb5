"""Tensors that ``torch.save`` wrote, read without torch and without running anything in the file.

A ``.pth`` file is a zip archive: ``data.pkl`` says how the tensors lie in the raw storages
``data/0``, ``data/1``, ... (PyTorch, "Serialization semantics"). A pickle can name any function, so
the only names followed here are those that a plain tensor needs; every other one is refused before
it is looked up. Storages must lie uncompressed, and a tensor inside its storage.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError

_STORAGES = {"HalfStorage": "f2", "FloatStorage": "f4", "DoubleStorage": "f8", "LongStorage": "i8"}


def read_pth(path: Path) -> Any:
    """What the file holds: an array, or lists, tuples and dicts of arrays, numbers and texts.

    Raises:
        ProtocolError: no such file, not written by ``torch.save``, damaged, or something in it is
            not a plain tensor.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(path, archive).read()
    except FileNotFoundError:
        raise ProtocolError(f"{path}: no such file.") from None
    except zipfile.BadZipFile:
        raise ProtocolError(
            f"{path}: not a zip archive, which torch.save has written since torch 1.6; load an older "
            "file with torch (weights_only=True) and save it again."
        ) from None
    except ProtocolError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ProtocolError(f"{path}: damaged, or not written by torch.save ({error!r}).") from None


class _Archive:
    """An open archive: its entries by name, and its byte order."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.path, self.archive = path, archive
        pickles = [n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ProtocolError(f"{path}: {len(pickles)} entries called data.pkl, expected one.")
        self.folder = pickles[0].removesuffix("data.pkl")
        big = f"{self.folder}byteorder" in archive.namelist() and self.bytes("byteorder") == b"big"
        self.order = ">" if big else "<"

    def read(self) -> Any:
        return _Reader(self).load()

    def bytes(self, name: str) -> bytes:
        entry = self.archive.getinfo(f"{self.folder}{name}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ProtocolError(f"{self.path}: {name} is compressed; torch.save stores it as it is.")
        return self.archive.read(entry)

    def refuse(self, what: str) -> ProtocolError:
        allowed = ", ".join(_STORAGES)
        return ProtocolError(
            f"{self.path}: {what} is not part of a plain tensor of numbers ({allowed}); it was not "
            "followed. Save the tensor itself, detached, in a fresh file."
        )


class _Named(dict[str, Any]):
    """What a state_dict holds; the versions of its layers, kept beside, are passed over."""

    def __setstate__(self, state: Any) -> None:
        del state


class _Reader(pickle.Unpickler):
    """An unpickler to which nothing is known but how to lay out a tensor."""

    def __init__(self, archive: _Archive):
        super().__init__(io.BytesIO(archive.bytes("data.pkl")))
        self.archive = archive

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):  # a tensor's hooks, or a state_dict
            return _Named
        if module == "torch" and name in _STORAGES:
            return name
        raise self.archive.refuse(f"{module}.{name}")

    def persistent_load(self, reference: Any) -> NDArray[Any]:
        kind, storage, key, _, numbers = reference
        if kind != "storage" or storage not in _STORAGES:
            raise self.archive.refuse(f"{kind} {storage}")
        dtype = np.dtype(self.archive.order + _STORAGES[storage])
        found = np.frombuffer(self.archive.bytes(f"data/{key}"), dtype)
        if len(found) != numbers:
            raise ProtocolError(
                f"{self.archive.path}: storage {key} has {len(found)} numbers, expected {numbers}."
            )
        return found

    def _tensor(
        self, storage: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
    ) -> NDArray[Any]:
        """A copy, in native byte order, of the view that the pickle describes."""
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        whole = all(isinstance(n, int) and n >= 0 for n in (offset, *size, *stride))
        count = math.prod(size)
        if not whole or count > len(storage) or (count and last >= len(storage)):
            raise ProtocolError(
                f"{self.archive.path}: a tensor of size {tuple(size)}, stride {tuple(stride)} from "
                f"{offset} does not lie inside its storage of {len(storage)} numbers."
            )
        steps = [step * storage.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)
        return view.astype(storage.dtype.newbyteorder("="))
