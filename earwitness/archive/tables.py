"""What an archive's journal says, as a score file, and each window's score as another."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from earwitness.archive.journal import Journal, Outcome
from earwitness.archive.recordings import Recording
from earwitness.audio import SAMPLE_RATE, windows
from earwitness.errors import RunError, SettingsError
from earwitness.files import write_atomically
from earwitness.windows import Windows

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FORMATS", "Row", "rows_of", "window_starts", "write_scores", "write_segments"]

FORMATS = (".csv", ".tsv", ".parquet")


class Row(NamedTuple):
    """What is kept of a recording's outcome."""

    mean: float
    worst: float
    samples: int
    windows: int
    failed: str | None

    @classmethod
    def of(cls, one: Outcome) -> "Row":
        """Of an outcome."""
        if one.failed is not None:
            return cls(0.0, 0.0, 0, 0, one.failed)
        return cls(one.mean, min(one.scores), one.samples, len(one.scores), None)


def rows_of(journal: Journal, recordings: Sequence[Recording]) -> dict[str, Row]:
    """A row for every recording, in their order.

    Raises:
        RunError: one has no outcome; some process wrote elsewhere.
    """
    now = {recording.name: recording for recording in recordings}
    found: dict[str, Row] = {}
    for one in journal.read():
        there = now.get(one.name)
        # Writers' files are read one after another: a failure may be older than a score before it.
        scored = one.name in found and found[one.name].failed is None
        if there is not None and one.is_of(there) and not (scored and one.failed):
            found[one.name] = Row.of(one)
    missing = [name for name in now if name not in found]
    if missing:
        raise RunError(
            f"{journal.folder}: {len(missing)} of {len(now)} recordings are not in it, first "
            f"{missing[0]}; processes on several machines need one folder that all of them see, and "
            "no file may change while it is scored. Run the same command again."
        )
    return {name: found[name] for name in now}


def write_scores(
    path: Path,
    rows: Mapping[str, Row],
    labels: Mapping[str, str],
    ratios: Callable[[Sequence[float]], Sequence[float]] | None = None,
) -> None:
    """A line for every recording that has a score, in order: CSV, TSV or Parquet by ``path``'s name.

    Columns: ``file_name, score, label, worst, seconds, windows``. ``ratios`` turns scores into others.
    """
    import polars as pl

    there = {name: row for name, row in rows.items() if row.failed is None}
    mean, worst = [row.mean for row in there.values()], [row.worst for row in there.values()]
    if ratios is not None and there:
        mean, worst = list(ratios(mean)), list(ratios(worst))
    table = {
        "file_name": list(there),
        "score": mean,
        "label": [labels[name] for name in there],
        "worst": worst,
        "seconds": [row.samples / SAMPLE_RATE for row in there.values()],
        "windows": [row.windows for row in there.values()],
    }
    _write(path, pl.DataFrame(table))


def write_segments(
    path: Path, journal: Journal, recordings: Sequence[Recording], policy: Windows
) -> None:
    """A line for every window: ``file_name, start, end, score``, in order; times in seconds."""
    import polars as pl

    place = {recording.name: n for n, recording in enumerate(recordings)}
    last = {
        one.name: n
        for n, one in enumerate(journal.read())
        if one.failed is None and one.name in place and one.is_of(recordings[place[one.name]])
    }
    owner, start, end, score = array("q"), array("d"), array("d"), array("d")
    for n, one in enumerate(journal.read()):
        if last.get(one.name) != n:
            continue
        for begin, own in zip(window_starts(one.samples, policy), one.scores, strict=True):
            owner.append(place[one.name])
            start.append(begin / SAMPLE_RATE)
            end.append(min(begin + round(policy.seconds * SAMPLE_RATE), one.samples) / SAMPLE_RATE)
            score.append(own)
    table = pl.DataFrame({"place": owner, "start": start, "end": end, "score": score})
    names = pl.DataFrame({"place": range(len(recordings)), "file_name": [r.name for r in recordings]})
    whole = table.sort("place", "start").join(names, on="place", how="left", maintain_order="left")
    _write(path, whole.select("file_name", "start", "end", "score"))


def window_starts(samples: int, policy: Windows) -> list[int]:
    """Where the windows of a recording begin, in samples."""
    return windows(samples, *(round(s * SAMPLE_RATE) for s in (policy.seconds, policy.hop)))


def _write(path: Path, table: "pl.DataFrame") -> None:
    kind = path.suffix.lower()
    if kind == ".parquet":
        write_atomically(path, table.write_parquet)
    elif kind in (".csv", ".tsv"):
        separator = "\t" if kind == ".tsv" else ","
        write_atomically(path, lambda part: table.write_csv(part, separator=separator))
    else:
        raise SettingsError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")
