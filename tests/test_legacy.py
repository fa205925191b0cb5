"""The YAML files, logs and commands of the RWM, RAWM and EVDA repositories.

Keys, values, log lines and file names are facts of those repositories; the texts here are retyped
or made up. Expected numbers are worked out by hand or by another way than the code's.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("yaml")

from earwitness.errors import ProtocolError, SettingsError
from earwitness.legacy.config import read
from earwitness.legacy.logs import read_record, summarise
from earwitness.legacy.methods import NAMES, choose
from earwitness.legacy.metrics import metrics
from earwitness.legacy.parse import parse

CLEAR10 = "BACKGROUND baseball bus camera cosplay dress hockey laptop racing soccer sweater"
CLEAR = f"""
base:
  data_folder_path : 'CLEAR/labeled_images'
  data_train_path : ''
  data_test_path : ''
  feature_path : 'CLEAR/features/'
  class_list : '{CLEAR10}'

training:
  # method : 'LwF Replay'
  method : 'BiasReservoir_Dynamic_1.0'
  split : 'clear10_moco_res50_public_private'
  restart : '0'
  timestamp : 10
  num_classes : 11
  num_instance_each_class : 300
  num_instance_each_class_test : 150
  load_prev: False # whether load previous unfinished timestamp training
  eval: False

image_train:
  image_train_model_arch: 'resnet50'
  image_train_pretrain: True
  image_train_attribute: ''

feature_train:
  pretrain_feature : 'imagenet_resnet50_clear_10_feature'
  pretrain_feature_shape: 2048

parameter:
  nepoch : 1
  batch_size : 512
  step_schedular_decay : 60
  schedular_step : 0.1
  start_lr : 1
  weight_decay : 0.
  momentum : 0.9
  random_seed : 1111
  test_split : 0.3
  max_memory_size : 30000000


"""
CLEAR_IMAGES = (
    CLEAR.replace("'imagenet_resnet50_clear_10_feature'", "''")
    .replace("2048", "0")
    .replace("nepoch : 1", "nepoch : 70")
    .replace("weight_decay : 0.", "weight_decay : 1e-5")
    .replace(
        "'BiasReservoir_Dynamic_1.0'",
        "'LwF Replay  Reservoir BiasReservoir_Fixed_reset_0.2 BiasReservoir_Dynamic_1.0 '",
    )
)
EVDA = """
base:
  data_train_path : ''
  data_train_path: "features_backup/train_fadcl_wav2vec"
  data_test_path: "features_backup/test_fadcl_wav2vec"
  feature_path : 'features_backup/'
  class_list : 'real fake' # Real: 0; Fake: 1

training:
  method : 'ELMA'
  split : 'wav2vec_InitA_100epoch_lora_32_normal_moe'
  restart : '0'
  timestamp : 8
  num_classes : 2
  num_instance_each_class : 1000
  num_instance_each_class_test : 250
  load_prev: False
  eval: False

image_train:
  image_train_model_arch: 'resnet50'
  image_train_pretrain: True
  image_train_attribute: ''

feature_train:
  pretrain_feature: 'fadcl_wav2vec'
  pretrain_feature_shape: 1024

parameter:
  nepoch: 100
  batch_size : 16 # 16
  step_schedular_decay : 600
  schedular_step : 1
  start_lr : 0.00001 #0.00001
  weight_decay : 0
  momentum : 0.9
  seed : 0530
  test_split : 0.3
  buffer_ratio : 0.3
  max_memory_size : 2000
  layer_num: 7
  lora_rank: 32
  hidden_dim: 512
"""


def saved(tmp_path: Path, text: str, name: str = "file.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


# The YAML files.


def test_the_clear_file_as_it_is(tmp_path):
    config = read(saved(tmp_path, CLEAR))
    assert config.dialect == "clear"
    assert config.methods == ["BiasReservoir_Dynamic_1.0"]
    assert config.classes == tuple(CLEAR10.split())
    assert (config.nepoch, config.batch_size, config.start_lr, config.momentum) == (1, 512, 1.0, 0.9)
    assert (config.step_schedular_decay, config.schedular_step, config.random) == (60, 0.1, 1111)
    assert config.roots() == (Path("CLEAR/features/imagenet_resnet50_clear_10_feature"), None)
    assert config.notes == ()
    assert config.restart == 0


def test_the_evda_file_as_it_is(tmp_path):
    config = read(saved(tmp_path, EVDA))
    assert config.dialect == "evda"
    folder = Path("features_backup")
    assert config.roots() == (folder / "train_fadcl_wav2vec", folder / "test_fadcl_wav2vec")
    assert (config.hidden_dim, config.layer_num, config.lora_rank) == (512, 7, 32)
    assert config.start_lr == 1e-5
    twice = config.notes[0]
    assert "data_train_path" in twice
    assert "features_backup/train_fadcl_wav2vec" in twice


def test_the_seed_is_the_octal_number_that_their_code_got(tmp_path):
    """args.txt of their published run has seed=344."""
    config = read(saved(tmp_path, EVDA))
    assert config.random == 344 == 5 * 64 + 3 * 8
    assert any("0530" in note and "344" in note for note in config.notes)
    plain = read(saved(tmp_path, EVDA.replace("0530", "530")))
    assert plain.random == 530
    assert not any("530" in note for note in plain.notes)


def test_the_image_file_and_numbers_that_yaml_reads_as_text(tmp_path):
    config = read(saved(tmp_path, CLEAR_IMAGES))
    assert config.features is None
    assert config.roots() == (Path("CLEAR/labeled_images"), None)
    assert config.weight_decay == 1e-5
    assert len(config.methods) == 5
    assert any("pretrain_feature" in note for note in config.notes)


def test_group_names_are_irrelevant_and_later_keys_win(tmp_path):
    text = CLEAR.replace("parameter:", "anything:") + "more:\n  nepoch: 7\n"
    config = read(saved(tmp_path, text))
    assert config.nepoch == 7
    assert any("nepoch" in note and "'7'" in note for note in config.notes)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("nepoch : 1\n", "nepochs : 1\n", "'nepochs'; did you mean 'nepoch'?"),
        ("  nepoch : 1\n", "", "missing key(s): nepoch"),
        ("batch_size : 512", "batch_size : many", "batch_size is 'many', expected a whole number"),
        ("batch_size : 512", "batch_size : 0", "batch_size is 0, expected > 0"),
        ("eval: False", "eval: 3", "eval is 3, expected True or False"),
        ("num_classes : 11", "num_classes : 10", "class_list names 11"),
        ("test_split : 0.3", "test_split : 1.3", "test_split is 1.3"),
        ("base:", "base: [", "not YAML"),
        ("method : 'BiasReservoir_Dynamic_1.0'", "method : ''", "method is empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, old, new, told):
    assert old in CLEAR
    with pytest.raises(SettingsError) as error:
        read(saved(tmp_path, CLEAR.replace(old, new)))
    assert told in str(error.value)
    assert "file.yaml" in str(error.value)


def test_overrides_replace_values(tmp_path):
    config = read(saved(tmp_path, CLEAR), ["feature_path=/elsewhere", "nepoch=3", "data_folder_path="])
    assert (config.nepoch, config.roots()[0].parent) == (3, Path("/elsewhere"))
    with pytest.raises(SettingsError, match="nepock"):
        read(saved(tmp_path, CLEAR), ["nepock=3"])
    with pytest.raises(SettingsError, match="key=value"):
        read(saved(tmp_path, CLEAR), ["nepoch"])


# Logs, as their tools write them.

MATRIX = np.array([[0.9, 0.6, 0.5], [0.7, 0.8, 0.4], [0.65, 0.75, 0.85]])
MEANS = {  # by hand
    "offline": (0.9 + 0.8 + 0.85) / 3,
    "online": (0.6 + 0.4) / 2,
    "accuracy": (0.9 + 0.7 + 0.8 + 0.65 + 0.75 + 0.85) / 6,
    "backward": (0.7 + 0.65 + 0.75) / 3,
    "forward": (0.6 + 0.5 + 0.4) / 3,
}


def their_log(matrix: np.ndarray, *, stream: bool = True, train: bool = False) -> str:
    """A log as the CLEAR forks write it, or (``stream=False``) as EVDA does."""
    lines = []
    for after, row in enumerate(matrix):
        lines += [
            "-- >> Start of training phase << --",
            f"-- Starting training on experience {after} (Task {after}) from train stream --",
            "Epoch 0 ended.",
            f"\tTop1_Acc_Epoch/train_phase/train_stream/Task{after:03d} = 0.6605",
            "-- >> End of training phase << --",
        ]
        for values in [1 - row, row] if train else [row]:
            lines.append("-- >> Start of eval phase << --")
            for on, value in enumerate(values):
                where = f"eval_phase/test_stream/Task{on:03d}"
                lines += [
                    f"-- Starting eval on experience {on} (Task {on}) from test stream --",
                    f"> Eval on experience {on} (Task {on}) from test stream ended.",
                    f"\tLoss_Exp/{where}/Exp{on:03d} = 5.1442",
                    f"\tTop1_Acc_Exp/{where}/Exp{on:03d} = {value:.4f}",
                ]
            lines.append("-- >> End of eval phase << --")
            if stream:
                lines.append("\tConfusionMatrix_Stream/eval_phase/test_stream = ")
                lines.append("tensor([[1808,  192],\n        [1501,  499]])")
                lines += [
                    f"\tTop1_Acc_Stream/eval_phase/test_stream/Task{on:03d} = {value:.4f}"
                    for on, value in enumerate(values)
                ]
    return "\n".join(lines) + "\n"


def their_json(matrix: np.ndarray) -> str:
    rows = {
        str(after): {
            f"Top1_Acc_Stream/eval_phase/test_stream/Task{on:03d}": value
            for on, value in enumerate(row)
        }
        | {"StreamForgetting/eval_phase/test_stream": 0.0}
        for after, row in enumerate(matrix.tolist())
    }
    return json.dumps(rows, indent=6)


def run_folder(folder: Path, **logs: str) -> Path:
    (folder / "log").mkdir(parents=True)
    for name, text in logs.items():
        (folder / "log" / f"log_{name}_offline.txt").write_text(text)
    return folder


def test_the_five_means_of_a_log_of_theirs(tmp_path):
    said: list[str] = []
    split = run_folder(tmp_path / "run", RWM=their_log(MATRIX), EWC=their_log(MATRIX[:, ::-1]))
    means = parse(split, say=said.append)
    assert list(means) == ["log_EWC_offline.txt", "log_RWM_offline.txt"]
    assert means["log_RWM_offline.txt"] == pytest.approx(MEANS, abs=1e-15)
    assert said[-1].startswith(
        "log_RWM_offline.txt with offline, online, accuracy, backward, forward of 0.85"
    )
    assert [float(v) for v in said[-1].split(" of ")[1].split(", ")] == pytest.approx([*MEANS.values()])


def test_backward_and_forward_are_not_mixed_up(tmp_path):
    """The check can fail: a transposed matrix has other means."""
    split = run_folder(tmp_path / "run", RWM=their_log(MATRIX.T))
    means = parse(split, say=lambda line: None)["log_RWM_offline.txt"]
    assert means["backward"] == pytest.approx(MEANS["forward"])
    assert means["accuracy"] != pytest.approx(MEANS["accuracy"])


def test_an_evda_log_has_its_numbers_too(tmp_path):
    """Their own parser finds nothing in it and prints the mean of an empty list."""
    text = their_log(MATRIX, stream=False)
    assert "Top1_Acc_Stream" not in text
    split = run_folder(tmp_path / "run", Naive=text)
    assert parse(split, say=lambda line: None)["log_Naive_offline.txt"] == pytest.approx(MEANS)


def test_experts_one_by_one_are_averaged_as_the_stream_metric_is_and_named(tmp_path):
    """As in their published ELMA log: 0.944 and 0.5 on task 1, whose stream metric is 0.722."""
    where = "Top1_Acc_Exp/eval_phase/test_stream/Task"
    passes = [(0, 0.944), (0, 0.5), (1, 0.494), (1, 0.978)]
    lines = [f"\t{where}{on:03d}/Exp{on:03d} = {value:.4f}" for on, value in passes]
    log = "\n".join(["-- >> Start of eval phase << --", *lines])
    record = read_record(saved(tmp_path, log, "log_ELMA_offline.txt"))
    assert record.rows == pytest.approx(np.array([[0.722, 0.736]]))
    assert "2 passes" in record.warnings[0]


def test_verbose_says_the_matrix(tmp_path):
    said: list[str] = []
    parse(run_folder(tmp_path / "run", RWM=their_log(MATRIX)), verbose=True, say=said.append)
    told = np.array([[float(v) for v in line.split()] for line in said[:3]])
    assert np.array_equal(told, MATRIX)


def test_the_training_sets_evaluated_too(tmp_path):
    split = run_folder(tmp_path / "run", RWM=their_log(MATRIX, train=True))
    means = parse(split, train_eval=True, say=lambda line: None)
    assert means["log_RWM_offline.txt"] == pytest.approx(MEANS)


def test_move_copies_under_the_next_number(tmp_path):
    split = run_folder(tmp_path / "run", GDumb=their_log(MATRIX), GDumbFinetune=their_log(MATRIX))
    moved = tmp_path / "metric"
    for _ in range(2):
        parse(split, move=moved, say=lambda line: None)
    names = [f"log_{m}_offline{k}.txt" for m in ("GDumb", "GDumbFinetune") for k in (1, 2)]
    assert {p.name for p in moved.iterdir()} == set(names)
    (moved / names[0]).unlink()  # a count of files would take the 2 that is in use
    parse(split, move=moved, say=lambda line: None)
    assert (moved / "log_GDumb_offline3.txt").is_file()
    assert len(list((split / "log").iterdir())) == 2


def test_a_log_without_accuracy_is_an_error_after_the_others(tmp_path):
    split = run_folder(tmp_path / "run", RWM=their_log(MATRIX), EWC="Epoch 0 ended.\n")
    said: list[str] = []
    with pytest.raises(ProtocolError, match=r"log_EWC_offline.txt: no accuracy"):
        parse(split, say=said.append)
    assert any(line.startswith("log_RWM_offline.txt with") for line in said)


@pytest.mark.parametrize("value", ["nought", "1.7", "nan"])
def test_a_number_that_is_none_names_its_line(tmp_path, value):
    text = their_log(MATRIX).replace("Task001 = 0.8000", f"Task001 = {value}")
    line = [value in line for line in text.splitlines()].index(True) + 1
    with pytest.raises(ProtocolError, match=f"line {line}: "):
        read_record(saved(tmp_path, text, "log_RWM_offline.txt"))


def test_unfinished_runs_are_told_apart_from_finished_ones(tmp_path):
    said: list[str] = []
    split = run_folder(tmp_path / "run", RWM=their_log(MATRIX[:2]), JointTraining=their_log(MATRIX[2:]))
    means = parse(split, say=said.append)
    assert means == {"log_JointTraining_offline.txt": {}, "log_RWM_offline.txt": {}}
    assert said[0] == "log_JointTraining_offline.txt count of 3, with mean of 0.75"
    cut = their_log(MATRIX, stream=False).split("\tTop1_Acc_Exp/eval_phase/test_stream/Task002")
    text = "\tTop1_Acc_Exp/eval_phase/test_stream/Task002".join(cut[:-1])  # killed before the last
    record = read_record(saved(tmp_path, text, "log_EWC_offline.txt"))
    assert record.rows.shape == (2, 3)
    assert "left out" in record.warnings[0]


def test_online_logs_have_two_means(tmp_path):
    """Evaluated before each task: row i + 1 comes after task i, and the first after nothing."""
    rows = np.vstack([[0.1, 0.1, 0.1], MATRIX[:2]])
    record = read_record(saved(tmp_path, their_log(rows), "log_RWM_online.txt"))
    assert summarise(record) == pytest.approx({k: MEANS[k] for k in ("online", "forward")})


def test_runs_are_looked_for_here_and_one_folder_up(tmp_path, monkeypatch):
    run_folder(tmp_path / "run", RWM=their_log(MATRIX))
    (tmp_path / "clone").mkdir()
    for place in ("clone", "."):
        monkeypatch.chdir(tmp_path / place)
        assert parse("run", timestamp=3, say=lambda line: None)
    with pytest.raises(ProtocolError, match="--split"):
        parse("walk", say=lambda line: None)
    with pytest.raises(ProtocolError, match="expected 10"):
        parse("run", timestamp=10, say=lambda line: None)


# All runs of all methods.


def moved_logs(folder: Path, **matrices: list[np.ndarray]) -> Path:
    folder.mkdir()
    for name, runs in matrices.items():
        for number, matrix in enumerate(runs, 1):
            (folder / f"log_{name}_offline{number}.txt").write_text(their_log(matrix))
    return folder


def test_runs_of_a_method_are_those_of_its_whole_name(tmp_path):
    """Their prefixes put GDumbFinetune's runs into GDumb's mean."""
    folder = moved_logs(tmp_path / "metric", GDumb=[MATRIX], GDumbFinetune=[MATRIX / 2])
    groups = {group.label: group for group in metrics(folder, say=lambda line: None)}
    assert groups["GDumb"].files == 1
    assert groups["GDumb"].table[0] == pytest.approx([*MEANS.values()])
    assert groups["GDumbFinetune"].table[0] == pytest.approx([v / 2 for v in MEANS.values()])


def test_equal_runs_count_once_and_the_deviation_is_that_of_the_population(tmp_path):
    other = MATRIX - 0.1
    folder = moved_logs(tmp_path / "metric", RWM=[MATRIX, other, MATRIX])
    said: list[str] = []
    (group,) = metrics(folder, verbose=True, say=said.append)
    assert (group.files, len(group.table)) == (3, 2)
    assert group.table.mean(0) == pytest.approx([v - 0.05 for v in MEANS.values()])
    assert "with 3 elem" in said[-1]
    deviations = json.loads(said[-1].split(" std of ")[1].split(" with ")[0])
    assert deviations == pytest.approx([0.05] * 5)  # of a sample it would be 0.0707


def test_the_metric_folder_of_a_run_of_theirs(tmp_path):
    """What get_metric_all.py of RWM really reads: the JSON files; train metrics are passed over."""
    (tmp_path / "test_metric_RWM.json").write_text(their_json(MATRIX))
    (tmp_path / "train_metric_RWM.json").write_text("{}")
    (group,) = metrics(tmp_path, say=lambda line: None)
    assert group.label == "RWM"
    assert group.table[0] == pytest.approx([*MEANS.values()])
    (tmp_path / "test_metric_EWC.json").write_text('{"0": {"Loss": 1.0}}')
    with pytest.raises(ProtocolError, match="test_metric_EWC.json: no accuracy"):
        metrics(tmp_path, say=lambda line: None)
    (tmp_path / "test_metric_EWC.json").write_text("[]")
    with pytest.raises(ProtocolError, match="not their metrics"):
        metrics(tmp_path, say=lambda line: None)


def test_plots_for_whatever_methods_are_there(tmp_path):
    """Theirs stop with a KeyError unless 13 methods are present."""
    folder = moved_logs(tmp_path / "metric", RWM=[MATRIX], EWC=[MATRIX - 0.1])
    (folder / "log_JointTraining_offline1.txt").write_text(their_log(MATRIX[2:]))
    metrics(folder, plot=True, plot_folder=tmp_path / "plots", say=lambda line: None)
    names = {p.name for p in (tmp_path / "plots").iterdir()}
    stems = ["log_RWM_offline", "log_EWC_offline", *(f"rwm_clear_exp_{k}" for k in (1, 2, 3))]
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("pdf", "png")}
    assert (tmp_path / "plots" / "log_RWM_offline.pdf").read_bytes().startswith(b"%PDF")


def test_without_plot_it_ends_well_and_an_empty_folder_is_said(tmp_path):
    with pytest.raises(ProtocolError, match="no such folder"):
        metrics(tmp_path / "metric")
    (tmp_path / "metric").mkdir()
    with pytest.raises(ProtocolError, match="nothing to read"):
        metrics(tmp_path / "metric")
    folder = moved_logs(tmp_path / "other", RWM=[MATRIX, MATRIX[:2]])
    with pytest.raises(ProtocolError, match="unfinished"):
        metrics(folder)
    shutil.rmtree(folder)


# Running a file.


class Watched(dict):
    """Notes which keys are asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked: set[str] = set()

    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)


@pytest.fixture
def evda(tmp_path, monkeypatch) -> Path:
    """Two tasks of EVDA's layout, frames of 8 numbers, and its file made small; the folder is here."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for task in (1, 2):
        for stage, count in (("train", 12), ("test", 10)):
            for sign, name in ((1, "real"), (-1, "fake")):
                folder = Path(f"features_backup/{stage}_fadcl_wav2vec/{task}/{name}")
                folder.mkdir(parents=True)
                for number in range(count):
                    frames = rng.normal(size=(3, 8)).astype(np.float32)
                    frames[:, task] += 3 * sign
                    np.save(folder / f"u{number}.npy", frames)
    small = EVDA
    for old, new in (
        ("timestamp : 8", "timestamp : 2"),
        ("each_class : 1000", "each_class : 12"),
        ("class_test : 250", "class_test : 10"),
        ("shape: 1024", "shape: 8"),
        ("hidden_dim: 512", "hidden_dim: 16"),
        ("layer_num: 7", "layer_num: 2"),
        ("nepoch: 100", "nepoch: 3"),
        ("0.00001 #0.00001", "0.01"),
        ("'wav2vec_InitA_100epoch_lora_32_normal_moe'", "'run'"),
    ):
        assert old in small
        small = small.replace(old, new)
    return saved(tmp_path, small, "fad.yaml")


@pytest.fixture
def clear(tmp_path, monkeypatch) -> Path:
    """Two buckets of CLEAR-10 features of 12 numbers, ten a class; the folder is here."""
    import torch

    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    for bucket in (0, 1, 2):  # bucket 0 is for pre-training and no task
        for index, name in enumerate(CLEAR10.split()):
            folder = Path(f"CLEAR/features/imagenet_resnet50_clear_10_feature/{bucket}/{name}")
            folder.mkdir(parents=True)
            for number in range(10):
                feature = torch.randn(1, 12, generator=generator).abs()
                feature[0, (index + bucket) % 12] += 3
                torch.save(feature, folder / f"{number}.pth")
    small = CLEAR
    for old, new in (
        ("timestamp : 10", "timestamp : 2"),
        ("each_class : 300", "each_class : 10"),
        ("2048", "12"),
        ("nepoch : 1", "nepoch : 5"),
        ("'clear10_moco_res50_public_private'", "'run'"),
    ):
        assert old in small
        small = small.replace(old, new)
    return saved(tmp_path, small, "clear.yaml")


def quiet_run(*args, **kwargs) -> tuple[Path, list[str]]:
    from earwitness.legacy.run import run

    said: list[str] = []
    return run(*args, **kwargs, say=said.append), said


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that was written, but for pictures and the folder's own name."""
    kinds = {".txt", ".json", ".safetensors"}
    files = (p for p in sorted(folder.rglob("*")) if p.suffix in kinds)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_an_evda_file_runs_and_writes_what_theirs_writes(evda):
    folder, said = quiet_run(evda, ["method=Naive RWM"], out="out")
    assert folder == Path("out/run")
    for name in ("Naive", "RWM"):
        for file in (
            f"run/log/log_{name}_offline.txt",
            f"run/metric/train_metric_{name}.json",
            f"run/metric/test_metric_{name}.json",
            f"run/model/model_{name}_offline_time00/weights.safetensors",
            f"run/model/model_{name}_offline_time01/card.json",
            f"result/run/eer/{name}_r_32.txt",
            f"result/run/eer/{name}/Evaluation_on_task_2.png",
            f"result/run/eer/{name}/Evaluation_on_all_tasks.png",
        ):
            assert (Path("out") / file).is_file(), file
    assert (folder / "args.txt").read_text().startswith("args Namespace(batch_size=16, buffer_ratio=")
    assert "seed=344" in (folder / "args.txt").read_text()
    lists = (folder / "data_cache" / "data_train_path.txt").read_text().splitlines()
    assert lists[0] == "file class_index timestamp"
    assert lists[1] == "features_backup/train_fadcl_wav2vec/1/real/u0.npy 0 1"
    assert len(lists) == 1 + 2 * 2 * 12
    assert (folder / "notes.txt").read_text().splitlines()[:2] == said[:2]
    assert any("momentum: ignored: " in line for line in said)


def test_the_numbers_that_are_written_are_right(evda):
    """Accuracy, confusion, loss, forgetting and EER again, from the saved detectors, in numpy."""
    import torch

    from earwitness.detector import Detector

    folder, _ = quiet_run(evda, ["method=Naive", "start_lr=0.1"])
    told = json.loads((folder / "metric" / "test_metric_Naive.json").read_text())
    eers = (folder.parent / "result" / "run" / "eer" / "Naive_r_32.txt").read_text().splitlines()
    assert eers[0] == "Eval on Task1 Task2"
    right = np.zeros((2, 2))
    for after in (0, 1):
        detector = Detector.load(folder / "model" / f"model_Naive_offline_time0{after}")
        confusion = np.zeros((2, 2), dtype=int)
        for on in (0, 1):
            root = Path(f"features_backup/test_fadcl_wav2vec/{on + 1}")
            vectors = [
                [np.load(root / name / f"u{n}.npy").mean(0) for n in range(10)]
                for name in ("real", "fake")
            ]
            with torch.no_grad():
                logits = detector(torch.tensor(np.concatenate(vectors))).logits.double().numpy()
            own = np.repeat([0, 1], 10)
            right[after, on] = np.mean(logits.argmax(1) == own)
            np.add.at(confusion, (own, logits.argmax(1)), 1)
            loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(20), own])
            where = f"eval_phase/test_stream/Task00{on}"
            metrics_now = told[str(after)]
            assert metrics_now[f"Top1_Acc_Stream/{where}"] == pytest.approx(right[after, on])
            assert metrics_now[f"Loss_Exp/{where}/Exp00{on}"] == pytest.approx(loss, abs=1e-5)
            scores = logits[:, 0] - logits[:, 1]
            eer = json.loads(eers[1 + after].removeprefix(f"Train after Task{after + 1} "))[on]
            assert eer == pytest.approx(their_eer(scores[:10], scores[10:]))
        assert told[str(after)]["ConfusionMatrix_Stream/eval_phase/test_stream"] == confusion.tolist()
    lost = told["1"]["ExperienceForgetting/eval_phase/test_stream/Task000/Exp000"]
    assert lost == pytest.approx(right[0, 0] - right[1, 0])
    assert told["1"]["StreamForgetting/eval_phase/test_stream"] == pytest.approx(lost)
    assert told["0"]["StreamForgetting/eval_phase/test_stream"] == 0.0
    assert "ExperienceForgetting/eval_phase/test_stream/Task001/Exp001" not in told["1"]
    assert "Accuracy_On_Trained_Experiences/eval_phase/test_stream/Task001" not in told["0"]
    means = parse(folder, say=lambda line: None)["log_Naive_offline.txt"]
    assert means["offline"] == pytest.approx(np.trace(right) / 2, abs=1e-4)


def their_eer(real: np.ndarray, fake: np.ndarray) -> float:
    """Section 7 of the formats, by a plain loop: one trial after the other is rejected."""

    def one_sign(real, fake):
        pooled = sorted([(s, 0) for s in real] + [(s, 1) for s in fake], key=lambda pair: pair[0])
        frr, far = 0.0, 1.0
        best = (abs(frr - far), (frr + far) / 2)
        for _, is_fake in pooled:
            frr += (not is_fake) / len(real)
            far -= is_fake / len(fake)
            if abs(frr - far) < best[0] - 1e-12:
                best = (abs(frr - far), (frr + far) / 2)
        return best[1]

    return min(one_sign(real, fake), one_sign(-real, -fake))


def noted(book, *numbers: int, told: bool = True) -> None:
    """Steps of two epochs of three steps each, of task 0; loss 10 n, n of 2 + n clips right."""
    for n in numbers:
        record = {"position": 0, "epoch": n // 3, "step": n, "steps": 6, "loss": 10.0 * n, "x": 1}
        book.note(record, {"right": n, "clips": 2 + n} if told else {})


def test_epochs_are_summed_up_as_by_hand(tmp_path):
    from earwitness.legacy.epochs import EpochBook
    from earwitness.legacy.outputs import train_metrics

    book = EpochBook(tmp_path, "RWM", epochs=2)
    noted(book, 0, 1, 2, 3, 4)
    assert [epoch["epoch"] for epoch in book.of_task(0)] == [0]
    noted(book, 5)
    told = train_metrics(book.of_task(0)[-1], 7)
    where = "train_phase/train_stream/Task007"
    clips = np.array([5, 6, 7])
    assert told[f"Loss_Epoch/{where}"] == pytest.approx(clips @ [30, 40, 50] / 18)
    assert told[f"Loss_MB/{where}"] == 50.0
    assert told[f"Top1_Acc_Epoch/{where}"] == pytest.approx((3 + 4 + 5) / 18)
    assert told[f"Top1_Acc_MB/{where}"] == pytest.approx(5 / 7)
    own_loss = EpochBook(tmp_path, "CoPE", epochs=2)
    noted(own_loss, 0, 1, 2, told=False)
    told = train_metrics(own_loss.of_task(0)[-1], 7)
    assert told == {f"Loss_Epoch/{where}": 10.0, f"Loss_MB/{where}": 20.0}


@pytest.mark.parametrize(
    ("killed_after", "back_to"),
    [(last, first) for last in range(6) for first in range(min(last + 2, 6))],
)  # a checkpoint is not ahead of its run
def test_steps_done_again_after_a_kill_change_no_epoch(tmp_path, killed_after, back_to):
    from earwitness.legacy.epochs import EpochBook

    whole = EpochBook(tmp_path, "whole", epochs=2)
    noted(whole, *range(6))
    noted(EpochBook(tmp_path, "parts", epochs=2), *range(killed_after + 1))
    with open(tmp_path / "parts.steps.jsonl", "a") as file:
        file.write('{"position": 0, "ep')  # cut off by the kill
    noted(EpochBook(tmp_path, "parts", epochs=2), *range(back_to, 6))
    files = [tmp_path / f"{name}.epochs.jsonl" for name in ("whole", "parts")]
    assert files[0].read_text() == files[1].read_text()
    assert EpochBook(tmp_path, "parts", epochs=2).of_task(0) == whole.of_task(0)


def test_a_stopped_run_ends_with_the_same_files(evda, monkeypatch):
    from earwitness.legacy import epochs as module

    whole, _ = quiet_run(evda, ["method=RWM Naive"], out="whole")
    for stop in (5, 9, 14):
        calls = iter(range(100))

        def append(path, line, last=stop, calls=calls, original=module.append_line):
            if next(calls) == last:
                raise KeyboardInterrupt
            original(path, line)

        with monkeypatch.context() as patched:
            patched.setattr(module, "append_line", append)
            with pytest.raises(KeyboardInterrupt):
                quiet_run(evda, ["method=RWM Naive"], out="parts")
    parts, _ = quiet_run(evda, ["method=RWM Naive"], out="parts")
    both = [contents(folder.parent) for folder in (whole, parts)]
    assert both[0].keys() == both[1].keys()
    assert [name for name in both[0] if both[0][name] != both[1][name]] == []


def test_what_was_killed_before_it_was_judged_is_judged_later(evda, monkeypatch):
    from earwitness.legacy import run as module

    with monkeypatch.context() as patched:
        patched.setattr(module, "_judged", lambda detector, manifest: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            quiet_run(evda, ["method=Naive"])
    folder, _ = quiet_run(evda, ["method=Naive"])
    first = contents(folder)
    (folder / "metric" / "test_metric_Naive.json").unlink()  # rows are made again from the models
    Path("result/run/eer/Naive_r_32.txt").unlink()
    quiet_run(evda, ["method=Naive"])
    assert contents(folder) == first
    assert len(Path("result/run/eer/Naive_r_32.txt").read_text().splitlines()) == 3


def test_other_settings_are_refused_unless_restart_says_so(evda):
    from earwitness.errors import CheckpointError

    quiet_run(evda, ["method=Naive"])
    with pytest.raises(CheckpointError, match="other settings"):
        quiet_run(evda, ["method=Naive", "nepoch=2"])
    quiet_run(evda, ["method=Naive", "nepoch=2", "restart=1"])


def test_eval_judges_the_saved_detectors_again(evda):
    from earwitness.errors import RunError

    with pytest.raises(RunError, match="learn it first"):
        quiet_run(evda, ["method=Naive", "eval=True"])
    folder, _ = quiet_run(evda, ["method=Naive"])
    before = contents(folder)
    quiet_run(evda, ["method=Naive", "eval=True"])
    after = contents(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"args.txt"}


def test_joint_training_is_one_task_of_everything(evda):
    folder, _ = quiet_run(evda, ["method=JointTraining", "nepoch=4"])
    told = json.loads((folder / "metric" / "test_metric_JointTraining.json").read_text())
    assert list(told) == ["0"]
    assert (folder / "model" / "model_JointTraining_offline_time0" / "card.json").is_file()
    passes, steps = (
        (folder / "checkpoint" / f"JointTraining.{kind}.jsonl").read_text().splitlines()
        for kind in ("epochs", "steps")
    )
    assert (len(passes), len(steps)) == (4 * 2 // 3, 48 // 16)  # nepoch * timestamp // 3 passes
    assert "JointTraining_r_32.txt" in {p.name for p in Path("result/run/eer").iterdir()}


def test_a_clear_file_runs_with_the_compact_classes_of_its_repository(clear):
    folder, said = quiet_run(clear, ["method=Naive RAWM RWM"])
    for name, compact in (("RAWM", "clear10-rawm"), ("RWM", "clear10-rwm")):
        told = json.loads((folder / "metric" / f"test_metric_{name}.json").read_text())
        assert len(told["1"]["ConfusionMatrix_Stream/eval_phase/test_stream"]) == 11
        assert choose(name, read(clear)).settings["compact"] == compact
    naive, rwm = (
        (folder / "model" / f"model_{m}_offline_time01" / "weights.safetensors").read_bytes()
        for m in ("Naive", "RWM")
    )
    assert naive != rwm  # in the released code they are the same bits
    lists = [
        (folder / "data_cache" / f"data_{stage}_path.txt").read_text().splitlines()[1:]
        for stage in ("train", "test", "all")
    ]
    assert [len(part) for part in lists] == [2 * 11 * 7, 2 * 11 * 3, 2 * 11 * 10]
    assert not set(lists[0]) & set(lists[1])
    assert {line.split()[2] for line in lists[2]} == {"1", "2"}
    assert any("num_instance_each_class_test: ignored" in line for line in said)


@pytest.mark.parametrize("dialect", ["evda", "clear"])
def test_every_key_is_used_or_named_with_a_reason(request, dialect, monkeypatch):
    """A key that is not named as ignored is asked for somewhere in the run."""
    from dataclasses import replace

    from earwitness.legacy import run as module

    path = request.getfixturevalue(dialect)
    watched: list[Watched] = []

    def reading(*args):
        config = read(*args)
        watched.append(Watched(config.values))
        return replace(config, values=watched[-1])

    monkeypatch.setattr(module, "read", reading)
    quiet_run(path, ["method=Replay"])
    config = read(path)
    assert len(config.values) == {"evda": 33, "clear": 29}[dialect]
    assert set(config.values) == watched[0].asked | set(config.ignored)
    assert all(config.ignored.values())


def test_the_split_is_that_of_scikit_learn():
    """Values of sklearn.model_selection.train_test_split(range(n), test_size=..., random_state=...)."""
    from earwitness.legacy.data import split_by_lot

    assert split_by_lot(range(10), 0.3, 1111) == ([0, 6, 2, 4, 1, 5, 7], [9, 3, 8])
    assert split_by_lot(range(7), 0.3, 5) == ([1, 0, 5, 3], [6, 2, 4])
    assert split_by_lot(range(5), 0.5, 344) == ([1, 0], [4, 2, 3])


def test_lists_of_another_machine_are_used_for_their_split(evda):
    """As shipped with EVDA: absolute paths of the authors; bucket, class and name are looked up."""
    cache = Path("run/data_cache")
    cache.mkdir(parents=True)
    for stage, numbers in (("train", (7, 3, 5)), ("test", (0, 9))):
        lines = [
            f"/data1/theirs/{stage}_fadcl_wav2vec/{task}/{name}/u{number}.npy {index} {task}"
            for task in (1, 2)
            for index, name in enumerate(("real", "fake"))
            for number in numbers
        ]
        (cache / f"data_{stage}_path.txt").write_text("\n".join(["file class_index timestamp", *lines]))
    from earwitness.legacy.data import stream

    said: list[str] = []
    tasks = stream(read(evda), Path("run"), said.append)
    train = tasks[0].train
    assert train.trials[0].path == "features_backup/train_fadcl_wav2vec/1/real/u7.npy"
    assert train.counts() == {"bonafide": 3, "spoof": 3}
    assert len(tasks[1].test) == 4
    assert any("/data1/theirs" in line for line in said)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.npy 0", "line 2: 'a.npy 0', expected path"),
        ("a.npy 2 1", "class 2 and bucket 1, expected classes 0 to 1"),
        ("a.npy 0 3", "bucket 3"),
        ("a.npy zero 1", "expected path, class index and bucket"),
    ],
)
def test_a_bad_line_of_a_list_is_named(evda, line, told):
    from earwitness.legacy.data import stream

    cache = Path("run/data_cache")
    cache.mkdir(parents=True)
    for stage in ("train", "test"):
        (cache / f"data_{stage}_path.txt").write_text(f"file class_index timestamp\n{line}")
    with pytest.raises(ProtocolError) as error:
        stream(read(evda), Path("run"), lambda line: None)
    assert told in str(error.value)


def test_missing_data_is_said(evda, clear):
    from earwitness.legacy.data import stream

    with pytest.raises(ProtocolError, match="no such folder"):
        stream(read(evda, ["feature_path=nowhere"]), Path("x"), lambda line: None)
    with pytest.raises(ProtocolError, match="10 file"):
        stream(read(clear, ["num_instance_each_class=11"]), Path("y"), lambda line: None)
    with pytest.raises(SettingsError, match="holds vectors of 8 numbers"):
        quiet_run(evda, ["pretrain_feature_shape=16", "method=Naive"])


def test_an_unknown_method_is_an_error_before_anything_is_written(evda):
    """Theirs passes it over in silence."""
    with pytest.raises(SettingsError, match="'Naif'; did you mean 'Naive'"):
        quiet_run(evda, ["method=Naive Naif"])
    assert not Path("run").exists()


# Method strings.

PER_TASK = {"clear": int(11 * 300 * 0.7), "evda": int(2 * 1000 * 0.3)}  # 2310 and 600 clips
EWC_THEIRS = {"strength": 0.8, "form": "explicit", "fisher": "batch", "gamma": 0.1}


@pytest.mark.parametrize(
    ("dialect", "name", "strategy", "settings"),
    [
        ("clear", "CWRStar", "cwr_star", {}),
        ("evda", "ELMA", "elma", {"rank": 32}),
        ("clear", "Replay", "replay", {"budget": 2310, "balance": "task"}),
        ("clear", "Replay_100", "replay", {"budget": 100, "balance": "task"}),
        ("evda", "Replay", "replay", {"budget": 600, "balance": "task"}),
        ("evda", "Replay_2", "replay", {"budget": 1200, "balance": "task"}),
        ("clear", "JointTraining", "naive", {}),
        ("clear", "GDumb", "gdumb", {"budget": 2310, "balance": "class-task"}),
        ("clear", "GDumbFinetune_50", "gdumb_finetune", {"budget": 50, "balance": "class-task"}),
        (
            *("clear", "BiasReservoir_Fixed_reset_0.2", "reservoir"),
            {"budget": 2310, "bias": "fixed", "alpha": 0.2, "restart": True},
        ),
        (
            *("clear", "BiasReservoir_Dynamic_1.0", "reservoir"),
            {"budget": 2310, "bias": "dynamic", "alpha": 1.0, "restart": False},
        ),
        (
            *("clear", "BiasReservoir_Dynamic_1", "reservoir"),
            {"budget": 2310, "bias": "dynamic", "alpha": 1.0, "restart": False},
        ),
        ("clear", "Reservoir", "reservoir", {"budget": 2310}),
        ("clear", "Cumulative", "cumulative", {}),
        ("clear", "Cumulative_reset", "joint", {}),
        ("clear", "LwF", "lwf_rising", {"tasks": 10}),
        ("clear", "OWM", "owm", {}),
        ("evda", "OWM", "owm", {"project": "update"}),
        ("clear", "RAWM", "rawm", {"compact": "clear10-rawm"}),
        ("clear", "RWM", "rwm", {"compact": "clear10-rwm"}),
        ("evda", "RWM", "rwm", {"compact": "genuine-fake", "project": "update"}),
        ("clear", "GEM", "gem", {"per_task": 2310, "margin": 0.5}),
        ("clear", "AGEMFixed", "agem", {"per_task": 231, "sample": 2310}),
        ("clear", "AGEM_64", "agem", {"per_task": 64, "sample": 64}),
        ("clear", "EWC", "ewc_online", EWC_THEIRS),
        ("clear", "Naive", "naive", {}),
        ("clear", "SynapticIntelligence", "si", {"strength": 0.1}),
        ("evda", "CoPE", "cope", {"budget": 600}),
        ("evda", "ICaRL", "icarl", {"budget": 600}),
        ("evda", "StreamingLDA", "slda", {}),
    ],
)
def test_what_a_method_string_means(tmp_path, dialect, name, strategy, settings):
    config = read(saved(tmp_path, {"clear": CLEAR, "evda": EVDA}[dialect]))
    method = choose(name, config)
    assert (method.strategy, dict(method.settings)) == (strategy, settings)
    assert method.joint == (name == "JointTraining")
    method.build()  # the strategies take these settings


def test_every_name_builds_and_the_memory_is_bounded(tmp_path):
    config = read(saved(tmp_path, EVDA), ["max_memory_size=40"])
    for name in NAMES:
        choose("BiasReservoir_Fixed_0.5" if name == "BiasReservoir" else name, config).build()
    assert choose("Replay", config).settings["budget"] == 40 < PER_TASK["evda"]


def test_a_file_of_other_classes_lets_the_data_say_what_is_compact(tmp_path):
    text = CLEAR.replace(CLEAR10, "cat dog").replace("num_classes : 11", "num_classes : 2")
    assert choose("RWM", read(saved(tmp_path, text))).settings["compact"] == "auto"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("BiasReservoir_Fixed", "lacks its alpha"),
        ("EWC_0.4", "no method is called 'EWC_0.4'; did you mean 'EWC'?"),
        ("../Replay", "part of a file's name"),
    ],
)
def test_a_method_string_that_means_nothing_is_an_error(tmp_path, name, told):
    with pytest.raises(SettingsError) as error:
        choose(name, read(saved(tmp_path, CLEAR)))
    assert told in str(error.value)


def test_all_methods_of_the_published_files_have_a_meaning(tmp_path):
    config = read(saved(tmp_path, CLEAR_IMAGES))
    strategies = [choose(name, config).strategy for name in config.methods]
    assert strategies == ["lwf_rising", "replay", "reservoir", "reservoir", "reservoir"]


def test_lwf_rises_from_task_to_task(toy_stream, tmp_path):
    """0 at the first task and 2 at the last, evenly; and the penalty's slope is that of theirs."""
    import torch

    from earwitness import contracts
    from earwitness.detector import Detector
    from earwitness.legacy.lwf import RisingLwF
    from earwitness.strategies.teacher import distillation
    from earwitness.training import Training

    seen = {}

    class Seen(RisingLwF):
        def penalty(self, learning, batch, output):
            seen[learning.position] = self.strength
            return super().penalty(learning, batch, output)

    training = Training(epochs=1, batch_size=16, seconds=0.4)
    build = lambda: Detector.build("logmel", {"name": "linear", "pooling": "statistics"})  # noqa: E731
    contracts.check_strategy(lambda: Seen(tasks=3), build, toy_stream, tmp_path, training)
    assert seen == {0: 0.0, 1: 1.0}
    rng = torch.Generator().manual_seed(0)
    new = torch.randn(4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    old = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    theirs = torch.nn.functional.kl_div(new.log_softmax(1), old.softmax(1), reduction="batchmean")
    ours = distillation(new, old, 1.0)
    slopes = [torch.autograd.grad(loss, new)[0] for loss in (theirs, ours)]
    assert torch.allclose(*slopes, atol=1e-12)


@pytest.mark.slow
def test_every_method_runs(evda):
    names = [n if n != "BiasReservoir" else "BiasReservoir_Fixed_reset_0.2" for n in NAMES]
    folder, _ = quiet_run(evda, [f"method={' '.join(names)}", "nepoch=2"])
    for name in names:
        record = read_record(folder / "log" / f"log_{name}_offline.txt")
        assert record.rows.shape == ((1, 2) if name == "JointTraining" else (2, 2))
        assert record.rows.max() > 0.5
    means = parse(folder, say=lambda line: None)
    assert len(means) == len(NAMES)


def test_images_are_learned_themselves(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for bucket in (1, 2):
        for channel, name in enumerate(("cat", "dog", "hen")):
            folder = Path(f"CLEAR/labeled_images/{bucket}/{name}")
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 90, size=(20, 30, 3)).astype(np.uint8)
                pixels[..., channel] += 150
                image.fromarray(pixels).save(folder / f"{number}.png")
    small = CLEAR_IMAGES
    for old, new in (
        (CLEAR10, "cat dog hen"),
        ("timestamp : 10", "timestamp : 2"),
        ("num_classes : 11", "num_classes : 3"),
        ("each_class : 300", "each_class : 4"),
        ("nepoch : 70", "nepoch : 1"),
        ("'resnet50'", "'resnet18'"),
    ):
        assert old in small
        small = small.replace(old, new)
    path = saved(tmp_path, small, "images.yaml")
    folder, said = quiet_run(path, ["method=Naive", "split=run"])
    told = json.loads((folder / "metric" / "test_metric_Naive.json").read_text())
    assert np.sum(told["1"]["ConfusionMatrix_Stream/eval_phase/test_stream"]) == 2 * 3 * 2
    assert any("image_train_pretrain: ignored" in line for line in said)
    with pytest.raises(SettingsError, match="'resnet5'; did you mean 'resnet50'"):
        quiet_run(path, ["method=Naive", "split=other", "image_train_model_arch=resnet5"])


# The commands.


@pytest.fixture
def command():
    from typer.testing import CliRunner

    from earwitness.legacy.commands import legacy

    def call(*words: str):
        return CliRunner().invoke(legacy, words)

    return call


def test_the_promised_commands_one_after_the_other(evda, command):
    """train, parse with verbose and move, twice; then all metrics with plots."""
    for seed in ("1", "2"):
        done = command("run", "fad.yaml", "method=Naive", f"split=run{seed}", f"seed={seed}")
        assert done.exit_code == 0, done.output
        assert f"done: run{seed}" in done.output
        done = command("parse", "--split", f"run{seed}", "--verbose", "--move", "metric")
        assert done.exit_code == 0, done.output
        assert "log_Naive_offline.txt with offline, online, accuracy, backward, forward" in done.output
    done = command("metrics", "--plot", "--verbose")
    assert done.exit_code == 0, done.output
    assert "with 2 elem" in done.output
    assert Path("plot_avalanche/log_Naive_offline.pdf").is_file()
    assert Path("plot_avalanche/rwm_clear_exp_2.png").is_file()
    done = command("metrics", "run1/metric")
    assert done.exit_code == 0, done.output
    assert "test_metric_Naive with offline" in done.output


def test_the_commands_need_no_torch_to_read_logs():
    import subprocess
    import sys

    code = (
        "import sys, earwitness.legacy.commands\n"
        "light = not {'numpy', 'yaml', 'torch'} & set(sys.modules)\n"
        "import earwitness.legacy.parse, earwitness.legacy.metrics, earwitness.legacy.config\n"
        "sys.exit(not light or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
