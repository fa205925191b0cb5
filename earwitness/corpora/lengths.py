"""How long the recordings of a manifest are, as a column ``seconds``.

Breakdowns by duration and review budgets need it, and few protocols tell.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from earwitness import audio
from earwitness.trials import Manifest

__all__ = ["with_seconds"]

_THREADS = 8  # headers are waited for, not computed


def with_seconds(manifest: Manifest, *, on_file: Callable[[], object] = lambda: None) -> Manifest:
    """The same trials with their lengths, read from the headers of their files.

    >>> import tempfile
    >>> import numpy as np
    >>> from earwitness.trials import Trial
    >>> folder = tempfile.mkdtemp()
    >>> audio.write(f"{folder}/a.wav", 0.1 * np.sin(np.arange(24_000) / 5))
    >>> told = with_seconds(Manifest("one", [Trial("a", "a.wav", "spoof")], root=folder))
    >>> told.trials[0].get("seconds")
    '1.500'

    Raises:
        AudioError: a file is missing or not audio; the first of them in the manifest's order.
    """
    trials = []
    with ThreadPoolExecutor(_THREADS) as threads:
        paths = map(manifest.path, manifest)
        for trial, seconds in zip(manifest, threads.map(audio.seconds_of, paths), strict=True):
            trials.append(replace(trial, tags={**trial.tags, "seconds": f"{seconds:.3f}"}))
            on_file()
    return Manifest(manifest.name, trials, root=manifest.root, classes=manifest.classes)
