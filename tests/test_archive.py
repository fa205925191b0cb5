"""An archive to a score file: every recording once, whatever happens on the way."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness import audio
from earwitness.archive import (
    Journal,
    Listener,
    Outcome,
    Recording,
    Share,
    gather,
    hear_all,
    score_archive,
)
from earwitness.archive import tables as archive_tables
from earwitness.archive.listening import hear
from earwitness.archive.recordings import chunks
from earwitness.detector import Detector
from earwitness.errors import ProtocolError, RunError, SettingsError
from earwitness.processes import as_they_come
from earwitness.scores import Scores
from earwitness.windows import Windows

POLICY = Windows(1.0, 0.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """150 clips in two folders, some shorter than a window and some of several, and a detector."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    for n in range(150):
        where = folder / "clips" / ("a" if n % 2 else "b")
        where.mkdir(parents=True, exist_ok=True)
        samples = int(16_000 * (0.4 + 0.03 * n))
        audio.write(where / f"{n:03}.flac", 0.1 * rng.normal(size=samples).clip(-5, 5))
    (folder / "clips" / "notes.txt").write_text("no recording")
    Detector.build("lfcc", {"name": "resnet", "width": 4}, seed=1, windows=POLICY).save(folder / "d")
    return folder


@pytest.fixture(scope="module")
def listener(place) -> Listener:
    return Listener.open(place / "d", workers=1)


@pytest.fixture
def clips(place) -> list[Recording]:
    return gather([place / "clips"])


def table(heard) -> dict[str, float]:
    return {name: row.mean for name, row in heard.rows.items()}


# What is in an archive.


def test_folders_files_and_manifests_are_one_sorted_list(place, tmp_path) -> None:
    skipped: Counter[str] = Counter()
    found = gather([place / "clips"], skipped=skipped)
    assert len(found) == 150
    assert skipped == {".txt": 1}
    assert [one.name for one in found] == sorted(one.name for one in found)
    first = Path(found[0].path)
    (tmp_path / "m.csv").write_text(f"id,path,label\nx1,{first},spoof\n")
    both = gather([tmp_path / "m.csv", "elsewhere.wav"])
    assert [(one.name, one.label, one.bytes) for one in both] == [
        ("elsewhere.wav", "unknown", -1),
        ("x1", "spoof", first.stat().st_size),
    ]


def test_trials_of_a_manifest_are_chosen_by_its_columns(tmp_path) -> None:
    lines = [
        "id,path,label,split,codec",
        "a,a.wav,spoof,dev,x",
        "b,b.wav,spoof,dev,y",
        "c,c.wav,spoof,test,x",
    ]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")

    def chosen(**where: str) -> list[str]:
        return [one.name for one in gather([tmp_path / "m.csv"], where)]

    assert chosen(split="dev") == ["a", "b"]
    assert chosen(split="dev|test", codec="x") == ["a", "c"]
    with pytest.raises(ProtocolError, match=r"no trial has split=def; did you mean 'dev'\?"):
        chosen(split="def")
    with pytest.raises(SettingsError, match="is none"):
        gather(["a.wav"], {"split": "dev"})


def test_what_is_no_archive_is_refused(place, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProtocolError, match=r"no recordings are in it; expected files named \.wav"):
        gather([tmp_path / "empty"])
    with pytest.raises(SettingsError, match="named twice"):
        gather([place / "clips", place / "clips" / "a" / "001.flac"])
    with pytest.raises(SettingsError, match="no recordings are named"):
        gather([])


@settings(deadline=None)
@given(st.lists(st.integers(-1, 2**26), min_size=1, max_size=200))
def test_chunks_part_the_list_by_number_and_size(sizes) -> None:
    recordings = [Recording(str(n), str(n), size, 0) for n, size in enumerate(sizes)]
    parts = chunks(recordings)
    assert [one for part in parts for one in part] == recordings
    for part in parts:
        assert 1 <= len(part) <= 64
        assert len(part) == 1 or sum(one.bytes for one in part) <= 2**25


# What is heard.


def test_each_recording_has_the_score_that_the_detector_gives_it_alone(listener, clips) -> None:
    found = list(hear_all(listener, clips))
    assert [one.name for one in found] == [one.name for one in clips]
    for one in found[::7]:
        alone = listener.detector.score(one.name)
        assert one.scores == pytest.approx(alone.windows, abs=1e-5)
        assert one.samples == len(audio.read(one.name).wave)


def test_a_score_does_not_depend_on_what_is_heard_beside_it(listener, clips) -> None:
    """First among some, last among others, and alone."""
    first = hear(listener.detector, POLICY, clips[:40])[0]
    last = hear(listener.detector, POLICY, [*clips[40:79], clips[0]])[-1]
    (alone,) = hear(listener.detector, POLICY, clips[:1])
    assert first.scores == pytest.approx(alone.scores, abs=1e-5)
    assert last.scores == pytest.approx(alone.scores, abs=1e-5)


def test_a_recording_that_cannot_be_used_leaves_nothing_behind(listener, clips, tmp_path) -> None:
    bad = tmp_path / "bad.flac"
    bad.write_bytes(Path(clips[5].path).read_bytes()[:4000])
    some = [clips[0], Recording.of("bad", str(bad)), Recording.of("gone", "gone.wav"), clips[1]]
    first, damaged, gone, last = hear(listener.detector, POLICY, some)
    assert damaged.failed
    assert damaged.scores == ()
    assert gone.failed == "no such file"
    assert last.scores == pytest.approx(listener.detector.score(clips[1].path).windows, abs=1e-5)
    assert first.failed is None


def test_a_score_that_is_no_number_is_a_failure_of_its_recording(listener, clips) -> None:
    class Broken:
        def score_windows(self, rows):
            return np.where(np.arange(len(rows)) == 0, np.nan, 1.0)

    first, second = hear(Broken(), POLICY, clips[:2])
    assert "NaN" in first.failed
    assert second.failed is None


def test_long_recordings_are_heard_in_pieces(listener, tmp_path) -> None:
    """Over five minutes: at 16 kHz each window is the same, and so is its score."""
    wave = 0.1 * np.random.default_rng(1).normal(size=16_000 * 301).clip(-5, 5)
    audio.write(tmp_path / "long.wav", wave)
    (one,) = hear(listener.detector, Windows(1.0, 1.0), gather([tmp_path / "long.wav"]))
    alone = listener.detector.score(tmp_path / "long.wav", windows=Windows(1.0, 1.0))
    assert one.scores == pytest.approx(alone.windows, abs=1e-5)


# The journal.

TOLD = {"detector": "d", "windows": {"seconds": 1.0, "hop": 0.5}}


def outcome(name: str, score: float = 0.5) -> Outcome:
    return Outcome(name, name, 1, 2, 16_000, (score, score))


def test_a_torn_line_is_dropped_and_the_next_is_whole(tmp_path) -> None:
    with Journal(tmp_path / "j", TOLD) as journal:
        journal.append([outcome("a"), outcome("ü")])
    lines = tmp_path / "j" / "0.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole + whole[:20])
    assert [one.name for one in Journal(tmp_path / "j", TOLD).read()] == ["a", "ü"]
    with Journal(tmp_path / "j", TOLD) as journal:
        journal.append([outcome("b")])
        assert [one.name for one in journal.read()] == ["a", "ü", "b"]


def test_other_detectors_other_windows_and_other_folders_are_refused(tmp_path) -> None:
    with Journal(tmp_path / "j", TOLD):
        pass
    with pytest.raises(SettingsError, match=r"another detector \(d, now e\)"):
        Journal(tmp_path / "j", {**TOLD, "detector": "e"}).__enter__()
    with pytest.raises(SettingsError, match="another windows"):
        Journal(tmp_path / "j", {**TOLD, "windows": {"seconds": 2.0, "hop": 0.5}}).__enter__()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(SettingsError, match="no journal"):
        Journal(tmp_path / "mine", TOLD).__enter__()


def test_a_damaged_line_says_where(tmp_path) -> None:
    with Journal(tmp_path / "j", TOLD) as journal:
        journal.append([outcome("a")])
    with open(tmp_path / "j" / "0.jsonl", "a") as file:
        file.write("[[1, 2]]\n")
    with pytest.raises(RunError, match=r"0\.jsonl: line 2 is damaged"):
        list(journal.read())


def test_two_processes_cannot_write_one_journal(tmp_path) -> None:
    with (
        Journal(tmp_path / "j", TOLD),
        pytest.raises(RunError, match="another process"),
        Journal(tmp_path / "j", TOLD),
    ):
        pass
    with Journal(tmp_path / "j", TOLD), Journal(tmp_path / "j", TOLD, writer=1):
        pass  # processes of one run have a file each


def test_a_score_holds_against_an_older_failure_of_another_writer(clips, tmp_path) -> None:
    """Writers' files are read in their order, not in that of time."""
    one = clips[0]
    scored = Outcome.of(one, samples=32_000, scores=(1.0, 2.0, 3.0))
    failed = Outcome.of(one, failed="no decoder was there then")
    with Journal(tmp_path / "j", TOLD, writer=1) as journal:
        journal.append([failed])
    with Journal(tmp_path / "j", TOLD, writer=0) as journal:
        journal.append([scored])
        rows = archive_tables.rows_of(journal, [one])
        archive_tables.write_segments(tmp_path / "g.csv", journal, [one], POLICY)
    assert rows[one.name].mean == 2.0
    assert pl.read_csv(tmp_path / "g.csv")["score"].to_list() == [1.0, 2.0, 3.0]
    with Journal(tmp_path / "f", TOLD) as journal:
        journal.append([failed])
        assert archive_tables.rows_of(journal, [one])[one.name].failed


def test_odd_names_are_spelled_out_and_come_back(place, listener, tmp_path) -> None:
    names = [
        "with, comma.flac",
        'with "quotes".flac',
        "two\nlines.flac",
        "ü ß.flac",
        "byte-\udcff.flac",
    ]
    (tmp_path / "odd").mkdir()
    for name in names:
        shutil.copy(place / "clips" / "a" / "001.flac", tmp_path / "odd" / name)
    found = gather([tmp_path / "odd"])
    heard = score_archive(listener, found, tmp_path / "s.csv")
    assert not heard.failed
    archive_tables.write_scores(tmp_path / "s.csv", heard.rows, {one.name: one.label for one in found})
    told = [
        name.removeprefix(f"{tmp_path}/odd/") for name in pl.read_csv(tmp_path / "s.csv")["file_name"]
    ]
    assert sorted(told) == sorted([*names[:4], "byte-\\xff.flac"])
    assert score_archive(listener, found, tmp_path / "s.csv").already == 5


# Nothing lost, nothing twice.


def test_only_what_is_new_changed_or_failed_is_heard_again(listener, clips, tmp_path) -> None:
    mine = tmp_path / "mine.flac"
    mine.write_bytes(b"nothing")
    some = clips[:5]
    first = score_archive(listener, [*some, Recording.of("mine", str(mine))], tmp_path / "s.csv")
    assert list(first.failed) == ["mine"]
    mine.write_bytes(Path(clips[7].path).read_bytes())
    heard = []
    again = score_archive(
        listener, [*some, Recording.of("mine", str(mine)), clips[6]], tmp_path / "s.csv",
        on_chunk=lambda clips, seconds: heard.append(clips),
    )  # fmt: skip
    assert heard == [5, 2]
    assert again.already == 5
    assert not again.failed
    assert table(again)["mine"] == pytest.approx(listener.detector.score(mine).mean, abs=1e-5)
    mine.write_bytes(Path(clips[8].path).read_bytes())
    now = [*some, Recording.of("mine", str(mine)), clips[6]]
    assert score_archive(listener, now, tmp_path / "s.csv").already == 6
    assert score_archive(listener, now, tmp_path / "s.csv").already == 7


KILLED = """
import os, signal, sys
from earwitness.archive import Listener, gather, score_archive
chunks = []
def on_chunk(clips, seconds):
    chunks.append(clips)
    first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if first and len(chunks) == 2 and os.environ.get("RANK", "1") == "1":
        os.kill(os.getpid(), signal.SIGKILL)
folder, detector, out = sys.argv[1:]
heard = score_archive(Listener.open(detector, workers=1), gather([folder]), out, on_chunk=on_chunk)
if heard is not None:
    print(len(heard.rows), heard.already)
"""


def names_in(journal: Path) -> Counter[str]:
    lines = [line for path in journal.glob("*.jsonl") for line in path.read_text().splitlines()]
    return Counter(one[0] for line in lines for one in json.loads(line))


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on_to_the_same_bits(place, listener, clips, tmp_path):
    words = [sys.executable, "-c", KILLED, place / "clips", place / "d", tmp_path / "k.csv"]
    killed = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert 0 < len(names_in(tmp_path / "k.csv.journal")) < 150
    whole = score_archive(listener, clips, tmp_path / "w.csv")
    resumed = score_archive(listener, clips, tmp_path / "k.csv")
    assert resumed.already == 64
    assert resumed.rows == whole.rows
    assert set(names_in(tmp_path / "k.csv.journal").values()) == {1}


@pytest.mark.slow
def test_processes_of_torchrun_share_the_work_and_one_may_be_killed(place, listener, clips, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    words = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
        *("--max-restarts", "1", tmp_path / "killed.py", place / "clips", place / "d"),
        tmp_path / "t.csv",
    ]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "(exitcode: -9)" in done.stderr
    shared = score_archive(listener, clips, tmp_path / "t.csv")
    assert shared.already == 150
    assert table(shared) == pytest.approx(table(score_archive(listener, clips, tmp_path / "w.csv")))
    assert set(names_in(tmp_path / "t.csv.journal").values()) == {1}
    assert len(list((tmp_path / "t.csv.journal").glob("*.jsonl"))) == 2


def test_shares_part_the_recordings_whatever_each_process_sees(clips) -> None:
    shares = [Share(n, 3, "run").of(clips) for n in range(3)]
    assert sorted(one.name for part in shares for one in part) == [one.name for one in clips]
    assert min(map(len, shares)) > 30
    fewer = Share(1, 3, "run").of(clips[::2])
    assert fewer == [one for one in shares[1] if one in clips[::2]]
    assert Share().of(clips) == clips


def test_the_first_process_waits_for_the_others_of_its_run(tmp_path) -> None:
    first, second = Share(0, 2, "new"), Share(1, 2, "new")
    Share(1, 2, "old").finish(tmp_path)  # is not meant
    first.begin(tmp_path)
    waiting = threading.Thread(target=first.finish, args=(tmp_path,), daemon=True)
    waiting.start()
    waiting.join(0.8)
    assert waiting.is_alive()
    second.begin(tmp_path)
    second.finish(tmp_path)
    waiting.join(10)
    assert not waiting.is_alive()


def _nothing() -> None:
    pass


def _dies_once(path: str) -> str:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return path
    os._exit(1)


def _blamed(path: str) -> str:
    return "blamed"


def _dies_of_one(path: str) -> str:
    if path == "fatal":
        os._exit(1)
    return path


def _dies_of_clip_140(recordings: list[Recording]) -> list[Outcome]:
    if any(Path(one.path).name == "140.flac" for one in recordings):
        os._exit(1)
    return [Outcome.of(one, samples=16_000, scores=(1.0,)) for one in recordings]


@pytest.mark.slow
def test_a_worker_that_dies_costs_nothing_but_time(tmp_path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    jobs = [(n, str(mark if n == 3 else tmp_path / str(n))) for n in range(9)]
    found = []
    for one in as_they_come(_dies_once, iter(jobs), 2, _nothing, (), _blamed):
        found.append(one)
        time.sleep(0.1)  # who takes the results may be slow
    assert sorted(found) == jobs
    assert not mark.exists()


@pytest.mark.slow
def test_what_kills_every_process_is_named_and_costs_nobody_else_anything() -> None:
    jobs = [(n, "fatal" if n == 4 else str(n)) for n in range(9)]
    found = dict(as_they_come(_dies_of_one, iter(jobs), 2, _nothing, (), _blamed))
    assert found == {n: "blamed" if n == 4 else word for n, word in jobs}


@pytest.mark.slow
def test_a_recording_of_which_every_worker_dies_is_a_failure_of_its_own(place, clips, monkeypatch):
    from earwitness import archive

    monkeypatch.setattr(archive, "hear_here", _dies_of_clip_140)
    parts = chunks(clips)
    listener = Listener.open(place / "d", workers=2)
    heard = dict(listener.hear(parts, iter(range(len(parts)))))
    failed = [one.name for part in heard.values() for one in part if one.failed]
    assert failed == [one.name for one in clips if one.path.endswith("140.flac")]
    assert sum(len(part) for part in heard.values()) == 150


def test_another_detector_in_the_folder_is_not_mixed_in(place, clips, tmp_path) -> None:
    listener = Listener.open(place / "d", workers=2)
    Detector.build("lfcc", "linear", windows=POLICY).save(tmp_path / "d")
    other = replace(listener, folder=tmp_path / "d")
    with pytest.raises(RunError, match="another detector is there now"):
        score_archive(other, clips[:3], tmp_path / "s.csv")


def test_what_nobody_may_read_is_a_failure_and_no_end(listener, clips, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    long = str(tmp_path / f"{'x' * 300}.wav")
    some = [Recording.of("pipe", str(tmp_path / "pipe.wav")), Recording.of("long", long), clips[0]]
    pipe, long_, good = hear(listener.detector, POLICY, some)
    assert "a device or a pipe" in pipe.failed
    assert "can't be read" in long_.failed
    assert good.failed is None


def test_the_same_name_of_another_file_is_heard(listener, clips, tmp_path) -> None:
    """Size and time may be the same, as of files that came from one archive."""
    shutil.copy2(clips[3].path, tmp_path / "a.flac")
    shutil.copy2(clips[3].path, tmp_path / "b.flac")
    for name in "ab":
        os.utime(tmp_path / f"{name}.flac", (1, 1))
        heard = score_archive(
            listener, [Recording.of("u1", str(tmp_path / f"{name}.flac"))], tmp_path / "s"
        )
        assert heard.already == 0


@pytest.mark.slow
def test_several_workers_give_what_one_gives(place, listener, clips, tmp_path) -> None:
    several = Listener.open(place / "d", workers=2)
    one = score_archive(listener, clips, tmp_path / "1.csv")
    two = score_archive(several, clips, tmp_path / "2.csv")
    assert list(one.rows) == list(two.rows)
    assert table(two) == pytest.approx(table(one), abs=1e-5)


def test_what_other_processes_wrote_elsewhere_is_missed(listener, clips, tmp_path) -> None:
    with (
        Journal(tmp_path / "j", TOLD) as journal,
        pytest.raises(RunError, match="2 of 2 recordings are not in it"),
    ):
        archive_tables.rows_of(journal, clips[:2])


# The command.


def call(*words: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "earwitness", "score", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def told(place) -> subprocess.CompletedProcess:
    some = place / "some"
    some.mkdir()
    for path in sorted((place / "clips" / "a").iterdir())[:30]:
        for name in (path.name, f"again-{path.name}", f"more-{path.name}"):
            (some / name).write_bytes(path.read_bytes())
    (some / "bad.wav").write_bytes(b"nothing")
    words = ("some", "-d", "d", "-o", "s.csv", "--segments", "g.parquet")
    return call(*words, cwd=place)


def test_a_folder_becomes_a_score_file_and_says_what_failed(place, told) -> None:
    assert told.returncode == 1, told.stderr
    assert "failed: some/bad.wav: not audio" in told.stderr
    assert "1 of 91 file(s) not scored" in told.stderr
    assert "90 of 91 recordings scored" in told.stdout
    assert "x real time" in told.stdout
    scores = Scores.read(place / "s.csv")
    assert scores.ids == sorted(scores.ids)
    assert len(scores) == 90
    side = json.loads((place / "s.csv.json").read_text())
    assert [one["id"] for one in side["coverage"]["failed"]] == ["some/bad.wav"]
    frame = pl.read_csv(place / "s.csv")
    assert frame.columns == ["file_name", "score", "label", "worst", "seconds", "windows"]


def test_segments_are_each_windows_place_and_score(place, told) -> None:
    whole, parts = pl.read_csv(place / "s.csv"), pl.read_parquet(place / "g.parquet")
    means = parts.group_by("file_name", maintain_order=True).agg(
        pl.col("score").mean(), pl.col("end").max(), pl.len().alias("windows")
    )
    assert means["file_name"].to_list() == whole["file_name"].to_list()
    assert means["score"].to_numpy() == pytest.approx(whole["score"].to_numpy())
    assert means["end"].to_list() == whole["seconds"].to_list()
    assert means["windows"].to_list() == whole["windows"].to_list()
    one = parts.filter(pl.col("file_name") == "some/059.flac")
    assert one["start"].to_list() == [0.0, 0.5, 1.0, 1.17]


def test_again_it_does_nothing_and_parquet_says_the_same(place, told) -> None:
    before = (place / "s.csv").read_bytes()
    again = call("some", "-d", "d", "-o", "s.csv", "--skip-bad", cwd=place)
    assert again.returncode == 0
    assert "90 of them earlier" in again.stdout
    assert (place / "s.csv").read_bytes() == before
    other = call("some", "-d", "d", "-o", "s.parquet", "--skip-bad", cwd=place)
    assert other.returncode == 0, other.stderr
    assert pl.read_parquet(place / "s.parquet").equals(pl.read_csv(place / "s.csv"))
    stored, plain = Scores.read(place / "s.parquet"), Scores.read(place / "s.csv")
    assert stored.ids == plain.ids
    assert stored.values.tolist() == plain.values.tolist()
    (place / "no.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(ProtocolError, match="not a Parquet file"):
        Scores.read(place / "no.parquet")


WRONG = {
    ("some", "-d", "d", "-o", "s.xls"): (2, "ends in .csv, .tsv, .parquet"),
    ("some", "-d", "d", "--segments", "g.csv"): (2, "goes with --out"),
    ("some", "-d", "d", "-o", "n.csv", "--segments", "n.csv"): (2, "written twice"),
    ("some", "-d", "d", "-o", "n.csv", "--device", "cuda:99"): (2, "can't be used"),
    ("some", "-d", "d", "-o", "s.csv", "--window", "0.5"): (2, "another windows"),
    ("some", "-d", "d", "--workers", "0"): (2, "workers"),
    ("some/bad.wav", "-d", "d", "-o", "b.csv"): (1, "none of the 1 recordings can be used"),
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage(words, place, told) -> None:
    code, message = WRONG[words]
    found = call(*words, cwd=place)
    assert (found.returncode, message in found.stderr) == (code, True), found.stderr
    assert "Traceback" not in found.stderr
