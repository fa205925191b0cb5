"""Hugging Face datasets on disk, in the forms their library writes."""

import io
import json

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness import corpora
from earwitness.audio import read as read_audio
from earwitness.errors import ProtocolError, SettingsError


def flac(seed: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(seed).normal(0, 0.1, 8000), 16_000, format="FLAC")
    return out.getvalue()


def frame(labels: list, **other: list) -> pl.DataFrame:
    audio = [{"bytes": flac(n), "path": f"{n}.flac" if n % 2 else None} for n in range(len(labels))]
    return pl.DataFrame({"audio": audio, "label": labels, **other})


def test_an_audio_folder_with_csv_and_jsonl(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "train/metadata.csv").write_text(
        "file_name,label,generator\na.wav,fake,vits\nb.wav,real,\n"
    )
    rows = [{"file_name": "c/d.wav", "label": "bona-fide", "generator": None, "codec": "mp3"}]
    (tmp_path / "test/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    parts = corpora.read("hf", tmp_path, columns={"attack": "generator"}, require_audio=False)
    assert {name: part.counts("attack") for name, part in parts.items()} == {
        "train": {"vits": 1, "-": 1},
        "test": {"-": 1},
    }
    assert next(iter(parts["test"])).path == "test/c/d.wav"
    assert next(iter(parts["test"])).get("codec") == "mp3"
    with pytest.raises(ProtocolError, match="3 of 3|not found"):
        corpora.read("hf", tmp_path)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_audio_inside_tables_is_written_out_once(form, tmp_path):
    root, out = tmp_path / "data set", tmp_path / "out"
    (root / "data").mkdir(parents=True)
    if form == "parquet":
        frame([0, 1], speaker=["ann", "ben"]).write_parquet(root / "data/train-00000-of-00001.parquet")
    else:
        (root / "train").mkdir()
        frame([0, 1], speaker=["ann", "ben"]).write_ipc_stream(root / "train/data-00000-of-00001.arrow")
    info = {"features": {"label": {"_type": "ClassLabel", "names": ["bonafide", "spoof"]}}}
    (root / "dataset_info.json").write_text(json.dumps(info, indent=1))
    parts = corpora.read("hf", root, extract_to=str(out))
    trials = list(parts["train"])
    assert [(t.label, t.speaker) for t in trials] == [("bonafide", "ann"), ("spoof", "ben")]
    assert len(read_audio(parts["train"].path(trials[0])).wave) == 8000
    written = {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")}
    assert len(written) == 2
    again = corpora.read("hf", root, extract_to=str(out))
    assert again["train"].fingerprint() == parts["train"].fingerprint()
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")} == written
    with pytest.raises(SettingsError, match="say where to write it"):
        corpora.read("hf", root)


def test_what_numbers_mean_is_asked_for(tmp_path):
    frame([0, 1]).write_parquet(tmp_path / "train-00000-of-00001.parquet")
    out = str(tmp_path / "out")
    with pytest.raises(ProtocolError, match="row 0: .*Say what 0 and 1 mean with classes"):
        corpora.read("hf", tmp_path, extract_to=out)
    parts = corpora.read("hf", tmp_path, extract_to=out, classes=("spoof", "bonafide"))
    assert [t.label for t in parts["train"]] == ["spoof", "bonafide"]


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(ProtocolError, match="expected metadata.csv"):
        corpora.read("hf", tmp_path)
    shard = tmp_path / "train-00000-of-00001.parquet"
    out = str(tmp_path / "out")
    shard.write_bytes(b"PAR1 no")
    with pytest.raises(ProtocolError, match="not a table"):
        corpora.read("hf", tmp_path, extract_to=out)
    frame(["real"]).rename({"audio": "sound"}).write_parquet(shard)
    with pytest.raises(ProtocolError, match="no column 'audio'"):
        corpora.read("hf", tmp_path, extract_to=out)
    frame(["real"]).rename({"label": "labl"}).write_parquet(shard)
    with pytest.raises(ProtocolError, match="did you mean 'labl'"):
        corpora.read("hf", tmp_path, extract_to=out)
    pl.DataFrame({"audio": [{"bytes": None, "path": "x.wav"}], "label": ["real"]}).write_parquet(shard)
    with pytest.raises(ProtocolError, match="row 0: no bytes"):
        corpora.read("hf", tmp_path, extract_to=out)
    shard.unlink()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.wav"\n')
    with pytest.raises(ProtocolError, match="line 1: not JSON"):
        corpora.read("hf", tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file": "a.wav", "label": "real"}\n')
    with pytest.raises(ProtocolError, match="no column 'file_name'"):
        corpora.read("hf", tmp_path)
