"""What is known of a published corpus: where it comes from, its licence, its official numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["About"]


@dataclass(frozen=True)
class About:
    """Facts of one corpus; a reader without one is of a layout, not of a corpus.

    ``counts`` are official trials by split and label (``total`` where only that is stated).
    ``doubtful`` names what of them is not certain, which is told and not enforced. ``digests`` are
    MD5 sums of files below the root as published; ``speakers`` official numbers by split. ``zenodo``
    is the record that a program may fetch it from, where the licence lets it.

    >>> About("Toy", "nobody 2026", "https://example.org", "CC0").counts
    {}
    """

    title: str
    source: str
    home: str
    licence: str
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    speakers: Mapping[str, int] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    doubtful: str = ""
    by_hand: str = ""
    zenodo: str = ""
