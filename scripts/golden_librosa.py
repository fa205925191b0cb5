"""Write tests/golden/librosa.npz: features of one fixed wave as librosa computes them.

    pip install librosa && python scripts/golden_librosa.py [--check]

librosa is heavy, so it is not among the development dependencies: its numbers are kept instead.
``--check`` compares and writes nothing.
"""

import sys
from pathlib import Path

import librosa
import numpy as np
import scipy.fft

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "librosa.npz"


def values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(16_000) / 16_000
    wave = (np.sin(2 * np.pi * 440 * t) + 0.1 * rng.normal(size=16_000)).astype(np.float32)
    wave = wave / np.sqrt((wave.astype(np.float64) ** 2).mean())

    def power(window: int) -> np.ndarray:
        stft = librosa.stft(wave, n_fft=512, hop_length=160, win_length=window, center=False)
        return np.abs(stft) ** 2

    mel = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, fmin=20, fmax=8000, htk=True, norm=None)
    bands = np.linspace(0, 8000, 22)
    bins = librosa.fft_frequencies(sr=16_000, n_fft=512)
    ramps = bands[:, None] - bins
    width = np.diff(bands)[:, None]
    linear = np.maximum(0, np.minimum(-ramps[:-2] / width[:-1], ramps[2:] / width[1:]))
    cepstra = scipy.fft.dct(np.log(linear @ power(320) + 1e-6), axis=0, norm="ortho")
    logmel = np.log(mel @ power(400) + 1e-6)
    return {
        "wave": wave.astype(np.float32),
        "logmel": logmel.astype(np.float32),
        "lfcc": cepstra.astype(np.float32),
    }


def main() -> None:
    fresh = values()
    if "--check" in sys.argv:
        kept = np.load(GOLDEN)
        for name, value in fresh.items():
            np.testing.assert_allclose(kept[name], value, atol=1e-4)
        print(f"{GOLDEN.name}: {len(fresh)} arrays agree")
    else:
        GOLDEN.parent.mkdir(exist_ok=True)
        np.savez_compressed(GOLDEN, **fresh)
        print(f"wrote {GOLDEN.name}")


if __name__ == "__main__":
    main()
