"""The corpus contract over every reader; the other contracts stand with their shelves' tests."""

import numpy as np
import pytest
from miniatures import MINIATURES, build

from earwitness import audio, contracts, corpora
from earwitness.errors import ProtocolError
from earwitness.trials import Manifest, Trial

LA = "ASVspoof2019.LA.cm.{}.txt"


def tone(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, 0.1 * np.sin(np.arange(2000) / 7).astype(np.float32))


def make_manifest(root):
    for name in ("a", "b"):
        tone(root / f"{name}.wav")
    (root / "manifest.tsv").write_text("id\tpath\tlabel\na\ta.wav\tbonafide\nb\tb.wav\tspoof\n")
    return {}, 2


def make_folder(root):
    for name in ("bonafide/a", "spoof/x/b", "spoof/x/c"):
        tone(root / f"{name}.wav")
    return {}, 3


def make_vectors(root):
    (root / "manifest.tsv").write_text("id\tlabel\na\treal\nb\tfake\nc\tfake\nd\treal\n")
    np.save(root / "vectors.npy", np.ones((4, 3), dtype=np.float32))
    return {}, 4


def make_asvspoof(root):
    for part, kind in (("train", "trn"), ("dev", "trl"), ("eval", "trl")):
        lines = [
            f"LA_0001 LA_{part[0].upper()}_{n} - {s}" for n, s in ((1, "- bonafide"), (2, "A01 spoof"))
        ]
        protocol = root / "LA" / "ASVspoof2019_LA_cm_protocols" / LA.format(f"{part}.{kind}")
        protocol.parent.mkdir(parents=True, exist_ok=True)
        protocol.write_text("\n".join(lines) + "\n")
        for line in lines:
            tone(root / "LA" / f"ASVspoof2019_LA_{part}" / "flac" / f"{line.split()[1]}.flac")
    return {"check_counts": False}, 6


def make_in_the_wild(root):
    (root / "meta.csv").write_text("file,speaker,label\n0.wav,Ann Lee,spoof\n1.wav,Ann Lee,bona-fide\n")
    for name in ("0", "1"):
        tone(root / f"{name}.wav")
    return {"check_counts": False}, 2


def make_synthetic(root):
    return {"domains": ("upsampler",), "clips": (2, 1, 1), "seconds": (0.5, 0.6)}, 8


def make_images(root):
    for name in ("cat", "dog"):
        touch_all(root / name, "jpg")
    return {}, 20


def make_clear(root):
    for bucket in "12":
        touch_all(root / bucket / "bus", "jpg")
    return {}, 20


def make_evda(root):
    for label in ("real", "fake"):
        touch_all(root / "1" / label, "npy")
    return {}, 20


def touch_all(folder, suffix):
    folder.mkdir(parents=True)
    for number in range(10):
        (folder / f"{number}.{suffix}").touch()


MAKERS = {
    "images": make_images,
    "clear": make_clear,
    "evda": make_evda,
    "digits": lambda root: ({"tasks": 2}, 2 * 1797),
    "drifting": lambda root: ({}, 5 * 5500),
    "manifest": make_manifest,
    "folder": make_folder,
    "vectors": make_vectors,
    "asvspoof2019_la": make_asvspoof,
    "in_the_wild": make_in_the_wild,
    "synthetic": make_synthetic,
}


@pytest.mark.parametrize("name", corpora.CORPORA.table)
def test_every_reader_drops_nothing(name, tmp_path):
    if name in MINIATURES:
        settings, trials = build(name, tmp_path), len(MINIATURES[name][1])
    else:
        settings, trials = MAKERS[name](tmp_path)
    contracts.check_corpus(corpora.read(name, tmp_path, **settings), trials=trials)


def test_the_contract_catches_a_reader_that_drops_a_line_or_invents_a_file(tmp_path):
    tone(tmp_path / "a.wav")
    trial = Trial("a", "a.wav", "bonafide")
    with pytest.raises(AssertionError, match="1 trials read, 2 in the corpus"):
        contracts.check_corpus({"all": Manifest("m", [trial], root=tmp_path)}, trials=2)
    ghost = Trial("b", "b.wav", "spoof")
    with pytest.raises(ProtocolError, match=r"1 of 2 audio file\(s\) not found"):
        contracts.check_corpus({"all": Manifest("m", [trial, ghost], root=tmp_path)}, trials=2)
