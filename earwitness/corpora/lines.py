"""Protocols of plain lines: so many columns, labels in a known place, audio beside them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from earwitness.corpora.base import listing, require_counts
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.files import read_text
from earwitness.trials import Manifest, Trial, read_label

__all__ = ["chosen", "finish", "read_lines", "require_file"]


def require_file(path: Path) -> Path:
    """The path, if a file is there.

    Raises:
        ProtocolError: there is none; says what the folder holds.
    """
    if not path.is_file():
        raise ProtocolError(f"{path}: no such protocol; found {listing(path.parent)}.")
    return path


def chosen(parts: Iterable[str], known: Sequence[str], corpus: str) -> list[str]:
    """The parts, each of which must be known.

    Raises:
        SettingsError: one is not; with the nearest.
    """
    for part in parts:
        if part not in known:
            raise SettingsError(
                f"{corpus} has no part {part!r}{nearest(part, known)} Choose from: {', '.join(known)}."
            )
    return list(parts)


def read_lines(
    path: Path, columns: Sequence[str], make: Callable[[dict[str, str], str], Trial]
) -> Iterator[Trial]:
    """A trial for each line; ``make`` gets the cells by column and the label as we spell it.

    Cells are parted by white space, so none holds any; only trailing blank lines are harmless, one
    in the middle is a line that was lost.

    Raises:
        ProtocolError: a line of another length, or a label that is not known; with the line.
    """
    for number, line in enumerate(read_text(require_file(path)).rstrip().splitlines(), 1):
        cells = line.split()
        where = f"{path}, line {number}"
        if len(cells) != len(columns):
            told = " ".join(name.upper() for name in columns)
            raise ProtocolError(f"{where}: {len(cells)} column(s), expected {len(columns)}: {told}.")
        named = dict(zip(columns, cells, strict=True))
        try:
            label = read_label(named["label"])
        except ValueError as error:
            raise ProtocolError(f"{where}: {error}") from None
        if label == "unknown":
            raise ProtocolError(
                f"{where}: the label is {named['label']!r}, expected bonafide or spoof."
            )
        yield make(named, label)


def finish(
    manifests: Mapping[str, Manifest],
    counts: Mapping[str, Mapping[str, int]],
    *,
    check_counts: bool,
    require_audio: bool,
) -> dict[str, Manifest]:
    """Manifests whose official numbers and audio files are checked, where asked for.

    Raises:
        ProtocolError: counts differ, or audio is missing.
    """
    for part, manifest in manifests.items():
        official = {name: n for name, n in counts.get(part, {}).items() if name != "total"}
        if check_counts and official:
            require_counts(manifest, official)
        elif check_counts and "total" in counts.get(part, {}):
            expected = counts[part]["total"]
            if len(manifest) != expected:
                raise ProtocolError(
                    f"manifest {manifest.name!r}: {len(manifest):,} trials (official {expected:,}). "
                    "The protocol is incomplete or altered; for a part set check_counts=False."
                )
        if require_audio:
            manifest.require_files()
    return dict(manifests)
