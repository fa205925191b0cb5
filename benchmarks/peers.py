"""Ours, Avalanche and mammoth on the same arrays: accuracy and CPU seconds an epoch.

    python benchmarks/peers.py --peer-python PEERS/bin/python --avalanche DIR --mammoth DIR

Recipes: digits-rot5 (five rotations of scikit-learn's digits) and feat1024-5 (made vectors of two
classes); an MLP d-400-400-c, plain SGD, batches of 64. Each side runs by itself in one thread, its own
loaders and buffers included. A figure is the least CPU time of an epoch of the last task, the least of
``--repeats`` rounds, in which the sides take turns. The peers are checkouts (commits in
docs/results/speed.md) with their dependencies in an environment of their own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np

RECIPES = {
    "digits-rot5": {"rate": 0.1, "epochs": 20, "classes": 10},
    "feat1024-5": {"rate": 0.05, "epochs": 5, "classes": 2},
}
OURS = {
    "naive": ("naive", {}),
    "er": ("replay", {"budget": 500, "balance": "none"}),
    "der": ("der", {"budget": 500, "alpha": 0.5}),
    "derpp": ("derpp", {"budget": 500, "alpha": 0.5, "beta": 0.5}),
    "agem": ("agem", {"per_task": 100, "sample": 64}),
    "gem": ("gem", {"per_task": 100}),
    "ewc": ("ewc", {"strength": 2000.0}),
    "ewc_on": ("ewc_online", {"strength": 2000.0}),
    "lwf": ("lwf", {}),
    "si": ("si", {"strength": 0.01, "damping": 0.001}),
    "mas": ("mas", {"strength": 0.1}),
}
TWICE = ("ewc", "ewc_on", "gem", "agem", "er")  # to be at least twice as fast as the faster peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer-python")
    parser.add_argument("--avalanche")
    parser.add_argument("--mammoth")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", nargs="*", default=list(OURS))
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--json", help="write the figures here")
    parser.add_argument("--side", nargs=4, help=argparse.SUPPRESS)  # side, method, recipe, arrays
    given = parser.parse_args()
    if given.side:
        side, method, recipe, arrays = given.side
        source = given.avalanche if side == "avalanche" else given.mammoth
        result = SIDES[side](method, RECIPES[recipe], np.load(arrays), source)
        print(json.dumps(result))
        return
    compare(given)


def compare(given: argparse.Namespace) -> None:
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for recipe in given.recipes:
            arrays = f"{folder}/{recipe}.npz"
            make_arrays(recipe, arrays)
            for method in given.methods:
                figures.setdefault(recipe, {})[method] = measure(given, method, recipe, arrays)
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=2) + "\n")


def measure(given: argparse.Namespace, method: str, recipe: str, arrays: str) -> dict[str, float]:
    """The least seconds of each side, and its accuracy; printed as a line of a table."""
    sides = ["raw", "ours", *(s for s in ("avalanche", "mammoth") if getattr(given, s))]
    found: dict[str, float] = {}
    for _ in range(given.repeats):
        for side in sides:
            python = sys.executable if side in ("ours", "raw") else given.peer_python
            command = [python, __file__, "--side", side, method, recipe, arrays]
            command += ["--avalanche", given.avalanche or "", "--mammoth", given.mammoth or ""]
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            if told.returncode:
                found[f"{side} failed"] = 1.0
                continue
            result = json.loads(told.stdout.strip().splitlines()[-1])
            found[side] = min(found.get(side, np.inf), result["seconds"])
            found[f"{side} accuracy"] = result["accuracy"]
    peers = [found[s] for s in ("avalanche", "mammoth") if s in found]
    needed = 2.0 if method in TWICE else 1.0
    ratio = min(peers) / found["ours"] if peers and "ours" in found else float("nan")
    verdict = "ok" if ratio >= needed else "-" if not peers else "MISSED"
    cells = " | ".join(f"{side} {cell(found, side)}" for side in sides)
    print(f"{recipe:12} {method:7} | {cells} | {ratio:.2f} x, bar {needed} {verdict}", flush=True)
    return found | {"ratio": ratio, "bar": needed}


def cell(found: dict[str, float], side: str) -> str:
    return f"{found[side]:.4f} s {found[f'{side} accuracy']:.3f}" if side in found else "-"


def make_arrays(recipe: str, path: str) -> None:
    """Train and test arrays of all tasks, as our readers give them."""
    from earwitness import corpora
    from earwitness.corpora.vectors import load_vectors

    reader = {"digits-rot5": "digits", "feat1024-5": "drifting"}[recipe]
    with tempfile.TemporaryDirectory() as folder:
        parts = corpora.read(reader, folder)
        saved = {}
        for split in ("train", "dev", "test"):
            tasks = parts[split].split("domain")
            labels = [[m.classes.index(t.label) for t in m] for m in tasks.values()]
            saved[f"{split}_x"] = np.stack([load_vectors(m) for m in tasks.values()])
            saved[f"{split}_y"] = np.array(labels)
    np.savez(path, **saved)


def raw(method: str, recipe: dict, arrays, source: str) -> dict[str, float]:
    """A plain loop over index batches: what fine-tuning costs at the least."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = network(arrays["train_x"].shape[2], recipe["classes"])
    optimiser = torch.optim.SGD(net.parameters(), recipe["rate"])
    seconds = []
    for x, y in zip(arrays["train_x"], arrays["train_y"], strict=True):
        inputs, labels = torch.tensor(x), torch.tensor(y)
        for _ in range(recipe["epochs"]):
            start = time.process_time()
            for rows in torch.randperm(len(labels)).split(64):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(net(inputs[rows]), labels[rows]).backward()
                optimiser.step()
            seconds.append(time.process_time() - start)
    return {"seconds": min(seconds[-recipe["epochs"] :]), "accuracy": accuracy(net, arrays)}


def network(dim: int, classes: int):
    from torch import nn

    widths = ((dim, 400), (400, 400))
    layers = [layer for w in widths for layer in (nn.Linear(*w), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(400, classes))


def accuracy(net, arrays) -> float:
    import torch

    with torch.no_grad():
        logits = [net(torch.tensor(x)).argmax(1).numpy() for x in arrays["test_x"]]
    return float(np.mean([(a == b).mean() for a, b in zip(logits, arrays["test_y"], strict=True)]))


def ours(method: str, recipe: dict, arrays, source: str) -> dict[str, float]:
    import torch

    from earwitness import Detector, Stream, Training, score
    from earwitness.strategies import STRATEGIES
    from earwitness.streams import Task
    from earwitness.training import learn
    from earwitness.trials import Manifest, Trial

    torch.set_num_threads(1)
    classes = tuple(map(str, range(recipe["classes"])))
    with tempfile.TemporaryDirectory() as folder:

        def part(task: int, split: str) -> Manifest:
            name = f"{split}-{task}"
            np.save(f"{folder}/{name}.npy", arrays[f"{split}_x"][task])
            trials = (
                Trial(f"{name}-{i}", f"{name}.npy", str(label), tags={"row": str(i)})
                for i, label in enumerate(arrays[f"{split}_y"][task])
            )
            return Manifest(name, trials, root=folder, classes=classes)

        parts = ("train", "dev", "test")
        count = len(arrays["train_x"])
        stream = Stream(Task(f"t{t}", *(part(t, s) for s in parts)) for t in range(count))
        dim = arrays["train_x"].shape[2]
        back_end = {"name": "mlp", "hidden": (400, 400), "pooling": "mean"}
        detector = Detector.build({"name": "vectors", "dim": dim}, back_end, classes=classes)
        training = Training(
            epochs=recipe["epochs"], batch_size=64, learning_rate=recipe["rate"], momentum=0.0,
            schedule="constant", clip_norm=0.0, balance="none",
        )  # fmt: skip
        name, settings = OURS[method]
        strategy = STRATEGIES.build(name, **settings)
        clock = _Epochs(recipe["epochs"])
        for _ in learn(detector, strategy, stream, training=training, on_step=clock):
            pass
        right = [score(detector, task.test).right.mean() for task in stream]
    return {"seconds": min(clock.seconds[-recipe["epochs"] + 1 :]), "accuracy": float(np.mean(right))}


class _Epochs:
    """CPU seconds between the ends of successive epochs; asked once an epoch, as the clock is slow."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.seconds: list[float] = []
        self.start: float | None = None

    def __call__(self, record: dict) -> None:
        steps = record["steps"] // self.epochs
        if (record["step"] + 1) % steps:
            return
        now = time.process_time()
        if self.start is not None and record["epoch"]:
            self.seconds.append(now - self.start)
        self.start = now


def prepare_peer(source: str) -> None:
    """Let torchvision's CUDA build import beside a CPU build of torch."""
    from unittest.mock import MagicMock

    import torch

    sys.modules["torchvision._meta_registrations"] = types.ModuleType("_meta_registrations")
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    globals()["_library"] = library
    for name in ("open_clip", "clip"):
        sys.modules[name] = MagicMock()
    sys.path.insert(0, source)
    torch.set_num_threads(1)
    torch.manual_seed(0)


def avalanche(method: str, recipe: dict, arrays, source: str) -> dict[str, float]:
    prepare_peer(source)
    import torch
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as make
    from avalanche.core import BasePlugin
    from avalanche.training import supervised

    class Clock(BasePlugin):
        seconds: list[float] = []  # noqa: RUF012

        def before_training_epoch(self, strategy, **_):
            self.start = time.process_time()

        def after_training_epoch(self, strategy, **_):
            self.seconds.append(time.process_time() - self.start)

    def datasets(split):
        tasks = zip(arrays[f"{split}_x"], arrays[f"{split}_y"], strict=True)
        return [make(torch.tensor(x), torch.tensor(y)) for x, y in tasks]

    benchmark = benchmark_from_datasets(train=datasets("train"), test=datasets("test"))
    net = network(arrays["train_x"].shape[2], recipe["classes"])
    optimiser = torch.optim.SGD(net.parameters(), recipe["rate"])
    own = {
        "naive": ("Naive", {}),
        "er": ("Replay", {"mem_size": 500}),
        "der": ("DER", {"mem_size": 500, "batch_size_mem": 64, "alpha": 0.5, "beta": 0.0}),
        "derpp": ("DER", {"mem_size": 500, "batch_size_mem": 64, "alpha": 0.5, "beta": 0.5}),
        "agem": ("AGEM", {"patterns_per_exp": 100, "sample_size": 64}),
        "gem": ("GEM", {"patterns_per_exp": 100, "memory_strength": 0.5}),
        "ewc": ("EWC", {"ewc_lambda": 1000, "mode": "separate"}),
        "ewc_on": ("EWC", {"ewc_lambda": 1000, "mode": "online", "decay_factor": 1.0}),
        "lwf": ("LwF", {"alpha": 1, "temperature": 2}),
        "si": ("SynapticIntelligence", {"si_lambda": 1000}),
        "mas": ("MAS", {"lambda_reg": 0.1}),
    }
    name, settings = own[method]
    strategy = getattr(supervised, name)(
        model=net, optimizer=optimiser, criterion=torch.nn.CrossEntropyLoss(), train_mb_size=64,
        train_epochs=recipe["epochs"], eval_mb_size=512, evaluator=None, plugins=[Clock()], **settings,
    )  # fmt: skip
    for experience in benchmark.train_stream:
        strategy.train(experience)
    net.eval()
    return {"seconds": min(Clock.seconds[-recipe["epochs"] :]), "accuracy": accuracy(net, arrays)}


def mammoth(method: str, recipe: dict, arrays, source: str) -> dict[str, float]:
    prepare_peer(source)
    import importlib

    import torch
    from backbone import MammothBackbone

    class Net(MammothBackbone):
        def __init__(self):
            super().__init__()
            self.layers = network(arrays["train_x"].shape[2], recipe["classes"])

        def forward(self, x, returnt="out"):
            return self.layers(x)

    count = len(arrays["train_x"])
    dataset = types.SimpleNamespace(
        N_CLASSES=recipe["classes"], N_TASKS=count, SETTING="domain-il",
        N_CLASSES_PER_TASK=recipe["classes"], get_normalization_transform=lambda: None,
    )  # fmt: skip
    own = {
        "naive": ("sgd", "Sgd", {}),
        "er": ("er", "Er", {"buffer_size": 500}),
        "der": ("der", "Der", {"buffer_size": 500, "alpha": 0.5}),
        "derpp": ("derpp", "Derpp", {"buffer_size": 500, "alpha": 0.5, "beta": 0.5}),
        "agem": ("agem", "AGem", {"buffer_size": 500}),
        "gem": ("gem", "Gem", {"buffer_size": 500, "gamma": 0.5}),
        "ewc_on": ("ewc_on", "EwcOn", {"e_lambda": 100.0, "gamma": 1.0}),
        "si": ("si", "SI", {"c": 0.01, "xi": 0.001}),
    }
    module, name, settings = own[method]
    args = argparse.Namespace(
        lr=recipe["rate"], optimizer="sgd", optim_wd=0.0, optim_mom=0.0, optim_nesterov=False,
        label_perc=1, minibatch_size=64, batch_size=64, nowand=1, device="cpu", debug_mode=0,
        **settings,
    )  # fmt: skip
    kind = getattr(importlib.import_module(f"models.{module}"), name)
    model = kind(Net(), torch.nn.CrossEntropyLoss(), args, None, dataset=dataset)
    model.to("cpu")
    seconds = []
    for x, y in zip(arrays["train_x"], arrays["train_y"], strict=True):
        data = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y), torch.tensor(x))
        dataset.train_loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
        model.begin_task(dataset)
        for _ in range(recipe["epochs"]):
            start = time.process_time()
            for inputs, labels, plain in dataset.train_loader:
                model.observe(inputs, labels, plain)
            seconds.append(time.process_time() - start)
        if method in ("agem", "gem"):  # their loaders give (x, plain x, y) there
            shuffled = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(x), torch.tensor(y))
            loader = torch.utils.data.DataLoader(shuffled, batch_size=64, shuffle=True)
            dataset.train_loader = [(a, c, b) for a, b, c in loader]
        model.end_task(dataset)
        model._current_task += 1
    model.net.eval()
    return {"seconds": min(seconds[-recipe["epochs"] :]), "accuracy": accuracy(model.net, arrays)}


SIDES = {"raw": raw, "ours": ours, "avalanche": avalanche, "mammoth": mammoth}

if __name__ == "__main__":
    main()
