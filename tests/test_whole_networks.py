"""Whole networks against slow definitions written here, in NumPy and double precision.

The definitions share no line with the networks: convolutions are sums over taps, graphs are loops
over nodes, the recurrent network is a loop over time.
"""

import math

import numpy as np
import pytest
import torch

from earwitness import contracts
from earwitness.backends import BACKENDS, _residual, aasist, rawnet2
from earwitness.backends.aasist import AASIST
from earwitness.backends.convnext import ConvNeXt
from earwitness.backends.nes2net import Nes2Net
from earwitness.backends.rawnet2 import RawNet2
from earwitness.backends.ssl_aasist import SSLAASIST
from earwitness.detector import Detector, Windows
from earwitness.errors import CheckpointError, SettingsError
from earwitness.frontends.base import Frames
from earwitness.frontends.wave import Wave

SMALL_RAWNET = {"taps": 65, "channels": (4, 4, 6, 6), "recurrent": 7, "layers": 2, "embedding": 5}
SMALL_SSL_AASIST = {"width": 13, "channels": (4, 4, 6), "graph": 6, "mixed": 5}
NETWORKS = {
    "aasist": (lambda: AASIST(size="tiny"), 1, (4502, 5000, 9123)),
    "ssl_aasist": (lambda: SSLAASIST(features=20, **SMALL_SSL_AASIST), 20, (6, 40, 67)),
    "rawnet2": (lambda: RawNet2(**SMALL_RAWNET), 1, (550, 1000, 1501)),
    "convnext": (lambda: ConvNeXt(features=20, widths=(4, 6, 8, 8), scale=0.5), 20, (1, 40, 67)),
    "nes2net": (lambda: Nes2Net(features=24, groups=3, parts=4, squeeze=2), 24, (1, 5, 9)),
}


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_the_counts_of_weights_are_those_published():
    assert count(AASIST()) == 297_866
    assert count(AASIST(size="light")) == 85_306
    assert count(SSLAASIST(features=1024)) == 447_242
    assert count(RawNet2()) == 17_621_410
    assert count(Nes2Net(features=1024, classes=1)) == 511_014
    tiny = ConvNeXt(features=64, classes=1000, widths=(96, 192, 384, 768), blocks=(3, 3, 9, 3))
    assert count(tiny) == 28_589_128 - 2 * 4 * 4 * 96  # a picture has two channels more


def shaken(network, seed=0):
    """The network with every weight and running statistic far from what it is at first."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                spread = 1 / math.sqrt(max(1, value[0].numel() if value.ndim > 1 else 4))
                value.copy_(spread * torch.randn(value.shape, generator=generator))
    return network.eval()


class Weights:
    """The weights of a network in double precision, by name below a prefix."""

    def __init__(self, network, prefix=""):
        self.state = {n: v.double().numpy() for n, v in network.state_dict().items()}
        self.prefix = prefix

    def __getitem__(self, name):
        return self.state[self.prefix + name]

    def __contains__(self, name):
        return self.prefix + name in self.state

    def below(self, name):
        other = Weights.__new__(Weights)
        other.state, other.prefix = self.state, f"{self.prefix}{name}."
        return other

    def linear(self, name, x):
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def norm(self, name, x, axis):
        """Batch normalisation with running statistics."""
        shape = [-1 if place == axis % x.ndim else 1 for place in range(x.ndim)]
        w = [
            self[f"{name}.{part}"].reshape(shape)
            for part in ("running_mean", "running_var", "weight", "bias")
        ]
        return (x - w[0]) / np.sqrt(w[1] + 1e-5) * w[2] + w[3]

    def conv(self, name, x, *, padding=(0, 0), stride=1, dilation=(1, 1), groups=1):
        """(channel, row, column), a sum over taps; one-dimensional where the weight is."""
        weight, bias = self[f"{name}.weight"], self[f"{name}.bias"]
        if weight.ndim == 3:
            args = {"padding": (0, padding), "stride": stride}
            return correlate(x[:, None], weight[:, :, None], bias, **args)[:, 0]
        return correlate(
            x, weight, bias, padding=padding, stride=stride, dilation=dilation, groups=groups
        )


def correlate(x, weight, bias, *, padding=(0, 0), stride=1, dilation=(1, 1), groups=1):
    x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2))
    outputs, inputs, height, width = weight.shape
    rows = (x.shape[1] - dilation[0] * (height - 1) - 1) // stride + 1
    columns = (x.shape[2] - dilation[1] * (width - 1) - 1) // stride + 1
    out = np.zeros((outputs, rows, columns)) + bias[:, None, None]
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(inputs):
            for r in range(height):
                for c in range(width):
                    top, left = r * dilation[0], c * dilation[1]
                    part = x[first + i, top : top + rows * stride, left : left + columns * stride]
                    out[o] += weight[o, i, r, c] * part[::stride, ::stride][:rows, :columns]
    return out


def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def filtered(wave, filters, taps):
    """The wave through each band-pass filter: the difference of two sinc low-passes, windowed."""

    def hertz(mel):
        return 700 * (10 ** (mel / 2595) - 1)

    top = 2595 * math.log10(1 + 8000 / 700)
    rows = []
    for f in range(filters):
        low, high = hertz(top * f / filters), hertz(top * (f + 1) / filters)
        taps_of = []
        for n in range(taps):
            t = (n - taps // 2) / 16_000
            window = 0.54 - 0.46 * math.cos(2 * math.pi * n / (taps - 1))
            ideal = 2 * (high - low) / 16_000
            if t:
                sines = math.sin(2 * math.pi * high * t) - math.sin(2 * math.pi * low * t)
                ideal = sines / (math.pi * t * 16_000)
            taps_of.append(window * ideal)
        rows.append(np.correlate(wave, taps_of, "valid"))
    return np.abs(np.array(rows))


def largest(x, band, time):
    """Max pooling of (channel, band, time) without overlap."""
    bands, times = x.shape[1] // band, x.shape[2] // time
    out = np.empty((len(x), bands, times))
    for b in range(bands):
        for t in range(times):
            out[:, b, t] = x[:, band * b : band * b + band, time * t : time * t + time].max((1, 2))
    return out


def written_aasist(network, wave):
    w = Weights(network)
    x = largest(filtered(wave, 70, 129)[None], 3, 3)
    x = selu(w.norm("norm", x, 0)).transpose(0, 2, 1)  # channel, time, band
    for number in range(6):
        x = largest(written_block(w.below(f"encoder.blocks.{number}"), x), 3, 1)
    read = written_graphs(w.below("graphs"), np.abs(x).max(1).T, np.abs(x).max(2).T, (0.4, 0.5, 0.7))
    return w.linear("head", read)


def written_ssl_aasist(network, values):
    w = Weights(network)
    x = selu(w.norm("norm", largest(w.linear("narrow", values.T)[None], 3, 3), 0))
    for number in range(len(network.encoder)):
        x = written_block(w.below(f"encoder.{number}"), x)
    x = selu(w.norm("last_norm", x, 0))  # channel, time, band
    weight = w.norm("attention.2", selu(w.conv("attention.0", x)), 0)
    weight = w.conv("attention.3", weight)
    channels, times, bands = (range(size) for size in x.shape)
    of_bands = [[softmax(weight[c, :, b]) @ x[c, :, b] for c in channels] for b in bands]
    of_times = [[softmax(weight[c, t]) @ x[c, t] for c in channels] for t in times]
    read = written_graphs(w.below("graphs"), np.array(of_bands), np.array(of_times), (0.5, 0.5, 0.5))
    return w.linear("head", read)


def written_block(b, x):
    inner = selu(b.norm("norm", b.conv("conv1", x, padding=(1, 1)), 0))
    direct = b.conv("shortcut", x, padding=(1, 0)) if "shortcut.weight" in b else x
    return b.conv("conv2", inner, padding=(1, 0)) + direct


def written_graphs(w, bands, times, size):
    bands = bands + w["position"][0]
    bands = written_pool(w.below("band_pool"), written_graph(w.below("band_graph"), bands), size[0])
    times = written_pool(w.below("time_pool"), written_graph(w.below("time_graph"), times), size[1])
    outcomes = []
    for number in range(2):
        b = w.below(f"branches.{number}")
        t, s, master = written_mixed(b.below("first"), times, bands, b["master"][0, 0])
        t, s = (
            written_pool(b.below("time_pool"), t, size[2]),
            written_pool(b.below("band_pool"), s, size[2]),
        )
        more = written_mixed(b.below("second"), t, s, master)
        outcomes.append([t + more[0], s + more[1], master + more[2]])
    t, s, master = (np.maximum(one, other) for one, other in zip(*outcomes, strict=True))
    return np.concatenate([abs(t).max(0), t.mean(0), abs(s).max(0), s.mean(0), master])


def written_graph(w, nodes):
    updated = []
    for one in nodes:
        looks = [np.tanh(w.linear("pair", one * other)) @ w["weight"][:, 0] for other in nodes]
        shares = softmax(np.array(looks) / 2)
        taken = sum(share * other for share, other in zip(shares, nodes, strict=True))
        updated.append(w.linear("update.attended", taken) + w.linear("update.direct", one))
    return selu(w.norm("norm", np.array(updated), 1))


def written_mixed(w, times, bands, master):
    nodes = [(1, w.linear("enter1", x)) for x in times] + [(2, w.linear("enter2", x)) for x in bands]
    looks = [np.tanh(w.linear("master_pair", x * master)) @ w["master_weight"][:, 0] for _, x in nodes]
    heard = sum(share * x for share, (_, x) in zip(softmax(np.array(looks) / 100), nodes, strict=True))
    updated = []
    for kind, one in nodes:
        looks = []
        for other_kind, other in nodes:
            vector = w[f"weight{min(kind, other_kind)}{max(kind, other_kind)}"][:, 0]
            looks.append(np.tanh(w.linear("pair", one * other)) @ vector)
        shares = softmax(np.array(looks) / 100)
        taken = sum(share * other for share, (_, other) in zip(shares, nodes, strict=True))
        updated.append(w.linear("update.attended", taken) + w.linear("update.direct", one))
    updated = selu(w.norm("norm", np.array(updated), 1))
    attended, direct = "master_update.attended", "master_update.direct"
    master = w.linear(attended, heard) + w.linear(direct, master)
    return updated[: len(times)], updated[len(times) :], master


def written_pool(w, nodes, keep):
    scores = sigmoid(w.linear("judge", nodes))[:, 0]
    best = sorted(range(len(nodes)), key=lambda n: -scores[n])[: max(1, int(keep * len(nodes)))]
    return np.array([scores[n] * nodes[n] for n in best])


def written_rawnet2(network, wave):
    w = Weights(network)
    x = largest(filtered(wave, 4, 65)[:, None], 1, 3)[:, 0]
    x = selu(w.norm("norm", x, 0))
    for number in range(len(network.blocks)):
        b = w.below(f"blocks.{number}")
        inner = b.norm("norm", b.conv("conv1", x, padding=1), 0)
        inner = b.conv("conv2", np.where(inner > 0, inner, 0.3 * inner), padding=1)
        direct = b.conv("shortcut", x, padding=0) if "shortcut.weight" in b else x
        x = largest((inner + direct)[:, None], 1, 3)[:, 0]
        gain = sigmoid(b.linear("gain", x.mean(1)))[:, None]
        x = x * gain + gain
    x = selu(w.norm("last_norm", x, 0)).T
    for layer in range(network.gru.num_layers):
        x = written_gru(w.below("gru"), layer, x)
    return w.linear("head", w.linear("dense", x[-1]))


def written_gru(w, layer, inputs):
    state, states = np.zeros(w[f"weight_hh_l{layer}"].shape[1]), []
    for x in inputs:
        given = np.split(w[f"weight_ih_l{layer}"] @ x + w[f"bias_ih_l{layer}"], 3)
        kept = np.split(w[f"weight_hh_l{layer}"] @ state + w[f"bias_hh_l{layer}"], 3)
        reset, update = sigmoid(given[0] + kept[0]), sigmoid(given[1] + kept[1])
        state = (1 - update) * np.tanh(given[2] + reset * kept[2]) + update * state
        states.append(state)
    return np.array(states)


def written_convnext(network, values):
    w = Weights(network)
    x = np.pad(values, [(0, -size % 32) for size in values.shape])[None]
    for number, stage in enumerate(network.stages):
        s = w.below(f"stages.{number}")
        x = s.conv("shrink", x, stride=4) if number == 0 else layer_norm(s, "norm", x)
        x = layer_norm(s, "norm", x) if number == 0 else s.conv("shrink", x, stride=2)
        for block in range(len(stage.blocks)):
            b = s.below(f"blocks.{block}")
            inner = layer_norm(b, "dense.0", b.conv("depthwise", x, padding=(3, 3), groups=len(x)))
            inner = b.linear("dense.1", inner.transpose(1, 2, 0))
            inner = 0.5 * inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = x + b["scale"] * b.linear("dense.3", inner).transpose(2, 0, 1)
    return w.linear("head", layer_norm(w, "norm", x.mean((1, 2))[:, None, None])[:, 0, 0])


def layer_norm(w, name, x):
    centred = x - x.mean(0)
    normal = centred / np.sqrt((centred**2).mean(0) + 1e-6)
    return normal * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]


def written_nes2net(network, values):
    w = Weights(network)
    groups = np.split(values, len(values) // network.size)
    before, done = 0, []
    for number, group in enumerate(groups[:-1]):
        before = np.maximum(written_nested(w.below(f"nested.{number}"), before + group), 0)
        before = w.norm(f"norms.{number}", before, 0)
        done.append(before)
    joined = np.concatenate([*done, groups[-1]])
    return w.linear("head", np.maximum(w.norm("norm", joined, 0), 0).mean(1))


def written_nested(w, x):
    entered = w.norm("enter_norm", np.maximum(w.conv("enter", x, padding=0), 0), 0)
    parts = np.split(entered, 4)
    there, sums = [parts[3]], []
    for step in range(3):
        there = [*there, parts[step]]
        conved = [w.conv(f"convs.{step}", p[:, None], padding=(0, 2), dilation=(1, 2)) for p in there]
        there = [w.norm(f"norms.{step}", np.maximum(c, 0), 0)[:, 0] for c in conved]
        weights = w[f"weights.{step}"][:, 0]
        sums.append(sum(weight * p for weight, p in zip(weights, there, strict=True)))
    left = w.conv("leave", np.concatenate([*sums, parts[3]]), padding=0)
    left = w.norm("leave_norm", np.maximum(left, 0), 0)
    gain = sigmoid(w.linear("gain.2", np.maximum(w.linear("gain.0", left.mean(1)), 0)))
    return left * gain[:, None] + x


WRITTEN = {
    "aasist": (written_aasist, 3 * 2187 + 200),
    "ssl_aasist": (written_ssl_aasist, 23),  # two frames and a band are left over by the pooling
    "rawnet2": (written_rawnet2, 1500),
    "convnext": (written_convnext, 64),  # whole patches: the definition knows no padding
    "nes2net": (written_nes2net, 9),
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("grad", [False, True])
def test_forward_is_the_written_definition(name, grad):
    build, features, _ = NETWORKS[name]
    network = shaken(build())
    definition, frames = WRITTEN[name]
    values = torch.randn(features, frames, generator=torch.Generator().manual_seed(3))
    of_waves = features == 1  # their filters are rounded to single precision, as released
    if not of_waves:
        network, values = network.double(), values.double()
    expected = definition(network, values.double().numpy().squeeze(0) if of_waves else values.numpy())
    with torch.set_grad_enabled(grad):
        found = network(Frames(values[None], torch.tensor([frames]))).logits[0].detach().numpy()
    tolerance = 2e-5 if of_waves else 1e-11
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert abs(expected[0] - expected[1]) > 1e-3


@pytest.mark.parametrize("samples", [2315, 128 + 3 * 2187 + 1, 128 + 3 * 2187 + 2186, 20_000])
@pytest.mark.parametrize("chunk", [1, 20_000, 10**9])
def test_aasist_by_stretches_of_time_is_aasist(samples, chunk, monkeypatch):
    if chunk == 1 and samples > 10_000:
        pytest.skip("many stretches take long")
    monkeypatch.setattr(_residual, "_CHUNK", chunk)
    network = shaken(AASIST(size="tiny"), seed=1)
    frames = Frames(torch.randn(2, 1, samples), torch.tensor([samples] * 2))
    with torch.no_grad():
        stretched = network(frames).logits
    torch.testing.assert_close(stretched, network(frames).logits.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_score_is_its_clips_own_and_every_weight_learns(name):
    build, features, lengths = NETWORKS[name]
    torch.manual_seed(0)
    network = build()
    clips = [torch.randn(features, n) for n in lengths]
    network.train()
    training = stack([torch.randn(features, lengths[2]) for _ in range(4)])
    (network(training).logits * torch.randn(4, 2)).sum().backward()
    idle = [
        n
        for n, p in network.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not idle
    network.eval()
    with torch.no_grad():
        alone = torch.cat([network(stack([clip])).logits for clip in clips])
        for order in ([0, 1, 2], [2, 0, 1], [1, 1, 0]):
            together = network(stack([clips[n] for n in order]))
            assert together.embedding.shape == (3, network.dim)
            torch.testing.assert_close(together.logits, alone[order], rtol=1e-5, atol=1e-5)
    assert network.min_frames == lengths[0]


@pytest.mark.parametrize("name", ["aasist", "ssl_aasist", "rawnet2"])
def test_the_shortest_clip_can_be_learned_alone_and_none_shorter(name):
    build, features, _ = NETWORKS[name]
    network = build().train()
    assert torch.isfinite(network(stack([torch.randn(features, network.min_frames)])).logits).all()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(stack([torch.randn(features, network.min_frames - 1)]))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_score_under_autocast(name):
    """A method that looks at an old network while it trains in bf16 does."""
    build, features, lengths = NETWORKS[name]
    network = shaken(build())
    frames = stack([torch.randn(features, n) for n in lengths])
    with torch.no_grad():
        expected = network(frames).score
        with torch.autocast("cpu", torch.bfloat16):
            found = network(frames).score.float()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def stack(clips):
    width = max(clip.shape[1] for clip in clips)
    values = torch.stack([torch.nn.functional.pad(c, (0, width - c.shape[1])) for c in clips])
    return Frames(values, torch.tensor([clip.shape[1] for clip in clips]))


def test_the_only_weights_that_never_learn_are_the_norms_that_released_code_skips():
    networks = {
        AASIST(): 512,
        AASIST(size="light"): 272,
        SSLAASIST(features=1024): 512,
        RawNet2(): 848,
    }
    for network, frozen in networks.items():
        still = {n: p.numel() for n, p in network.named_parameters() if not p.requires_grad}
        assert all("unused_norm" in name for name in still)
        assert sum(still.values()) == frozen


def test_encoders_with_aasist(tmp_path):
    back_end = {"name": "ssl_aasist", **SMALL_SSL_AASIST}
    pytest.importorskip("transformers")
    for layers in (-1, "weighted"):
        front_end = {"name": "ssl", "config": {"shape": "tiny"}, "layers": layers}
        detector = Detector.build(front_end, back_end, windows=Windows(0.5, 0.25))
        contracts.check_detector(detector, seconds=0.6)
    detector.train()(torch.randn(2, 8000)).logits.square().sum().backward()
    assert detector.front_end.weighting.grad.any()
    with pytest.raises(SettingsError, match="set its layers to 'weighted' or to one of them"):
        Detector.build({**front_end, "layers": "all"}, back_end)
    with pytest.raises(SettingsError, match="width is 2, expected at least 3"):
        SSLAASIST(features=20, width=2)


@pytest.mark.parametrize(
    "back_end", [{"name": "aasist", "size": "tiny"}, {"name": "rawnet2", **SMALL_RAWNET}]
)
def test_detectors_on_waves(back_end, tmp_path):
    detector = Detector.build("wave", back_end, windows=Windows(0.5, 0.25))
    contracts.check_detector(detector, seconds=0.6)
    detector.save(tmp_path)
    wave = torch.randn(2, 8000)
    with torch.no_grad():
        assert torch.equal(Detector.load(tmp_path)(wave).score, detector.eval()(wave).score)


@pytest.mark.parametrize("normalise", ["none", "peak", "level"])
def test_the_front_end_wave(normalise):
    contracts.check_front_end(Wave(normalise=normalise))
    wave, length = torch.tensor([[0.5, -0.25, 9.0], [0.0, 0.0, 0.0]]), torch.tensor([2, 3])
    values = Wave(normalise=normalise)(wave, length).values[:, 0]
    largest_value = {"none": 0.5, "peak": 1.0, "level": 0.5 / math.sqrt((0.25 + 0.0625) / 2)}
    assert values[0].max().item() == pytest.approx(largest_value[normalise])
    assert values[0, 2] == 0
    assert not values[1].any()


@pytest.mark.parametrize("name", ["aasist", "rawnet2"])
def test_frames_that_are_no_samples_are_refused(name):
    with pytest.raises(SettingsError, match="take the front end 'wave'"):
        BACKENDS.build(name, features=60)


def test_features_that_cannot_be_cut_are_refused():
    with pytest.raises(SettingsError, match="multiple of groups"):
        Nes2Net(features=60)


def official_norm(name, size):
    parts = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (size,))
    return {f"{name}.{part}": shape for part, shape in parts.items()} | {
        f"{name}.num_batches_tracked": ()
    }


def official_layer(name, *weight):
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def official_aasist(channels, graph, mixed):
    """The names and shapes that clovaai/aasist's model has for such sizes."""
    shapes = {"pos_S": (1, 23, channels[-1]), "master1": (1, 1, graph), "master2": (1, 1, graph)}
    shapes |= official_norm("first_bn", 1)
    for n, (inputs, outputs) in enumerate(zip((1, *channels), channels, strict=False)):
        block = f"encoder.{n}.0"
        shapes |= official_norm(f"{block}.bn1", inputs) if n else {}
        shapes |= official_layer(f"{block}.conv1", outputs, inputs, 2, 3)
        shapes |= official_norm(f"{block}.bn2", outputs)
        shapes |= official_layer(f"{block}.conv2", outputs, outputs, 2, 3)
        if inputs != outputs:
            shapes |= official_layer(f"{block}.conv_downsample", outputs, inputs, 1, 3)
    for kind in "ST":
        name = f"GAT_layer_{kind}"
        shapes[f"{name}.att_weight"] = (graph, 1)
        for part in ("att_proj", "proj_with_att", "proj_without_att"):
            shapes |= official_layer(f"{name}.{part}", graph, channels[-1])
        shapes |= official_norm(f"{name}.bn", graph)
        shapes |= official_layer(f"pool_{kind}.proj", 1, graph)
        shapes |= official_layer(f"pool_h{kind}1.proj", 1, mixed)
        shapes |= official_layer(f"pool_h{kind}2.proj", 1, mixed)
    for number, inputs in (("11", graph), ("12", mixed), ("21", graph), ("22", mixed)):
        name = f"HtrgGAT_layer_ST{number}"
        shapes |= {f"{name}.att_weight{kind}": (mixed, 1) for kind in ("11", "22", "12", "M")}
        for part in ("att_proj", "proj_with_att", "proj_without_att"):
            shapes |= official_layer(f"{name}.{part}", mixed, inputs)
            shapes |= official_layer(f"{name}.{part}M", mixed, inputs)
        shapes |= official_layer(f"{name}.proj_type1", inputs, inputs)
        shapes |= official_layer(f"{name}.proj_type2", inputs, inputs)
        shapes |= official_norm(f"{name}.bn", mixed)
    return shapes | official_layer("out_layer", 2, 5 * mixed)


def made_up(shapes):
    return {n: torch.randn(s) if s else torch.tensor(7) for n, s in shapes.items()}


TINY = ((4, 4, 6, 6, 6, 6), 6, 5)


def test_official_aasist_weights_load_by_name(tmp_path):
    state = made_up(official_aasist(*TINY))
    torch.save(state, tmp_path / "a.pth")
    network = AASIST(size="tiny")
    aasist.load_official(network, tmp_path / "a.pth")
    mine = network.state_dict()
    assert len(mine) == len(state)
    pairs = {
        "out_layer.weight": mine["head.weight"].flip(0),
        "encoder.2.0.conv_downsample.weight": mine["encoder.blocks.2.shortcut.weight"].mT,
        "encoder.4.0.bn2.running_var": mine["encoder.blocks.4.norm.running_var"],
        "GAT_layer_T.proj_without_att.bias": mine["graphs.time_graph.update.direct.bias"],
        "HtrgGAT_layer_ST21.att_weight12": mine["graphs.branches.1.first.weight12"],
        "HtrgGAT_layer_ST12.proj_with_attM.weight": mine[
            "graphs.branches.0.second.master_update.attended.weight"
        ],
        "pool_hS2.proj.weight": mine["graphs.branches.1.band_pool.judge.weight"],
        "master2": mine["graphs.branches.1.master"],
    }
    for name, found in pairs.items():
        assert torch.equal(state[name], found), name
    sums = [sorted(v.double().sum().item() for v in s.values()) for s in (state, mine)]
    assert np.allclose(*sums)


def test_the_made_up_names_are_as_many_as_released():
    for size, sizes in (
        ("full", ((32, 32, 64, 64, 64, 64), 64, 32)),
        ("light", ((32, 32, *[24] * 4), 24, 32)),
    ):
        shapes = official_aasist(*sizes)
        learned = [s for n, s in shapes.items() if not n.endswith(("mean", "var", "tracked"))]
        assert sum(math.prod(s) for s in learned) == count(AASIST(size=size))


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    state = made_up(official_aasist(*TINY))
    torch.save(state, path)
    with pytest.raises(
        CheckpointError, match=r"conv1.weight is \(4, 1, 3, 2\), expected \(32, 1, 3, 2\)"
    ):
        aasist.load_official(AASIST(), path)
    torch.save({n.replace("pos_S", "pos_X"): v for n, v in state.items()}, path)
    with pytest.raises(CheckpointError, match="graphs.position is absent; pos_X is not known"):
        aasist.load_official(AASIST(size="tiny"), path)
    with pytest.raises(CheckpointError, match="no such file"):
        aasist.official_state(tmp_path / "b.pth")
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="names with a tensor each"):
        aasist.official_state(path)


class Runs:
    """What would run code if it were unpickled."""

    def __reduce__(self):
        return print, ("code of the file was run",)


def test_nothing_in_a_file_of_weights_is_run(tmp_path, capsys):
    torch.save({"pos_S": Runs()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"not a checkpoint")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError, match="was not followed|not a zip archive"):
            aasist.official_state(tmp_path / name)
    assert "was run" not in capsys.readouterr().out


def test_official_rawnet2_weights_load_by_name(tmp_path):
    network = RawNet2(**SMALL_RAWNET)
    state = made_up({n: tuple(v.shape) for n, v in network.state_dict().items()})
    back = [("unused_norm", "bn1"), (".norm.", ".bn2."), (".shortcut.", ".conv_downsample.")]
    official = {}
    for name, value in state.items():
        new = name
        if name.startswith("blocks."):
            for mine, theirs in back:
                new = new.replace(mine, theirs)
            number = new.split(".")[1]
            new = new.replace(f"blocks.{number}.gain", f"fc_attention{number}.0")
            new = new.replace(f"blocks.{number}", f"block{number}.0")
        elif not name.startswith("gru"):
            part, rest = name.split(".", 1)
            theirs = {
                "norm": "first_bn",
                "last_norm": "bn_before_gru",
                "dense": "fc1_gru",
                "head": "fc2_gru",
            }
            new = f"{theirs[part]}.{rest}"
        official[new] = value
    torch.save(official, tmp_path / "r.pth")
    rawnet2.load_official(network, tmp_path / "r.pth")
    for name, value in network.state_dict().items():
        expected = state[name].flip(0) if name.startswith("head") else state[name]
        assert torch.equal(value, expected), name
