"""Protocols: what is known of each trial that was scored, as columns; tens of millions of them.

A manifest says where audio lies and is read one trial at a time. To judge scores, only ids, labels
and what they are broken down by are needed, for as many trials as a challenge has. A protocol is
read from a manifest file, or from the key files of the challenges as they are published.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.delimited import Delimited, Dialect, sniff
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.trials import CLASSES, LABELS, Manifest, read_label

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ID_NAMES", "LABEL_NAMES", "LAYOUTS", "Layout", "Protocol", "encode_labels"]

ID_NAMES = (
    *("id", "file_name", "filename", "file", "utt", "utt_id", "utterance", "utterance_id", "trial"),
    *("flac_file_name", "id_audio", "uttid", "utt-id", "audio_file_name", "path"),
)
LABEL_NAMES = ("label", "key", "cm-label", "cm_label", "ground truth", "ground_truth", "real or fake")
_Wanted = tuple[tuple[str, ...], tuple[str, ...]] | None  # columns, and others if there; None = all
_ACCEPTED = {"target": "bonafide", "nontarget": "bonafide", "spoof": "spoof"}


class Layout(NamedTuple):
    """Columns of a key file without a header; ``"-"`` are not used. ``note`` warns of what is in it."""

    columns: tuple[str, ...]
    note: str = ""


_2021 = (
    "the usual figures of ASVspoof 2021 are of subset=eval; progress and hidden trials are judged too "
    "(choose with --where subset=eval)."
)
LAYOUTS: dict[str, Layout] = {
    "asvspoof2019": Layout(("speaker", "id", "environment", "attack", "label")),
    "asvspoof2021_la": Layout(
        ("speaker", "id", "codec", "transmission", "attack", "label", "trim", "subset"), _2021
    ),
    "asvspoof2021_df": Layout(
        (
            *("speaker", "id", "codec", "source", "attack", "label", "trim", "subset"),
            *("vocoder", "task", "team", "gender", "language"),
        ),
        _2021,
    ),
    "asvspoof2021_pa": Layout(
        (
            *("speaker", "id", "room", "microphone", "distance", "r", "m", "s", "c"),
            *("label", "trim", "subset"),
        ),
        _2021,
    ),
    "asvspoof5_track1": Layout(
        (
            *("speaker", "id", "gender", "codec", "codec_quality", "codec_seed"),
            *("attack_class", "attack", "label", "-"),
        )
    ),
    "ctrsvdd": Layout(("source", "speaker", "id", "-", "attack", "label")),
    "in_the_wild_key": Layout(("-", "id", "-", "-", "-", "label")),  # as released with SLS
    "asvspoof5_track2": Layout(("speaker", "id", "gender", "attack", "kind")),
}


class Protocol:
    """Ids, labels and other columns of trials, in order.

    >>> protocol = Protocol("toy", ["a", "b"], ["bonafide", "spoof"], {"codec": ["mp3", "none"]})
    >>> protocol.counts(), protocol.column("codec").to_list()
    ({'bonafide': 1, 'spoof': 1, 'unknown': 0}, ['mp3', 'none'])

    Raises:
        ProtocolError: columns of different lengths, no trial, a duplicate id or an unknown label.
    """

    def __init__(
        self,
        name: str,
        ids: "Iterable[str] | pl.Series",
        labels: Iterable[str] | NDArray[np.int8],
        columns: "Mapping[str, Iterable[str] | pl.Series] | None" = None,
        *,
        note: str = "",
    ):
        import polars as pl

        self.name = name
        self.note = note
        self.ids = ids if isinstance(ids, pl.Series) else pl.Series("id", list(ids), dtype=pl.String)
        self.codes = labels if isinstance(labels, np.ndarray) else encode_labels(labels, name)
        self.columns = {
            column: pl.Series(column, values).cast(pl.String).fill_null("-")
            for column, values in (columns or {}).items()
        }
        lengths = {"id": len(self.ids), "label": len(self.codes)}
        lengths |= {column: len(values) for column, values in self.columns.items()}
        if len(set(lengths.values())) > 1 or not len(self.ids):
            raise ProtocolError(
                f"{name}: columns of {lengths} trials; expected equally many, and some."
            )
        self._order: pl.Series | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Protocol({self.name!r}, {len(self):,} trials, {self.counts()})"

    def order(self) -> "pl.Series":
        """Places of the ids in alphabetical order."""
        if self._order is None:
            self._order = self.ids.arg_sort()
        return self._order

    def counts(self) -> dict[str, int]:
        """Trials of each label."""
        found = np.bincount(self.codes, minlength=len(LABELS))
        return dict(zip(LABELS, found.tolist(), strict=True))

    def column(self, name: str) -> "pl.Series":
        """The values of a column, in order; several columns are joined by commas: ``attack,codec``.

        Raises:
            SettingsError: no such column; the message has the nearest name and the list.
        """
        import polars as pl

        if "," in name:
            parts = [self.column(part.strip()) for part in name.split(",")]
            return pl.select(pl.concat_str(parts, separator=", ")).to_series().alias(name)
        if name == "label":
            return pl.Series("label", np.array(LABELS)[self.codes])
        if name not in self.columns:
            raise SettingsError(
                f"{self.name} has no column {name!r}{nearest(name, self.columns)} "
                f"It has: {', '.join(self.columns) or 'no other than id and label'}."
            )
        return self.columns[name]

    def where(self, conditions: Mapping[str, str]) -> "Protocol":
        """The trials whose columns have the given values; several values: ``"eval|hidden"``.

        Raises:
            SettingsError: no such column.
            ProtocolError: no trial is left; says which values there are.
        """
        keep = np.ones(len(self), dtype=bool)
        for name, value in conditions.items():
            column = self.column(name)
            chosen = column.is_in([one.strip() for one in value.split("|")]).to_numpy()
            if not chosen.any():
                present = column.unique().sort().to_list()
                raise ProtocolError(
                    f"{self.name}: no trial has {name}={value}{nearest(value, map(str, present))} "
                    f"There are: {', '.join(map(str, present[:20]))}."
                )
            keep &= chosen
        if not keep.any():
            raise ProtocolError(f"{self.name}: no trial meets all of {dict(conditions)}.")
        part = self.take(keep)
        part.note = "" if "subset" in conditions else self.note
        return part

    def take(self, rows: NDArray[np.bool_]) -> "Protocol":
        """Some of the trials, in order.

        Raises:
            ProtocolError: none is left.
        """
        columns = {name: values.filter(rows) for name, values in self.columns.items()}
        return Protocol(self.name, self.ids.filter(rows), self.codes[rows], columns, note=self.note)

    @classmethod
    def of(cls, manifest: Manifest) -> "Protocol":
        """The protocol of a manifest: its known columns and its tags."""
        names = ["attack", "speaker", "domain", "split"]
        names += sorted({name for trial in manifest for name in trial.tags})
        return cls(
            f"manifest {manifest.name!r}",
            [trial.id for trial in manifest],
            [trial.label for trial in manifest],
            {name: [trial.get(name) for trial in manifest] for name in names},
        )

    @classmethod
    def read(
        cls,
        path: str | Path,
        layout: str | None = None,
        *,
        columns: Iterable[str] | None = None,
        if_there: Iterable[str] = (),
        one_is: Literal["bonafide", "spoof"] | None = None,
    ) -> "Protocol":
        """Read a manifest file, a key file with a header, or one in a layout of `LAYOUTS`.

        Args:
            path: text, or gzip where the name ends in ``.gz``.
            layout: found from the header, or from the number of columns and the labels, unless
                given.
            columns: besides ids and labels, read only these; all unless given.
            if_there: read these too, where the file has them.
            one_is: which class the label 1 is; integers are not labels without this.

        Raises:
            ProtocolError: no layout fits, a label is not known or an id stands there twice; with the
                line.
            SettingsError: no layout or column is called so.
        """
        dialect = sniff(path, _is_header)
        if layout is not None and layout not in LAYOUTS:
            raise SettingsError(
                f"no layout is called {layout!r}{nearest(layout, LAYOUTS)} Known: {', '.join(LAYOUTS)}."
            )
        wanted = None if columns is None else (tuple(columns), tuple(if_there))
        if dialect.header is not None and layout is None:
            return _with_header(dialect, wanted, one_is)
        return _with_layout(dialect, layout or _find_layout(dialect), wanted)


def encode_labels(
    labels: "Iterable[str] | pl.Series", where: str, one_is: str | None = None
) -> NDArray[np.int8]:
    """Labels in any spelling as places in `LABELS`; 1 and 0 where it is said what 1 is.

    Raises:
        ProtocolError: one is not known; counts them.
    """
    import polars as pl

    column = labels if isinstance(labels, pl.Series) else pl.Series(list(labels), dtype=pl.String)
    column = column.fill_null("unknown")
    spelled = {"1": CLASSES.index(one_is), "0": 1 - CLASSES.index(one_is)} if one_is else {}
    for text in column.unique(maintain_order=True).to_list():
        if text in spelled:
            continue
        try:
            spelled[text] = LABELS.index(read_label(text))
        except ValueError as error:
            number = int((column == text).sum())
            first = int((column == text).arg_max() or 0)
            hint = " Say what 1 is with --one-is." if text in ("0", "1") else ""
            raise ProtocolError(f"{where}, trial {first + 1} ({number} such): {error}{hint}") from None
    codes = column.replace_strict(spelled, return_dtype=pl.Int8) if spelled else column
    return codes.to_numpy().astype(np.int8)


def _is_header(cells: list[str]) -> bool:
    lowered = [cell.lower() for cell in cells]
    return any(cell in LABEL_NAMES or cell in ID_NAMES for cell in lowered)


def _with_header(dialect: Dialect, wanted: _Wanted, one_is: str | None) -> Protocol:
    names = [cell.lower() for cell in dialect.header or []]
    id_names = [name for name in ID_NAMES if name in names]
    label_names = [name for name in LABEL_NAMES if name in names]
    if not id_names or not label_names:
        raise ProtocolError(
            f"{dialect.where()}: the header has no column of {'ids' if label_names else 'labels'}; "
            f"found {', '.join(names)}. Ids: {', '.join(ID_NAMES)}. Labels: {', '.join(LABEL_NAMES)}."
        )
    others = [name for name in names if name not in (id_names[0], label_names[0])]
    pairs = "spk" in names and "asv-label" in names  # of a claimed speaker and a file
    needed = [id_names[0], label_names[0], *(["spk"] if pairs else [])]
    table, chosen = _read(dialect, names, needed, others, wanted)
    ids = table.column(names.index(id_names[0]))
    if id_names[0] == "path":  # as in a manifest: the file's name without suffix
        ids = ids.str.extract(r"([^/\\]+?)(?:\.[A-Za-z0-9]+)?$", 1)
    if pairs:
        ids = table.column(names.index("spk")) + " " + ids
    cells = table.column(names.index(label_names[0]))
    codes = encode_labels(cells, str(dialect.path), one_is)
    kept = {name: table.column(names.index(name), default="-") for name in chosen}
    return _unique(Protocol(str(dialect.path), ids, codes, kept), table)


def _read(
    dialect: Dialect,
    names: Sequence[str],
    needed: list[str],
    others: list[str],
    wanted: _Wanted,
) -> tuple[Delimited, list[str]]:
    """The needed columns and those of the others that are wanted."""
    asked, if_there = wanted or (tuple(others), ())
    chosen = list(dict.fromkeys([*asked, *(name for name in if_there if name in others)]))
    for name in chosen:
        if name not in others:
            raise SettingsError(
                f"{dialect.path} has no column {name!r}{nearest(name, others)} "
                f"It has: {', '.join(others) or 'no other than ids and labels'}."
            )
    return dialect.read(names.index(name) for name in (*needed, *chosen)), chosen


def _find_layout(dialect: Dialect) -> str:
    """The layout that has as many columns and knows the labels: those of all first lines, or of one."""
    fitting = {n: layout for n, layout in LAYOUTS.items() if len(layout.columns) == dialect.width}
    whole = [row for row in dialect.rows if len(row) == dialect.width]
    for rows in (whole, whole[:1]):
        for name, layout in fitting.items():
            if _fits(layout, rows):
                return name
    widths = ", ".join(f"{name} ({len(layout.columns)})" for name, layout in LAYOUTS.items())
    raise ProtocolError(
        f"{dialect.where()}: no header with a column of labels, and no known layout has "
        f"{dialect.width} columns like {' '.join(dialect.rows[0])!r}. Layouts (columns): {widths}; a "
        "table of your own needs a header with id and label."
    )


def _fits(layout: Layout, rows: Sequence[list[str]]) -> bool:
    """Whether labels and ids are where the layout has them."""
    known = tuple(_ACCEPTED) if "kind" in layout.columns else (*CLASSES, "bona-fide", "deepfake")
    id_place, label_place = layout.columns.index("id"), _label_place(layout)
    return all(row[label_place] in known and row[id_place] != "-" for row in rows)


def _label_place(layout: Layout) -> int:
    return layout.columns.index("kind" if "kind" in layout.columns else "label")


def _with_layout(dialect: Dialect, name: str, wanted: _Wanted) -> Protocol:
    layout = LAYOUTS[name]
    names = layout.columns
    if dialect.width != len(names):
        raise ProtocolError(
            f"{dialect.where()}: {dialect.width} columns; the layout {name} has {len(names)}: "
            f"{' '.join(names)}."
        )
    pairs = "kind" in names  # of a claimed speaker and a file
    needed = ["speaker", "id", "kind"] if pairs else ["id", "label"]
    others = [one for one in names if one not in ("id", "label", "-")]
    table, chosen = _read(dialect, names, needed, others, wanted)
    kept = {one: table.column(names.index(one)) for one in chosen}
    ids = table.column(names.index("id"))
    if pairs:
        ids = table.column(names.index("speaker")) + " " + ids
        kind = table.column(names.index("kind"))
        labels = kind.replace_strict(_ACCEPTED, default=kind)
    else:
        labels = table.column(names.index("label"))
    codes = encode_labels(labels, str(dialect.path))
    return _unique(Protocol(str(dialect.path), ids, codes, kept, note=layout.note), table)


def _unique(protocol: Protocol, table: Delimited) -> Protocol:
    """The protocol, if each id stands there once."""
    order = protocol.order()
    sorted_ids = protocol.ids.gather(order)
    repeated = (sorted_ids[1:] == sorted_ids[:-1]).to_numpy()
    if repeated.any():
        place = int(np.argmax(repeated))
        rows = sorted(int(order[n]) for n in (place, place + 1))
        raise ProtocolError(
            f"{table.where(rows[1])}: the id {protocol.ids[rows[1]]!r} already stands on line "
            f"{table.numbers[rows[0]]} ({int(repeated.sum())} repeated in all)."
        )
    return protocol
