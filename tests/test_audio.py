"""Audio in and out: formats, rates, the second decoder, every refusal, and the cutting of waves."""

import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earwitness import audio
from earwitness.errors import AudioError, SettingsError

RNG = np.random.default_rng(7)
NOISE = np.clip(0.1 * RNG.standard_normal(16_000), -1, 1)

WIDTHS = {
    "wav": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    "flac": ("PCM_S8", "PCM_16", "PCM_24"),
    "ogg": ("VORBIS", "OPUS"),
    "mp3": ("MPEG_LAYER_III",),
}
FORMATS = [
    (extension, width, rate, channels)
    for extension, widths in WIDTHS.items()
    for width in widths
    for rate in ((8_000, 16_000, 48_000) if width == "OPUS" else (8_000, 16_000, 44_100))
    for channels in (1, 2)
]


def tone(hertz, rate, seconds=1.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def level(wave):
    """RMS in dB, the middle half only: resampling filters ring at the edges."""
    middle = wave[len(wave) // 4 : -len(wave) // 4]
    return 10 * np.log10(np.mean(np.square(middle, dtype=np.float64)) + 1e-30)


def refused(path, **settings):
    with pytest.raises(AudioError) as caught:
        audio.read(path, **settings)
    assert caught.value.path == str(path)
    return caught.value.reason


# Formats


def test_every_format_is_tried():
    assert len(FORMATS) == 12 * 3 * 2


@pytest.mark.parametrize(("extension", "width", "rate", "channels"), FORMATS)
def test_a_tone_survives_every_format_rate_width_and_channel_count(
    tmp_path, extension, width, rate, channels
):
    path = tmp_path / f"tone.{extension}"
    frames = np.repeat(tone(1_000, rate)[:, None], channels, axis=1)
    soundfile.write(path, frames, rate, subtype=width)
    clip = audio.read(path)
    assert (clip.original_rate, clip.channels, clip.decoder) == (rate, channels, "soundfile")
    assert clip.wave.dtype == np.float32
    assert clip.wave.ndim == 1
    assert clip.wave.flags.c_contiguous
    assert clip.duration == pytest.approx(1.0, abs=0.001)
    tolerance = 0.3 if extension in ("ogg", "mp3") else 0.1  # lossy coders change the level
    assert level(clip.wave) == pytest.approx(level(tone(1_000, 16_000)), abs=tolerance)
    spectrum = np.abs(np.fft.rfft(clip.wave[:16_000] * np.hanning(len(clip.wave[:16_000]))))
    assert np.argmax(spectrum) == pytest.approx(1_000, abs=1)


def test_mono_is_the_mean_of_the_channels(tmp_path):
    frames = RNG.integers(-9_000, 9_000, (5_000, 3)).astype(np.int16)
    soundfile.write(tmp_path / "three.wav", frames, 16_000)
    expected = frames.astype(np.float64).mean(axis=1) / 32_768
    np.testing.assert_allclose(audio.read(tmp_path / "three.wav").wave, expected, atol=1e-7)


@pytest.mark.parametrize("extension", ["flac", "wav"])
def test_write_and_read_are_inverse_on_all_16_bit_values(tmp_path, extension):
    path = tmp_path / f"all.{extension}"
    wave = (np.arange(-32_768, 32_768) / 32_768).astype(np.float32)
    audio.write(path, wave)
    np.testing.assert_array_equal(audio.read(path).wave, wave)
    assert soundfile.info(path).subtype == "PCM_16"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# Resampling


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_what_16_khz_cannot_hold_vanishes(tmp_path, rate):
    soundfile.write(tmp_path / "high.wav", tone(10_000, rate), rate, subtype="FLOAT")
    # Picking samples would fold the tone to 6 kHz at full level.
    assert level(audio.read(tmp_path / "high.wav").wave) < -100


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000, 96_000])
def test_a_low_tone_keeps_its_level_phase_and_time(tmp_path, rate):
    soundfile.write(tmp_path / "low.wav", tone(1_000, rate), rate, subtype="FLOAT")
    wave = audio.read(tmp_path / "low.wav").wave
    assert level(wave) == pytest.approx(level(tone(1_000, 16_000)), abs=0.1)
    np.testing.assert_allclose(wave[4_000:12_000], tone(1_000, 16_000)[4_000:12_000], atol=1e-4)


def test_resampling_agrees_with_the_fourier_transform(tmp_path):
    low = scipy.signal.firwin(301, 6_500, fs=44_100)
    wave = scipy.signal.fftconvolve(0.3 * RNG.uniform(-1, 1, 44_100), low, "same")
    soundfile.write(tmp_path / "noise.wav", wave, 44_100, subtype="FLOAT")
    ours = audio.read(tmp_path / "noise.wav").wave
    exact = scipy.signal.resample(wave, 16_000)  # periodic: its ends differ
    np.testing.assert_allclose(ours[1_000:15_000], exact[1_000:15_000], atol=1e-4)


# The second decoder


def with_declared_length(path, samples):
    """Overwrite the number of samples in a FLAC header (36 bits that end at byte 26)."""
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = samples.to_bytes(4, "big")
    path.write_bytes(content)
    return path


@pytest.fixture
def flac(tmp_path):
    audio.write(tmp_path / "noise.flac", NOISE)
    return tmp_path / "noise.flac"


@pytest.mark.parametrize("declared", [32_000, 0])
def test_a_flac_with_a_wrong_header_is_read_by_pyav(flac, declared):
    """The error of the ASVspoof 2021 files: libsndfile says "psf_fseek() failed"."""
    pytest.importorskip("av")
    intact = audio.read(flac)
    odd = audio.read(with_declared_length(flac, declared))
    assert (intact.decoder, odd.decoder) == ("soundfile", "pyav")
    np.testing.assert_array_equal(odd.wave, intact.wave)


def test_libsndfile_does_refuse_that_header(flac):
    with pytest.raises(soundfile.LibsndfileError, match="psf_fseek"):
        soundfile.read(with_declared_length(flac, 32_000))


@pytest.mark.parametrize(
    ("extension", "codec", "rate"), [("m4a", "aac", 44_100), ("webm", "libopus", 48_000)]
)
def test_containers_that_libsndfile_does_not_know(tmp_path, monkeypatch, extension, codec, rate):
    av = pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    path = Path(f"with:colon.{extension}")  # FFmpeg would take it for an address
    with (
        open(path, "wb") as file,
        av.open(file, "w", format=extension[:4].replace("m4a", "mp4")) as out,
    ):
        stream = out.add_stream(codec, rate=rate, layout="stereo")
        samples = np.repeat(tone(1_000, rate, 2)[None].astype(np.float32), 2, axis=0)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    clip = audio.read(path)
    assert (clip.decoder, clip.original_rate, clip.channels) == ("pyav", rate, 2)
    assert clip.duration == pytest.approx(2.0, abs=0.06)  # codecs pad at the ends
    assert level(clip.wave) == pytest.approx(level(tone(1_000, 16_000)), abs=0.3)


def test_damage_is_never_decoded_around(flac):
    """FFmpeg alone would leave out, repeat or invent whole frames of such a file."""
    pytest.importorskip("av")
    audio.write(flac, np.tile(NOISE, 3))
    content = flac.read_bytes()
    intact = audio.read(flac).wave
    positions = np.linspace(90, len(content) - 1, 60).astype(int)
    reasons = []
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        flac.write_bytes(damaged)
        reasons.append(refused(flac))
    assert len(reasons) == 60
    assert all("damaged" in reason for reason in reasons)
    assert any("jumps" in reason for reason in reasons)
    flac.write_bytes(content)
    np.testing.assert_array_equal(audio.read(flac).wave, intact)


def test_half_a_file_is_an_error(tmp_path, flac):
    pytest.importorskip("av")
    soundfile.write(tmp_path / "noise.mp3", NOISE, 16_000)
    for path in (flac, tmp_path / "noise.mp3"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "damaged" in refused(path)


def test_without_pyav_the_error_says_what_to_install(flac, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    reason = refused(with_declared_length(flac, 32_000))
    assert "psf_fseek" in reason
    assert "pip install 'earwitness[codecs]'" in reason


def test_a_jump_in_time_stamps_is_found_and_rounding_is_not():
    def frames(*stamps):
        return [
            types.SimpleNamespace(pts=pts, time_base=0.001, samples=320, sample_rate=16_000)
            for pts in stamps
        ]

    stream = types.SimpleNamespace(start_time=0, time_base=0.001)
    for regular in (frames(0, 20, 40, 61, 80), frames(0, None, 40), frames(None, 20)):
        assert list(audio._without_gaps("x", stream, regular)) == regular
    for broken in (frames(0, 40), frames(20, 40), frames(0, None, 60), frames(0, 20, 0)):
        with pytest.raises(AudioError, match="jumps"):
            list(audio._without_gaps("x", stream, broken))


# Refusals


def test_files_that_are_not_audio(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is not a recording\n" * 50)
    (tmp_path / "text.txt").write_text("this is not a recording\n" * 50)
    (tmp_path / "bytes.raw").write_bytes(bytes(1_000))
    assert refused(tmp_path / "absent.wav") == "no such file"
    assert "a folder" in refused(tmp_path)
    assert refused(tmp_path / "empty.wav") == "empty: 0 bytes"
    assert "headerless" in refused(tmp_path / "bytes.raw")
    assert "not audio" in refused(tmp_path / "text.wav")
    assert "not audio" in refused(tmp_path / "text.txt")


def test_a_recording_without_samples(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    assert refused(tmp_path / "none.wav", check=False) == "empty: it holds 0 samples"


USELESS = {
    "NaN": (np.where(np.arange(8_000) == 17, np.nan, NOISE[:8_000]), "1 of 8000 samples are NaN"),
    "infinite": (np.where(np.arange(8_000) == 17, np.inf, NOISE[:8_000]), "NaN or infinite"),
    "silent": (np.zeros(8_000), "constant signal: every sample is 0"),
    "offset": (np.full(8_000, 0.25), "constant signal: every sample is 0.25"),
    "clipped": (np.where(NOISE[:8_000] > 0, 1.0, -1.0), "clipped to a constant"),
    "stuck": (np.full(8_000, -1.0), "clipped to a constant"),
    "short": (NOISE[:160], "too short: 0.0100 s, at least 0.025 s"),
}


@pytest.mark.parametrize("name", USELESS)
def test_signals_without_information_are_refused_unless_asked_for(tmp_path, name):
    wave, reason = USELESS[name]
    path = tmp_path / f"{name}.wav"
    soundfile.write(path, wave, 16_000, subtype="FLOAT")
    assert reason in refused(path)
    assert len(audio.read(path, check=False).wave) == len(wave)


def test_opposite_channels_cancel_and_are_refused(tmp_path):
    soundfile.write(tmp_path / "phase.wav", np.stack([NOISE, -NOISE], 1), 16_000, subtype="FLOAT")
    assert "cancel out" in refused(tmp_path / "phase.wav")


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_the_shortest_clip_is_measured_in_seconds_not_samples(tmp_path, rate):
    enough = int(np.ceil(audio.MIN_SECONDS * rate))
    soundfile.write(tmp_path / "enough.wav", NOISE[:enough], rate)
    soundfile.write(tmp_path / "short.wav", NOISE[: enough - 2], rate)
    assert len(audio.read(tmp_path / "enough.wav").wave) >= 400
    assert "too short" in refused(tmp_path / "short.wav")


def test_quiet_speech_is_speech(tmp_path):
    quiet = NOISE / NOISE.std() * 10 ** (-70 / 20)
    audio.write(tmp_path / "quiet.flac", quiet)
    assert level(audio.read(tmp_path / "quiet.flac").wave) == pytest.approx(-70, abs=0.5)


def test_write_refuses_what_it_would_have_to_change(tmp_path):
    loud = np.array([0.0, 1.01])
    for name, wave, reason in (
        ("a.mp3", NOISE, "cannot write '.mp3'"),
        ("a.wav", loud, "peak of 1.01"),
        ("a.wav", np.array([0.0, np.nan]), "peak of nan"),
        ("a.wav", np.zeros((5, 2)), r"found \(5, 2\)"),
        ("a.wav", np.zeros(0), r"found \(0,\)"),
    ):
        with pytest.raises(AudioError, match=reason):
            audio.write(tmp_path / name, wave)
    assert not list(tmp_path.iterdir())


# Many files


def test_bad_files_in_the_middle_lose_neither_order_nor_the_rest(tmp_path, flac):
    pytest.importorskip("av")
    paths = [tmp_path / f"{n}.wav" for n in range(7)]
    for path in paths:
        audio.write(path, NOISE)
    paths[2].write_text("noise")
    paths[4].unlink()
    with_declared_length(flac, 32_000)
    paths.insert(3, flac)
    report = audio.DecodingReport()
    results = list(audio.read_many(paths, on_error="skip", report=report))
    assert [path for path, _ in results] == paths
    good = [isinstance(result, audio.Clip) for _, result in results]
    assert good == [True, True, False, True, True, False, True, True]
    assert report.decoders == {"soundfile": 5, "pyav": 1}
    assert [failure.path for failure in report.failures] == [str(paths[2]), str(paths[5])]
    text = str(report)
    assert text.startswith("6 read (1 by pyav, 5 by soundfile), 2 failed\n")
    assert f"{paths[5]}: no such file" in text


def test_by_default_the_first_bad_file_is_an_error(tmp_path):
    audio.write(tmp_path / "good.wav", NOISE)
    names = [tmp_path / "good.wav", tmp_path / "absent.wav", tmp_path / "good.wav"]
    report = audio.DecodingReport()
    reading = audio.read_many(names, report=report)
    assert next(reading)[0] == names[0]
    with pytest.raises(AudioError, match="no such file"):
        next(reading)
    assert len(report.failures) == 1


def test_a_misspelt_policy_is_refused_at_once():
    with pytest.raises(SettingsError, match="'ignore'"):
        audio.read_many([], on_error="ignore")


# Cutting

LENGTHS = st.integers(1, 300)


@given(length=LENGTHS, samples=LENGTHS, seed=st.integers(0, 9))
def test_crop_or_repeat_is_a_slice_or_a_tiling(length, samples, seed):
    wave = np.arange(length, dtype=np.float32)
    start = audio.random_start(length, samples, np.random.default_rng(seed))
    cut = audio.crop_or_repeat(wave, samples, start=start)
    assert cut.dtype == np.float32
    assert cut.tolist() == [float((start + n) % length) for n in range(samples)]


def test_crop_or_repeat_refuses_a_crop_outside_the_wave():
    wave = np.zeros(10, dtype=np.float32)
    for samples, start in ((5, 6), (5, -1), (20, 1), (0, 0)):
        with pytest.raises(SettingsError):
            audio.crop_or_repeat(wave, samples, start=start)
    with pytest.raises(SettingsError):
        audio.crop_or_repeat(wave[:0], 5)


def test_random_starts_are_uniform_and_repeatable():
    rng = np.random.default_rng(0)
    starts = [audio.random_start(13, 10, rng) for _ in range(4_000)]
    counts = np.bincount(starts, minlength=4)
    assert len(counts) == 4
    assert counts.min() > 900
    again = np.random.default_rng(0)
    assert starts == [audio.random_start(13, 10, again) for _ in range(4_000)]


@given(length=LENGTHS, more=st.integers(0, 50))
def test_pad_appends_zeros_only(length, more):
    wave = np.ones(length, dtype=np.float32)
    padded = audio.pad(wave, length + more)
    assert padded.dtype == np.float32
    assert padded.tolist() == [1.0] * length + [0.0] * more


def test_pad_never_crops():
    with pytest.raises(SettingsError, match="crop it"):
        audio.pad(np.zeros(5, dtype=np.float32), 4)


@given(length=LENGTHS, window=LENGTHS, data=st.data())
def test_windows_cover_every_sample_and_stay_inside(length, window, data):
    hop = data.draw(st.integers(1, window))
    starts = audio.windows(length, window, hop)
    covered = np.zeros(max(length, window), dtype=bool)
    for start in starts:
        covered[start : start + window] = True
    assert covered[:length].all()
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert np.all(np.diff(starts) <= hop)
    if length <= window:
        assert starts == [0]
    else:
        assert starts[-1] == length - window


@pytest.mark.parametrize("hop", [0, -1, 5])
def test_windows_with_holes_are_refused(hop):
    with pytest.raises(SettingsError, match="hop"):
        audio.windows(10, 4, hop)


def test_reading_audio_needs_no_torch():
    code = "import sys, earwitness.audio, earwitness.corpora.vectors; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_playlist_opens_no_other_file(tmp_path):
    """FFmpeg would read what one names: files, or addresses."""
    audio.write(tmp_path / "real.wav", 0.1 * np.random.default_rng(0).normal(size=16_000).clip(-5, 5))
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/real.wav\n",
        "b.ffconcat": f"ffconcat version 1.0\nfile '{tmp_path}/real.wav'\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="not audio"):
            audio.read(tmp_path / name)
