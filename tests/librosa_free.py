"""Definitions of the features in plain numpy loops, for comparison; shares nothing with the code."""

import numpy as np


def spectrogram(wave, fft, window, hop):
    wave = wave.astype(np.float64)
    wave = wave / np.sqrt((wave**2).mean())
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.zeros(fft)
    padded[(fft - window) // 2 : (fft - window) // 2 + window] = hann
    frames = []
    for start in range(0, len(wave) - fft + 1, hop):
        frames.append(np.abs(np.fft.rfft(wave[start : start + fft] * padded)) ** 2)
    return np.array(frames).T


def triangle_bank(edges, fft, rate=16_000):
    bank = np.zeros((len(edges) - 2, fft // 2 + 1))
    for band in range(len(edges) - 2):
        low, mid, high = edges[band : band + 3]
        for k in range(fft // 2 + 1):
            f = k * rate / fft
            if low < f <= mid:
                bank[band, k] = (f - low) / (mid - low)
            elif mid < f < high:
                bank[band, k] = (high - f) / (high - mid)
    return bank


def logmel(wave, bands, fft, window, hop, low=20.0, high=8000.0):
    def mel(f):
        return 2595 * np.log10(1 + f / 700)

    mels = [mel(low) + i * (mel(high) - mel(low)) / (bands + 1) for i in range(bands + 2)]
    edges = [700 * (10 ** (m / 2595) - 1) for m in mels]
    return np.log(triangle_bank(edges, fft) @ spectrogram(wave, fft, window, hop) + 1e-6)


def lfcc(wave, bands, coefficients, fft, window, hop):
    edges = [i * 8000 / (bands + 1) for i in range(bands + 2)]
    log = np.log(triangle_bank(edges, fft) @ spectrogram(wave, fft, window, hop) + 1e-6)
    rows = []
    for k in range(coefficients):
        scale = np.sqrt((1 if k == 0 else 2) / bands)
        weights = [np.cos(np.pi * k * (n + 0.5) / bands) for n in range(bands)]
        rows.append(scale * (np.array(weights) @ log))
    static = np.array(rows)

    def difference(x):
        last = x.shape[1] - 1
        return np.stack([x[:, min(t + 1, last)] - x[:, max(t - 1, 0)] for t in range(last + 1)], axis=1)

    first = difference(static)
    return np.concatenate([static, first, difference(first)])
