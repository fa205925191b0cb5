"""Augmentations: each against its definition, and all against one contract."""

import json
import random

import numpy as np
import pytest
from scipy import signal

from earwitness import audio
from earwitness.augment import AUGMENTS, codec, presets
from earwitness.augment.base import Augment
from earwitness.augment.chain import Chain
from earwitness.augment.rawboost import RawBoost
from earwitness.augment.reverberation import room_response
from earwitness.augment.time_mask import masked_span
from earwitness.augment_verbs import augment
from earwitness.contracts import check_shelf
from earwitness.corpora._voice import draw_speaker, speak
from earwitness.errors import AudioError, MissingExtra, SettingsError

RATE = 16_000


def rng(seed=0):
    return np.random.default_rng(seed)


def made_voice(samples, lead=0.3):
    wave = speak(draw_speaker("a", rng(3)), samples, lead, rng(4))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


VOICE = made_voice(32_000)
WAVES = {
    "voice": VOICE,
    "short": VOICE[10_000:10_400],
    "silent": np.zeros(3000, dtype=np.float32),
    "full scale": np.where(VOICE[:8001] < 0, -1, 1).astype(np.float32),
    "constant": np.ones(2999, dtype=np.float32),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """Two recordings, which serve as noises and as rooms."""
    made = tmp_path_factory.mktemp("recordings")
    audio.write(made / "hum.wav", 0.1 * np.sin(np.arange(9000) / 9))
    audio.write(
        made / "deep" / "room.flac", np.exp(-np.arange(4000) / 500) * rng().normal(0, 0.2, 4000)
    )
    return str(made)


NEEDS = {
    "recorded_noise": ("folder",),
    "audiomentations": {"transform": "AddGaussianNoise"},
    "one_of": {"parts": [{"name": "gain"}, {"name": "lpc", "probability": 0.5}]},
    "chain": {"parts": [{"name": "speed"}, {"name": "time_mask", "probability": 0.5}]},
}
KEEP_NO_LENGTH = {"trim", "speed", "fixed_length", "chain"}
SPOOFS = {"griffin_lim", "world", "lpc", "one_of"}


def build(name, place="", **settings) -> Augment:
    needed = NEEDS.get(name, {})
    needed = {"folder": place} if needed == ("folder",) else needed
    return AUGMENTS.build(name, **{**needed, **settings})


# The contract


def check_augment(one: Augment, waves) -> None:
    """Draws are plain; applying one is pure, repeatable and finite, and the given wave stays."""
    for kind, wave in waves.items():
        before = wave.copy()
        after, drawn = one(wave, rng(1))
        assert json.loads(json.dumps(drawn)) == drawn, f"{kind}: a draw that JSON changes"
        assert np.array_equal(wave, before), f"{kind}: the wave that was given is changed"
        assert after.dtype == np.float32, f"{kind}: not float32"
        assert after.ndim == 1, f"{kind}: not of shape (samples,)"
        assert np.isfinite(after).all(), f"{kind}: not finite"
        assert not np.shares_memory(after, wave), f"{kind}: the same memory"
        assert 0 < len(after) <= one.at_most(len(wave)), f"{kind}: longer than it says"
        one(waves["voice"], rng(2))
        assert np.array_equal(one.apply(wave, drawn), after), f"{kind}: the same draw, another wave"
        again, drawn_again = one(wave, rng(1))
        assert drawn_again == drawn, f"{kind}: drawn from elsewhere"
        assert np.array_equal(again, after), f"{kind}: another wave the second time"


def test_the_table_is_the_folder():
    assert len(check_shelf(AUGMENTS)) == 28


@pytest.mark.parametrize("name", AUGMENTS.table)
def test_components_keep_the_contract(name, folder):
    one = build(name, folder)
    np.random.seed(5)
    before, before_numpy = random.getstate(), np.random.get_state()[1].copy()
    waves = WAVES if name != "world" else {**WAVES, "voice": VOICE[:8000]}
    check_augment(one, waves)
    assert random.getstate() == before
    assert np.array_equal(np.random.get_state()[1], before_numpy), "the global generator was used"
    if name not in KEEP_NO_LENGTH:
        assert len(one(VOICE[:5001], rng())[0]) == 5001
    assert one.makes_spoof == (name in SPOOFS)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_keep_the_contract(name):
    check_augment(presets.build_named(name), {"voice": VOICE[:8000], "short": WAVES["short"]})


class Cheat(Augment):
    def __init__(self, how):
        self.how, self.count = how, 0

    def draw(self, rng, samples):
        return {"drawn": np.float32(1) if self.how == "json" else 1.0}

    def change(self, wave, drawn):
        self.count += 1
        if self.how == "in place":
            wave *= 2
        if self.how == "nan":
            return wave / np.zeros(1)
        if self.how == "memory":
            wave = wave + self.count
        if self.how == "longer":
            wave = np.tile(wave, 2)
        return wave + np.random.default_rng().normal() if self.how == "random" else wave


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ("json", TypeError, "not JSON"),
        ("in place", ValueError, "read-only"),
        ("nan", AssertionError, "not finite"),
        ("memory", AssertionError, "the same draw, another wave"),
        ("random", AssertionError, "another wave"),
        ("longer", AssertionError, "longer than it says"),
    ],
)
def test_the_contract_catches_cheats(how, error, told):
    with pytest.raises(error, match=told), np.errstate(all="ignore"):
        check_augment(Cheat(how), {"voice": VOICE})
    check_augment(Cheat("honest"), {"voice": VOICE})


@pytest.mark.parametrize(
    ("wave", "told"),
    [
        (np.zeros((1, 800)), "of shape"),
        (np.zeros(800, dtype=np.int16), "int16"),
        (np.zeros(399), "at least 400"),
        (np.full(800, np.nan), "NaN"),
    ],
)
def test_what_is_no_wave_is_refused(wave, told):
    with pytest.raises(AudioError, match=told):
        AUGMENTS.build("gain")(wave, rng())


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("noise", {"snr": [40, 5]}, r"snr is \[40.0, 5.0\], expected \[low, high\]"),
        ("noise", {"snr": [5]}, "low, high"),
        ("time_mask", {"share": [0, 1.5]}, "between 0 and 1"),
        ("rawboost", {"algorithm": 9}, "Choose from: 1, 2"),
        ("rawboost", {"bands": 0}, "bands of at least 1"),
        ("mu_law", {"levels": 1}, "at least 2"),
        ("low_pass", {"rolloff": [10, 12]}, "multiples of 6"),
        ("band_pass", {"fraction": [0.5, 2]}, "between 0.01 and 1.99"),
        ("resample", {"rates": [16_000]}, "1000 to 15999"),
        ("speed", {"factor": [0.1, 1]}, "between 0.5 and 2"),
        ("packet_loss", {"share": [0, 0.9]}, "between 0 and 0.5"),
        ("griffin_lim", {"bands": 500}, "0 to 128"),
        ("fixed_length", {"samples": 3}, "at least 400"),
        ("recorded_noise", {"folder": "nowhere"}, "expected a folder of recordings"),
        ("recorded_noise", {}, "needs the setting 'folder'"),
        ("codec", {"codecs": []}, "is empty"),
        ("codec", {"codecs": ["mp4"]}, "did you mean 'mp3'"),
        ("codec", {"codecs": ["amr_nb"], "kbps": [8]}, "expected 4.75, 5.15"),
        ("codec", {"codecs": ["mp3", "opus"], "kbps": [300]}, "'mp3' has no 300 .* 8 to 160"),
        ("chain", {"parts": [{"probability": 1}]}, "part 1 is .* the name of an augmentation"),
        ("chain", {"parts": [{"name": "gain", "probability": 2}]}, "expected 0 to 1"),
        ("chain", {"parts": [{"name": "gain", "probability": "x"}]}, "expected a number"),
        ("chain", {"parts": [{"name": "gian"}]}, "did you mean 'gain'"),
        ("chain", {"parts": [{"name": "gain", "decibel": 1}]}, "did you mean 'decibels'"),
        ("one_of", {"parts": []}, "expected one or more"),
        ("audiomentations", {"transform": "Gein"}, "did you mean 'Gain'"),
        ("audiomentations", {"transform": "Gain", "settings": {"a": 1}}, "refuses"),
    ],
)
def test_wrong_settings_are_refused(name, settings, told):
    with pytest.raises(SettingsError, match=told):
        AUGMENTS.build(name, **settings)


def test_a_folder_without_audio_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no recording"):
        build("reverberation", folder=str(tmp_path))
    audio.write(tmp_path / "silent.wav", np.zeros(800))
    with pytest.raises(AudioError, match="silent, expected an impulse response"):
        AUGMENTS.build("reverberation", folder=str(tmp_path))(VOICE, rng())


# RawBoost: the definition written out, in loops and float64, from paper and released arithmetic.


def slow_filter(centre, width, taps, gain):
    """A cascade of notches; scipy makes them, so that this shares no line with the component."""
    whole = np.ones(1)
    for f, w, n in zip(centre, width, taps, strict=True):
        low, high = f - w / 2, f + w / 2
        low = 1 / 1000 if low <= 0 else low
        high = RATE / 2 - 1 / 1000 if high >= RATE / 2 else high
        whole = np.convolve(signal.firwin(n, [low, high], window="hamming", fs=RATE), whole)
    response = signal.freqz(whole, 1, fs=RATE)[1]
    return 10 ** (gain / 20) * whole / np.abs(response).max()


def slow_filtered(wave, taps):
    """Zeros after the wave, filtered, and half of the filter's length and one sample cut in front."""
    extra = len(taps) + 1
    filtered = np.convolve(np.concatenate([wave, np.zeros(extra)]), taps)[: len(wave) + extra]
    return filtered[extra // 2 : extra // 2 + len(wave)]


def slow_scaled(wave):
    return wave / np.abs(wave).max() if np.abs(wave).max() > 1 else wave


def slow_convolutive(wave, drawn):
    total = np.zeros(len(wave))
    for order in range(len(drawn["gain"])):
        taps = slow_filter(*(drawn[k][order] for k in ("centre", "width", "taps", "gain")))
        total += slow_filtered(wave ** (order + 1), taps)
    return slow_scaled(total - total.mean())


def slow_impulsive(wave, drawn, strength=2.0):
    noise = np.random.default_rng(drawn["seed"])
    count = int(len(wave) * drawn["percent"] / 100)
    hit = noise.choice(len(wave), count, replace=False, shuffle=False)
    factors = noise.random((2, count))
    changed = wave.copy()
    for n, place in enumerate(hit):
        u, v = 2 * factors[0][n] - 1, 2 * factors[1][n] - 1
        changed[place] = wave[place] + strength * wave[place] * u * v
    return slow_scaled(changed)


def slow_stationary(wave, drawn):
    noise = np.random.default_rng(drawn["seed"]).standard_normal(len(wave))
    noise = slow_filtered(noise, slow_filter(*(drawn[k][0] for k in ("centre", "width", "taps")), -3))
    noise = noise / np.abs(noise).max()
    level = np.linalg.norm(wave) / 10 ** (0.05 * drawn["snr"])
    return wave + noise / np.linalg.norm(noise) * level


def slow_rawboost(algorithm, wave, drawn):
    wave = wave.astype(np.float64)
    if algorithm == 8:
        both = slow_convolutive(wave, drawn["convolutive"]) + slow_impulsive(wave, drawn["impulsive"])
        return slow_scaled(both)
    if algorithm in (1, 4, 5, 6):
        wave = slow_convolutive(wave, drawn["convolutive"])
    if algorithm in (2, 4, 5, 7):
        wave = slow_impulsive(wave, drawn["impulsive"])
    return slow_stationary(wave, drawn["stationary"]) if algorithm in (3, 4, 6, 7) else wave


@pytest.mark.parametrize("algorithm", range(1, 9))
@pytest.mark.parametrize("wave", ["voice", "short", "full scale", "constant"])
def test_rawboost_is_its_definition(algorithm, wave):
    one = RawBoost(algorithm=algorithm)
    for seed in range(3):
        fast, drawn = one(WAVES[wave], rng(seed))
        assert np.abs(fast - slow_rawboost(algorithm, WAVES[wave], drawn)).max() < 1e-6


def test_rawboost_with_other_settings_is_its_definition():
    one = RawBoost(orders=2, bands=9, taps=(300, 501), gain=(-3, 3), snr=(0, 0), algorithm=4)
    fast, drawn = one(VOICE, rng())
    assert len(drawn["convolutive"]["gain"]) == 2
    assert np.abs(fast - slow_rawboost(4, VOICE, drawn)).max() < 1e-6


def test_the_comparison_with_the_definition_can_fail():
    fast, drawn = RawBoost(algorithm=1)(VOICE, rng())
    drawn["convolutive"]["gain"][1] += 0.01
    assert np.abs(fast - slow_rawboost(1, VOICE, drawn)).max() > 1e-6
    late = np.roll(fast, 1)
    drawn["convolutive"]["gain"][1] -= 0.01
    assert np.abs(late - slow_rawboost(1, VOICE, drawn)).max() > 1e-3


def test_rawboost_draws_from_the_published_ranges():
    drawn = [RawBoost(algorithm=4).draw(rng(seed), 4000) for seed in range(300)]
    notches = np.array([[d["convolutive"][k] for k in ("centre", "width", "taps")] for d in drawn])
    assert notches.shape == (300, 3, 5, 5)
    lows, highs = notches.min(axis=(0, 2, 3)), notches.max(axis=(0, 2, 3))
    assert (lows >= [20, 100, 11]).all()
    assert (lows < [30, 105, 12]).all()
    assert (highs <= [8000, 1000, 99]).all()
    assert (highs > [7990, 995, 98]).all()
    assert set(np.unique(notches[:, 2] % 2)) == {1}
    gains = np.array([d["convolutive"]["gain"] for d in drawn])
    assert (gains[:, 0] == 0).all()
    assert -20 <= gains[:, 1:].min() < -19.9
    assert -5.1 < gains[:, 1:].max() <= -5
    assert 9.8 < max(d["impulsive"]["percent"] for d in drawn) <= 10
    assert 10 <= min(d["stationary"]["snr"] for d in drawn) < 10.5


# Properties, one component each


def test_a_time_mask_is_zero_where_it_was_drawn():
    ones = np.ones(10_007)
    for seed in range(50):
        masked, drawn = build("time_mask")(ones, rng(seed))
        start, stop = masked_span(drawn, len(ones))
        assert 0.2 * len(ones) - 1 <= stop - start <= 0.5 * len(ones) + 1
        assert np.array_equal(np.flatnonzero(masked == 0), np.arange(start, stop))


def test_trim_finds_speech_and_leaves_clicks_and_silence():
    quiet = 1e-4 * rng().normal(size=48_000).astype(np.float32)
    quiet[16_000:32_000] += VOICE[8000:24_000]
    quiet[4000] = 0.5  # a click
    for ends, expected in (("start", 32_000), ("end", 32_000), ("both", 16_000)):
        trimmed = build("trim", ends=ends, keep=0.0)(quiet, rng())[0]
        assert abs(len(trimmed) - expected) < 1000
    kept = build("trim", keep=0.5)(quiet, rng())[0]
    assert len(kept) == len(build("trim", keep=0.0)(quiet, rng())[0]) + 8000
    click = np.zeros(4000)
    click[3999] = 1
    assert len(build("trim", hold=0.0)(click, rng())[0]) >= 400


@pytest.mark.parametrize("law", ["mu_law", "a_law"])
def test_companding_is_near_and_has_256_values(law):
    wave = np.linspace(-1, 1, 20_001)
    there = build(law)(wave, rng())[0].astype(np.float64)
    assert len(np.unique(there.astype(np.float32))) == 256
    # Half a step of 2/255, times the slope of the expanding curve at the far end of that step.
    if law == "mu_law":
        slope = np.log(256) / 255 * (1 + 255 * np.abs(wave)) * 256 ** (1 / 255)
    else:
        slope = (1 + np.log(87.6)) * np.maximum(np.abs(wave), 1 / 87.6) * (np.e * 87.6) ** (1 / 255)
    assert (np.abs(there - wave) <= slope / 255 + 1e-7).all()
    assert np.abs(build(law)(10 * wave, rng())[0]).max() == pytest.approx(1)
    coarse = build(law, levels=16)(wave, rng())[0]
    assert not (np.abs(coarse - wave) <= slope / 255).all()  # the bound can be broken


def realised_snr(before, after):
    noise = after.astype(np.float64) - before
    return 20 * np.log10(np.linalg.norm(before.astype(np.float64)) / np.linalg.norm(noise))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("noise", {}),
        ("noise", {"slope": [-6, 6]}),
        ("recorded_noise", {}),
        ("rawboost", {"algorithm": 3}),
    ],
)
def test_noise_is_at_the_drawn_ratio(name, settings, folder):
    for seed in range(5):
        noisy, drawn = build(name, folder, **settings)(VOICE, rng(seed))
        drawn = drawn.get("stationary", drawn)
        assert realised_snr(VOICE, noisy) == pytest.approx(drawn["snr"], abs=1e-6)


@pytest.mark.parametrize("slope", [-6.0, 0.0, 3.0])
def test_noise_has_its_colour(slope):
    base = np.full(64_000, 1e-3)
    noisy, _ = build("noise", snr=[0, 0], slope=[slope, slope])(base, rng())
    frequency, power = signal.welch(noisy - base, RATE, nperseg=1024)
    inside = (frequency > 100) & (frequency < 7500)
    fitted = np.polyfit(np.log2(frequency[inside]), 10 * np.log10(power[inside]), 1)[0]
    assert fitted == pytest.approx(slope, abs=0.2)


def test_hiss_and_gain_are_exact():
    hissing, drawn = build("hiss")(np.zeros(64_000), rng())
    assert hissing.std() == pytest.approx(drawn["amplitude"], rel=0.02)
    louder, drawn = build("gain")(VOICE, rng(2))
    assert np.abs(louder - VOICE * 10 ** (drawn["decibels"] / 20)).max() < 1e-7
    clipped, _ = build("gain", decibels=[40, 40], clip=True)(VOICE, rng())
    assert np.abs(clipped).max() == 1


def test_recorded_noise_is_the_file(folder):
    hum = audio.read(f"{folder}/hum.wav").wave
    for seed in range(8):
        noisy, drawn = build("recorded_noise", folder)(VOICE[8000:13_000], rng(seed))
        if drawn["file"] == "hum.wav":
            start = int(drawn["start"] * (len(hum) - 5000))
            noise = noisy - VOICE[8000:13_000]
            assert np.corrcoef(noise, hum[start : start + 5000])[0, 1] > 0.999
            return
    pytest.fail("the file was never drawn")


def test_a_click_in_a_room_is_the_room(folder):
    click = np.zeros(16_000)
    click[0] = 1
    for where in ("", folder):
        heard, drawn = build("reverberation", folder=where)(click, rng(1))
        room = room_response(drawn, where)
        assert np.abs(heard[: len(room)] - room[: len(heard)]).max() < 1e-6
        assert np.abs(room).argmax() == 0
        assert (room**2).sum() == pytest.approx(1)
    room = room_response({"t60": 0.5, "direct": 6.0, "seed": 0})
    assert 10 * np.log10(room[0] ** 2 / (room[1:] ** 2).sum()) == pytest.approx(6)
    energy = 10 * np.log10(np.cumsum(room[:0:-1] ** 2)[::-1])  # Schroeder's backward integral
    assert energy[1600] - energy[4000] == pytest.approx(60 * 2400 / 8000, abs=2)


def response(one, drawn, hertz):
    """Magnitude in dB at frequencies, from the answer to a click."""
    click = np.zeros(32_000)
    click[0] = 1e-2
    spectrum = np.fft.rfft(one.apply(click, drawn).astype(np.float64) / 1e-2)
    return 20 * np.log10(np.abs(spectrum[(np.array(hertz) * 2).astype(int)]) + 1e-9)


def test_pass_filters_have_their_responses():
    low = response(build("low_pass"), {"cutoff": 1000.0, "rolloff": 24}, [10, 1000, 2000])
    assert np.allclose(low[:2], [0, -3.01], atol=0.02)
    assert -27 < low[2] < -24
    high = response(build("high_pass"), {"cutoff": 1000.0, "rolloff": 12}, [500, 1000, 7000])
    assert np.allclose(high[1:], [-3.01, 0], atol=0.02)
    assert -13 < high[0] < -12
    band = {"centre": 2000.0, "width": 1000.0, "rolloff": 12}
    through = response(build("band_pass"), band, [20, 1500, 2500, 7900])
    assert np.allclose(through[1:3], -3.01, atol=0.02)
    assert (through[[0, 3]] < -40).all()
    without = response(build("band_stop"), band, [20, 1500, 1960, 2500, 7900])
    assert np.allclose(without[[0, 1, 3, 4]], [0, -3.01, -3.01, 0], atol=0.02)
    assert without[2] < -30
    over = {"centre": 7000.0, "width": 7000.0, "rolloff": 12}  # beyond half the rate
    assert np.allclose(response(build("band_pass"), over, [6000]), 0, atol=0.5)


@pytest.mark.parametrize("gain", [-12.0, 9.0])
def test_equalisers_have_their_responses(gain):
    drawn = {"centre": 1000.0, "gain": gain, "q": 0.7}
    assert np.allclose(
        response(build("low_shelf"), drawn, [1, 1000, 7999]), [gain, gain / 2, 0], atol=0.02
    )
    assert np.allclose(
        response(build("high_shelf"), drawn, [1, 1000, 7999]), [0, gain / 2, gain], atol=0.02
    )
    assert np.allclose(response(build("peaking"), drawn, [1, 1000, 7999]), [0, gain, 0], atol=0.02)


def test_filters_are_those_of_audiomentations():
    """Their arithmetic, except for the start; on a wave that starts from silence there is none."""
    library = pytest.importorskip("audiomentations")
    wave = np.concatenate([np.zeros(100, dtype=np.float32), VOICE])
    for name, theirs, settings, drawn in (
        ("low_pass", library.LowPassFilter, {}, {"cutoff": 900.0, "rolloff": 18}),
        ("band_stop", library.BandStopFilter, {}, {"centre": 900.0, "width": 800.0, "rolloff": 12}),
        ("high_shelf", library.HighShelfFilter, {}, {"centre": 900.0, "gain": 7.0, "q": 0.4}),
        ("low_shelf", library.LowShelfFilter, {}, {"centre": 900.0, "gain": -7.0, "q": 0.4}),
        ("peaking", library.PeakingFilter, {}, {"centre": 900.0, "gain": 7.0, "q": 3.0}),
    ):
        other = theirs(p=1.0, **settings)
        names = {"cutoff": "cutoff_freq", "centre": "center_freq", "width": "bandwidth",
                 "gain": "gain_db", "q": "q_factor"}  # fmt: skip
        other.parameters = {"should_apply": True, **{names.get(k, k): v for k, v in drawn.items()}}
        other.freeze_parameters()
        assert np.abs(other(wave, RATE) - build(name).apply(wave, drawn)).max() < 1e-6, name


def test_speed_changes_length_and_pitch():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / RATE)
    for factor in (0.9, 1.1, 1.2345):
        faster, _ = build("speed", factor=[factor, factor])(tone, rng())
        assert len(faster) == round(16_000 / factor)
        peak = np.abs(np.fft.rfft(faster, 160_000)).argmax() / 10
        assert peak == pytest.approx(1000 * factor, abs=1)


@pytest.mark.parametrize("rate", [8000, 11_025])
def test_a_resample_round_trip_keeps_what_is_below(rate):
    kept, lost = (np.sin(2 * np.pi * f * np.arange(16_000) / RATE) for f in (0.4 * rate, 0.6 * rate))
    narrow, drawn = build("resample", rates=[rate])(0.5 * (kept + lost), rng())
    assert len(narrow) == 16_000
    assert drawn == {"rate": rate}
    assert np.abs(narrow - 0.5 * kept)[1000:-1000].max() < 0.01


def test_packets_are_lost_as_drawn():
    ones, one = np.ones(160_000), build("packet_loss", share=[0.1, 0.1], burst=[2.0, 2.0])
    torn, drawn = one(ones, rng())
    is_lost = torn.reshape(-1, 320).max(axis=1) == 0
    assert np.array_equal(np.flatnonzero(is_lost), drawn["lost"])
    long_draw = one.draw(rng(), 320 * 200_000)["lost"]
    assert len(long_draw) / 200_000 == pytest.approx(0.1, abs=0.005)
    bursts = 1 + np.count_nonzero(np.diff(long_draw) > 1)
    assert len(long_draw) / bursts == pytest.approx(2, abs=0.05)
    ramp = np.repeat(np.arange(1.0, 6.0), 320) / 10
    said = build("packet_loss", conceal="repeat").apply(ramp, {"lost": [0, 2, 3, 9]})
    assert np.allclose(said[::320], [0, 0.2, 0.1, 0.05, 0.5])


# Codecs


def lag_of(one, other):
    """By how many samples ``one`` is later; lows are taken out, where codecs turn the phase."""
    one, other = np.diff(one, 2), np.diff(other, 2)
    points = 2 ** int(np.ceil(np.log2(len(one) + len(other))))
    alike = np.fft.irfft(np.fft.rfft(one, points) * np.fft.rfft(other, points).conj())
    lag = int(np.abs(alike).argmax())
    return lag if lag < points // 2 else lag - points


@pytest.mark.parametrize("name", codec.offered())
def test_a_codec_keeps_length_place_and_voice(name):
    wave = VOICE[:20_001]
    coded, drawn = build("codec", codecs=[name])(wave, rng())
    assert len(coded) == len(wave)
    assert drawn["codec"] == name
    assert abs(lag_of(coded, wave)) <= 2
    assert 0.4 < np.corrcoef(coded, wave)[0, 1] < 0.99999
    assert np.abs(coded[:3000]).max() < 0.05  # the silence before the voice is still there


def test_what_this_pyav_cannot_encode_is_told(monkeypatch):
    assert {"mp3", "aac", "opus", "amr_nb", "gsm", "g722", "mu_law", "a_law"} <= set(codec.offered())
    unknown = codec.CODECS["speex"]._replace(encoder="libnothing")
    monkeypatch.setitem(codec.CODECS, "speex", unknown)
    with pytest.raises(SettingsError, match="no libnothing, which encodes 'speex'; offered here: mp3"):
        AUGMENTS.build("codec", codecs=["speex"])


@pytest.mark.parametrize(
    ("name", "library"), [("codec", "av"), ("world", None), ("audiomentations", "audiomentations")]
)
def test_a_missing_library_is_told(name, library, monkeypatch):
    import sys

    from earwitness.augment import world

    if library:
        monkeypatch.setitem(sys.modules, library, None)
    else:
        world._pyworld.cache_clear()
        monkeypatch.setattr(world.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install 'earwitness"):
        build(name)


# Copy-synthesis


def log_spectrum(wave):
    frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames))[:, :256] ** 2
    return 10 * np.log10(power.reshape(-1, 32, 8).mean(axis=2) + 1e-6)


@pytest.mark.parametrize("name", ["griffin_lim", "world", "lpc"])
def test_a_copy_sounds_alike_and_is_another(name):
    copy, _ = build(name)(VOICE, rng())
    assert len(copy) == len(VOICE)
    ours, theirs = log_spectrum(copy), log_spectrum(VOICE)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.93
    assert np.abs(ours - theirs).mean() < 6
    assert copy.std() / VOICE.std() == pytest.approx(1, abs=0.2)
    assert np.abs(copy - VOICE).max() > 0.1
    shuffled = log_spectrum(rng().permutation(VOICE))
    assert np.corrcoef(shuffled.ravel(), theirs.ravel())[0, 1] < 0.9  # the bound tells something


def test_griffin_lim_approaches_its_magnitudes():
    def error(iterations):
        one = build("griffin_lim", bands=0, iterations=[iterations, iterations])
        return np.abs(log_spectrum(one(VOICE, rng())[0]) - log_spectrum(VOICE)).mean()

    assert error(30) < 0.6 * error(1)


def test_world_shifts_the_pitch():
    pulses = np.zeros(16_000)
    pulses[::160] = 0.5  # 100 Hz
    wave = signal.lfilter([1], [1, -0.9], pulses)
    for factor in (1.0, 1.5):
        made, _ = build("world", pitch=[factor, factor])(wave, rng())
        alike = np.correlate(made[4000:8000], made[4000:8000], "full")[4000 - 1 :]
        assert 16_000 / (alike[60:300].argmax() + 60) == pytest.approx(100 * factor, rel=0.03)


# Chains and presets


def test_gates_open_as_often_as_they_should():
    one = Chain(parts=({"name": "mu_law", "probability": 0.3}, {"name": "gain", "probability": 0.0}))
    drawn = [one.draw(rng(seed), 4000)["parts"] for seed in range(2000)]
    assert np.mean([d[0] is not None for d in drawn]) == pytest.approx(0.3, abs=0.03)
    assert all(d[1] is None for d in drawn)


def test_a_chain_is_its_parts_in_order():
    chain = Chain(parts=({"name": "gain", "decibels": [20, 20]}, {"name": "mu_law"}))
    after, _ = chain(VOICE, rng())
    louder = build("gain").apply(VOICE, {"decibels": 20.0})
    assert np.array_equal(after, build("mu_law").apply(louder, {}))
    assert np.abs(after).max() <= 1
    assert len(Chain(parts=({"name": "speed", "factor": [0.5, 0.5]},))(VOICE, rng())[0]) == 64_000
    slow = Chain(
        parts=({"name": "speed", "factor": [0.5, 0.5]}, {"name": "packet_loss", "share": [0.5, 0.5]})
    )
    assert max(slow.draw(rng(), 16_000)["parts"][1]["lost"]) >= 50  # packets of the longer wave too
    assert np.array_equal(Chain()(VOICE, rng())[0], VOICE)


def test_a_chain_makes_a_spoof_only_where_it_did():
    one = Chain(parts=({"name": "lpc", "probability": 0.5}, {"name": "gain"}))
    assert one.makes_spoof
    told = {
        one.made_spoof(d): d["parts"][0] is not None for d in (one.draw(rng(s), 400) for s in range(9))
    }
    assert told == {True: True, False: False}
    either = build("one_of")
    drawn = [either.draw(rng(s), 400) for s in range(20)]
    assert [either.made_spoof(d) for d in drawn] == [d["choice"] == 1 for d in drawn]
    assert sum(d["choice"] for d in drawn) < 12  # weight 0.5 against 1


def test_the_rat_chain_is_that_of_the_release():
    one = presets.build_named("rat")
    assert [part.built_from["name"] for part in one.parts] == [
        "trim", "time_mask", "chain", "mu_law", "rawboost", "chain", "fixed_length"
    ]  # fmt: skip
    assert one.probabilities == [0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 1.0]
    room, boost, noise_and_filter = one.parts[2], one.parts[4], one.parts[5]
    assert room.parts == []
    assert boost.algorithm == 5
    assert noise_and_filter.probabilities == [0.9, 0.9]
    assert [len(group.parts) for group in noise_and_filter.parts] == [3, 7]
    for wave in (VOICE, np.tile(VOICE, 4)):
        assert all(len(one(wave, rng(seed))[0]) == 64_000 for seed in range(20))
    assert not one.makes_spoof


def test_audiomentations_leaves_the_global_generators_alone():
    one = build("audiomentations", transform="AddColorNoise")
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    one(VOICE, rng())
    assert (random.random(), np.random.random()) == expected


# The verb


@pytest.fixture
def clip(tmp_path):
    audio.write(tmp_path / "clip.wav", VOICE)
    return tmp_path / "clip.wav"


def test_the_verb_writes_what_it_says(clip, capsys):
    out = clip.parent / "out"
    augment(clip, ["noise", "lpc"], out, 3, ["noise.snr=[7, 7]"])
    assert sorted(path.name for path in out.iterdir()) == [
        "after.wav", "before.wav", "drawn.json", "picture.png"
    ]  # fmt: skip
    told = json.loads((out / "drawn.json").read_text())
    assert told["clip"] == "clip.wav"
    assert told["seed"] == 3
    assert told["made_spoof"]
    assert told["drawn"]["parts"][0]["snr"] == 7
    assert "noise (snr 7, slope 0), then lpc" in (said := capsys.readouterr().out)
    assert "a spoof" in said
    again = Chain(parts=tuple(told["parts"])).apply(audio.read(clip).wave, told["drawn"])
    after = audio.read(out / "after.wav").wave
    assert np.abs(told["scale"] * again - after).max() < 1e-4
    assert (out / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_the_verb_writes_down_every_component(clip, folder, monkeypatch):
    """What a component was built from is plain too, so that another is built from the file."""
    monkeypatch.setattr("earwitness.augment_verbs.draw_pair", lambda *given, **kept: None)
    monkeypatch.setattr("earwitness.figures.style.to_png", lambda *given: None)
    needed = ["audiomentations.transform=Gain", f"recorded_noise.folder={folder}"]
    names = [name for name in AUGMENTS.table if name != "one_of"]
    augment(clip, names, clip.parent / "out", 0, needed)
    parts = json.loads((clip.parent / "out" / "drawn.json").read_text())["parts"]
    assert [part["name"] for part in parts] == names
    assert len(Chain(parts=tuple(parts)).parts) == len(names)


def test_the_verb_keeps_within_full_scale_and_says_so(clip, capsys):
    out = clip.parent / "out"
    augment(clip, ["gain"], out, 0, ["gain.decibels=[20, 20]"])
    told = json.loads((out / "drawn.json").read_text())
    assert told["scale"] == pytest.approx(0.2, rel=0.01)
    before, after = (audio.read(out / f"{name}.wav").wave for name in ("before", "after"))
    assert np.abs(10 * before - after).max() < 1e-3
    assert "of their level" in capsys.readouterr().out


def test_the_verb_refuses(clip):
    out = clip.parent / "out"
    with pytest.raises(SettingsError, match="did you mean 'noise'"):
        augment(clip, ["noisy"], out)
    with pytest.raises(SettingsError, match="expected name.setting=value"):
        augment(clip, ["noise"], out, settings=["snr=3"])
    with pytest.raises(SettingsError, match="'gain' isn't asked for"):
        augment(clip, ["noise"], out, settings=["gain.decibels=[1, 1]"])
    with pytest.raises(AudioError, match="no such file"):
        augment(clip.parent / "none.wav", ["noise"], out)
    clip.rename(clip.parent / "before.wav")
    with pytest.raises(SettingsError, match="is an input"):
        augment(clip.parent / "before.wav", ["noise"], clip.parent)
    assert not out.exists()
