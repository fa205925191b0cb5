"""What LA and DF of ASVspoof 2021 share: keys of one form, subsets, audio in one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import chosen, finish, read_lines
from earwitness.trials import Manifest, Trial

SUBSETS = ("eval", "progress", "hidden")


def read_2021(
    root: str | Path,
    track: str,
    columns: Sequence[str],
    counts: Mapping[str, Mapping[str, int]],
    *,
    subsets: tuple[str, ...],
    check_counts: bool,
    require_audio: bool,
) -> dict[str, Manifest]:
    """One manifest a subset, from ``keys/<track>/CM/trial_metadata.txt``."""
    wanted = chosen(subsets, SUBSETS, f"asvspoof2021_{track.lower()}")
    holder = find_holder(root, f"keys/{track}").parent
    folder = f"ASVspoof2021_{track}_eval/flac"
    known = ("speaker", "id", "attack", "label", "subset")

    def make(cells: dict[str, str], label: str) -> Trial:
        attack = "-" if label == "bonafide" else cells["attack"]
        tags = {name: value for name, value in cells.items() if name not in known}
        return Trial(
            cells["id"], f"{folder}/{cells['id']}.flac", label,
            attack=attack, speaker=cells["speaker"], split=cells["subset"], tags=tags,
        )  # fmt: skip

    key = holder / "keys" / track / "CM" / "trial_metadata.txt"
    name = f"asvspoof2021_{track.lower()}"
    whole = Manifest(name, read_lines(key, columns, make), root=holder).split()
    parts = {one: whole[one] for one in wanted if one in whole}
    return finish(parts, counts, check_counts=check_counts, require_audio=require_audio)
