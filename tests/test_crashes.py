"""A run stopped at every single one of its file writes in turn resumes to the same bits."""

import os
from pathlib import Path

import numpy as np
import pytest
from test_running import bits

from earwitness.experiment import Experiment
from earwitness.running import run

SETTINGS = {
    "stream": {"corpus": "vectors", "root": "corpus"},
    "detector": {
        "front_end": {"name": "vectors", "dim": 6},
        "back_end": {"name": "linear", "pooling": "mean"},
    },
    "training": {"epochs": 2, "batch_size": 4, "checkpoint_every": 1, "log_every": 1},
    "strategies": {"rwm": {}},
}


class Stopped(BaseException):
    pass


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    rng = np.random.default_rng(0)
    lines, rows = ["id\tlabel\tdomain\tsplit"], []
    for domain in "ab":
        for split in ("train", "dev", "test"):
            for label, shift in (("bonafide", 1.0), ("spoof", -1.0)):
                for n in range(4):
                    lines.append(f"{domain}{split}{label}{n}\t{label}\t{domain}\t{split}")
                    rows.append(rng.normal(shift, 1, 6))
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "manifest.tsv").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "corpus" / "vectors.npy", np.array(rows, dtype=np.float32))
    return Experiment.from_settings(SETTINGS, folder=tmp_path)


def run_until(experiment: Experiment, folder: Path, stop: int, monkeypatch) -> int:
    """Run, but stop just before the ``stop``-th rename; gives how many renames there were."""
    count = 0
    rename = os.replace

    def counted(source, target):
        nonlocal count
        count += 1
        if count == stop:
            raise Stopped
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted)
        try:
            run(experiment, folder)
        except Stopped:
            return count
    return count


@pytest.mark.slow
def test_stopped_at_every_write(experiment, tmp_path, monkeypatch):
    writes = run_until(experiment, tmp_path / "whole", 0, monkeypatch)
    expected = bits(tmp_path / "whole")
    assert writes > 40
    for stop in range(1, writes + 1):
        folder = tmp_path / f"stopped-{stop}"
        assert run_until(experiment, folder, stop, monkeypatch) == stop
        run(experiment, folder)
        assert bits(folder) == expected, f"stopped at write {stop}"
