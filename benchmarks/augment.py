"""How long augmentations take, and RawBoost beside its released code.

    python benchmarks/augment.py
    python benchmarks/augment.py --released DIR  # of github.com/TakHemlata/RawBoost-antispoofing

CPU time for a clip of 4 s of speech-like sound, drawing included, one thread: median, least and mean
of 21 calls. Exits with an error where RawBoost's algorithm 5 takes 8 ms or more.

The released RawBoost stops on NumPy 2.4, where ``int()`` of an array of size one became an error. For
the comparison its ``randRange`` is replaced, from here, by one that gives plain numbers. Given the
draws of ours, its output is compared as well.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from earwitness import audio
from earwitness.augment import AUGMENTS
from earwitness.augment.base import Augment
from earwitness.augment.codec import offered
from earwitness.augment.presets import PRESETS, build_named
from earwitness.augment.rawboost import RawBoost

BAR, ROUNDS = 8.0, 21  # ms, calls
FILTERS = (5, 20, 8000, 100, 1000, 10, 100, 0, 0)  # bands, then ends of centre, width, taps and gain
ELSEWHERE = {"chain", "one_of", "recorded_noise", "audiomentations", "rawboost"}  # or need settings


def clip(samples: int = 64_000) -> np.ndarray:
    """Noise with the spectrum and the syllables of speech, roughly."""
    rng = np.random.default_rng(0)
    noise = np.fft.irfft(
        np.fft.rfft(rng.normal(size=samples)) / np.sqrt(20 + np.arange(samples // 2 + 1))
    )
    wave = noise * (1 + np.sin(np.arange(samples) / 700))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def cpu_ms(call: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Median, least and mean."""
    times = []
    call()
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    return float(np.median(times)), min(times), float(np.mean(times))


def components() -> Iterator[tuple[str, Augment]]:
    for name in AUGMENTS.table:
        if name == "codec":
            yield from ((f"codec, {one}", AUGMENTS.build(name, codecs=[one])) for one in offered())
        elif name not in ELSEWHERE:
            yield name, AUGMENTS.build(name)
    with tempfile.TemporaryDirectory() as folder:
        audio.write(f"{folder}/noise.wav", clip())
        yield "recorded_noise", AUGMENTS.build("recorded_noise", folder=folder)
    yield from ((f"preset {name}", build_named(name)) for name in PRESETS)


def show(name: str, *times: float) -> None:
    print(f"| {name} | {' | '.join(f'{one:.2f}' for one in times)} |")


def table(wave: np.ndarray) -> float:
    """Print the times; give that of RawBoost's algorithm 5."""
    print("| augmentation | median, ms | least, ms | mean, ms |\n| --- | --- | --- | --- |")
    times = {}
    for name, one in components():
        rng = np.random.default_rng(1)
        slow = name in ("griffin_lim", "world", "preset copy_synthesis")
        times[name] = cpu_ms(lambda one=one, rng=rng: one(wave, rng), 5 if slow else ROUNDS)
        show(name, *times[name])
    return times["preset rawboost_5"][0]


def released_five(package, wave: np.ndarray) -> np.ndarray:
    """Algorithm 5 as the release's data loader calls it."""
    changed = package.LnL_convolutive_noise(wave, 5, *FILTERS, 5, 20, 16_000)
    return package.ISD_additive_noise(changed, 10, 2)


def plain(low: float, high: float, integer: bool) -> float:
    drawn = float(np.random.uniform(low, high))
    return int(drawn) if integer else drawn


@contextmanager
def with_draws_of(drawn: dict, samples: int, package) -> Iterator[None]:
    """The release's draws answered, in its order, with ours."""
    lnl, isd = drawn["convolutive"], drawn["impulsive"]
    numbers = []
    for notches in zip(lnl["centre"], lnl["width"], lnl["taps"], lnl["gain"], strict=True):
        for notch in zip(*notches[:3], strict=True):
            numbers += notch
        numbers.append(notches[3])
    numbers.append(isd["percent"])
    rng, ours = np.random.default_rng(isd["seed"]), iter(numbers)
    count = int(samples * isd["percent"] / 100)
    hit = rng.choice(samples, count, replace=False, shuffle=False)
    factors = iter(rng.random((2, count)))
    with (
        mock.patch.object(package, "randRange", side_effect=ours),
        mock.patch.object(np.random, "permutation", return_value=hit),
        mock.patch.object(np.random, "rand", side_effect=factors),
    ):
        yield


def beside_the_released(folder: Path, wave: np.ndarray) -> None:
    sys.path.insert(0, str(folder))
    import RawBoost as package

    try:
        released_five(package, wave)
        print(f"\nThe released code runs as it is on NumPy {np.__version__}.")
    except TypeError as error:
        print(f"\nThe released code as it is, on NumPy {np.__version__}: TypeError: {error}.")
    package.randRange = plain
    print("\n| algorithm 5 | median, ms | least, ms | mean, ms |\n| --- | --- | --- | --- |")
    show("released, made to run", *cpu_ms(lambda: released_five(package, wave)))
    one, rng = RawBoost(), np.random.default_rng(1)
    show("earwitness", *cpu_ms(lambda: one(wave, rng)))
    differences = []
    for seed in range(20):
        ours, drawn = one(wave, np.random.default_rng(seed))
        with with_draws_of(drawn, len(wave), package):
            differences.append(np.abs(released_five(package, wave) - ours).max())
    print(f"\nLargest difference over {len(differences)} draws: {max(differences):.1e}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--released", type=Path, help="folder of the released RawBoost.py")
    asked = parser.parse_args()
    wave = clip()
    taken = table(wave)
    if asked.released:
        beside_the_released(asked.released, wave)
    sys.exit(f"RawBoost 5 takes {taken:.1f} ms, the bar is {BAR} ms" if taken >= BAR else 0)


if __name__ == "__main__":
    main()
