"""Long recordings in blocks, beside the same recordings read whole."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from earwitness import audio, blocks
from earwitness.errors import AudioError, SettingsError


def recording(path, rate: int, channels: int, seconds: float):
    rng = np.random.default_rng(rate)
    wave = 0.1 * rng.normal(size=(round(rate * seconds), channels)).clip(-4, 4)
    soundfile.write(path, wave, rate)
    return path


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (8_000, 2), (44_100, 2)])
def test_blocks_are_the_wave_that_read_gives(tmp_path, rate, channels) -> None:
    path = recording(tmp_path / "a.wav", rate, channels, 47.3)
    whole = audio.read(path).wave
    pieces = list(blocks.blocks(path, whole_seconds=1))
    assert len(pieces) > 4
    joined = np.concatenate(pieces)
    assert len(joined) == len(whole)
    np.testing.assert_allclose(joined, whole, atol=2e-7 if rate != 16_000 else 0)
    (at_once,) = blocks.blocks(path)
    np.testing.assert_array_equal(at_once, whole)


@pytest.mark.parametrize("length", [1, 5, 1599, 1600, 1601, 4000, 4800, 4801, 12_345])
@pytest.mark.parametrize("hop", [1600, 700])
def test_windows_are_those_of_the_whole_wave(length, hop) -> None:
    wave = np.random.default_rng(length).normal(size=length).astype(np.float32)
    wanted = [(s, audio.crop_or_repeat(wave, 1600, start=s)) for s in audio.windows(length, 1600, hop)]
    for size in (1, 333, 1600, 50_000):
        if size == 1 and length > 5000:
            continue
        heard = blocks.Heard()
        pieces = (wave[n : n + size] for n in range(0, length, size))
        found = list(blocks.windows_of(pieces, 1600, hop, heard))
        assert [start for start, _ in found] == [start for start, _ in wanted]
        for (_, one), (_, other) in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
        assert heard.samples == length


def test_faults_of_long_recordings_are_told(tmp_path) -> None:
    def hear(path):
        return list(blocks.blocks(path, whole_seconds=0.5))

    soundfile.write(tmp_path / "flat.wav", np.full(32_000, 0.25), 16_000)
    with pytest.raises(AudioError, match="constant"):
        hear(tmp_path / "flat.wav")
    wave = np.random.default_rng(0).normal(size=400_000).astype(np.float32) / 9
    wave[300_000] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        hear(tmp_path / "nan.wav")
    with pytest.raises(AudioError, match="no such file"):
        hear(tmp_path / "none.wav")
    good = recording(tmp_path / "good.flac", 16_000, 1, 60)
    data = good.read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError):
        hear(tmp_path / "cut.flac")


def test_what_libsndfile_refuses_is_streamed_by_the_other_decoder(tmp_path, monkeypatch) -> None:
    pytest.importorskip("av")
    path = recording(tmp_path / "a.flac", 16_000, 1, 30)
    whole = audio.read(path).wave

    def refuse(*_, **__):
        raise soundfile.LibsndfileError(1)

    monkeypatch.setattr(soundfile, "SoundFile", refuse)
    monkeypatch.setattr(blocks, "_UNKNOWN_BYTES", 1)
    monkeypatch.setattr(soundfile, "info", refuse)
    pieces = list(blocks.blocks(path))
    assert len(pieces) > 4
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.slow
def test_an_hour_of_stereo_goes_through_in_bounded_memory(tmp_path) -> None:
    path = tmp_path / "hour.wav"
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44_100, 2, subtype="PCM_16") as file:
        minute = (0.1 * rng.normal(size=(44_100 * 60, 2))).clip(-1, 1)
        for _ in range(60):
            file.write(minute)
    code = (
        "import resource, sys; from earwitness import blocks\n"
        "heard = blocks.Heard()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n = sum(1 for _ in blocks.windows_of(blocks.blocks(sys.argv[1]), 48000, 24000, heard))\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(n, heard.samples, grown // 1024)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    windows, samples, mebibytes = map(int, told.stdout.split())
    assert samples == 3600 * 16_000
    assert windows == len(audio.windows(samples, 48_000, 24_000))
    assert mebibytes < 60


def test_a_hop_of_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="hop"):
        list(blocks.windows_of(iter([np.zeros(9, np.float32)]), 4, 0, blocks.Heard()))
