"""The race's bookkeeping: arguments, ratios, tables and the networks; nothing is timed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True, scope="module")
def bench_path():
    """bench/ is a folder of scripts: they import each other as top-level modules."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def peers(bench_path):
    import peers

    return peers


@pytest.fixture(scope="module")
def report(bench_path):
    import report

    return report


@pytest.fixture(scope="module")
def networks(bench_path):
    import networks

    return networks


def finished(**milliseconds):
    return {peer: {"infer": {"median_ms": ms}} for peer, ms in milliseconds.items()}


def test_default_arguments(peers, networks):
    options = peers.parse([])
    assert options.peers == list(peers.PEERS)
    assert options.workloads == [name for name, network in networks.NETWORKS.items() if not network.extra]
    assert options.tasks == ("train", "infer")


def test_arguments(peers, networks):
    options = peers.parse(
        ["--workloads", "tiny,tiny,mlp-b1", "--peers", "jax", "--threads", "3", "--infer-only"]
    )
    assert options.workloads == ["tiny", "mlp-b1"]
    assert options.peers == ["fastnn", "jax"]
    assert (options.threads, options.tasks) == (3, ("infer",))
    assert peers.parse(["--workloads", "all"]).workloads == list(networks.NETWORKS)
    extra = [name for name, network in networks.NETWORKS.items() if network.extra]
    assert peers.parse(["--workloads", "extra"]).workloads == extra
    assert peers.parse(["--peers", "torch", "--without-fastnn", "--train-only"]).peers == ["torch"]


@pytest.mark.parametrize("arguments", [["--workloads", "alexnet"], ["--peers", "caffe"],
                                       ["--check", "--memory"],
                                       ["--train-only", "--infer-only"]])  # fmt: skip
def test_wrong_arguments(peers, arguments, capsys):
    with pytest.raises(SystemExit):
        peers.parse(arguments)
    assert arguments[-1] in capsys.readouterr().err


def test_ratio_is_fastest_peer_over_fastnn(report):
    assert report.ratio({"fastnn": 2.0, "torch": 5.0, "jax": 3.0}) == (1.5, "jax")
    assert report.ratio({"fastnn": 0.0, "torch": 5.0}) == (float("inf"), "torch")
    assert report.ratio({"torch": 5.0}) is None
    assert report.ratio({"fastnn": 5.0}) is None


def test_time_table(peers, report):
    results = {"tiny": finished(fastnn=0.5, torch=1.0) | {"onnxruntime": {"error": "no"}}}
    lines = report.time_table(results, ["fastnn", "torch", "onnxruntime", "openvino"], "infer").splitlines()
    assert lines[0].split()[:2] == ["inference", "(ms)"]
    assert lines[2].split() == ["tiny", "0.5000*", "1", "error", "-", "2.00", "(torch)"]
    assert len({len(line) for line in lines}) == 1
    assert peers.able(["fastnn", "torch", "openvino"], "train") == ["fastnn", "torch"]


def megabytes(added, **changes):
    return {"added": added, "own": 1.0, "process": 90.0, "peak_of_steps_only": True} | changes


def test_memory_table_shows_the_leanest_candidate(report):
    results = {"tiny": {"fastnn": {"train": {"memory": [megabytes(20.0)]}},
                        "torch": {"train": {"memory": [megabytes(70.0), megabytes(50.0)]}},
                        "jax": {"train": {"memory_error": "no"}}, "sklearn": {}}}  # fmt: skip
    lines = report.memory_table(results, ["fastnn", "torch", "jax", "sklearn"], "train").splitlines()
    assert lines[2].split() == [
        "tiny", "20.0", "/", "1.0", "(90)*", "50.0", "/", "1.0", "(90)", "error", "-", "2.50", "(torch)",
    ]  # fmt: skip
    assert report.remarks(results, {}) == ["error: tiny, jax, train, memory: no"]


def test_a_peak_that_could_not_be_reset_is_remarked(report):
    results = {"tiny": {"torch": {"train": {"memory": [megabytes(1.0, peak_of_steps_only=False)]}}}}
    assert report.remarks(results, {}) == [
        "memory: tiny, torch, train: the peak could not be reset and is that of the whole process"
    ]


class FakeProcess:
    """Answers `memory` for two candidates, the second of which needs less."""

    def __init__(self, asked):
        self.asked = asked

    def ask(self, request, task, candidate):
        self.asked.append(candidate)
        return megabytes(30.0 if candidate is None else 10.0, others=["b"] if candidate is None else ["a"])

    def close(self):
        pass


def test_memory_of_all_candidates_or_of_the_one_that_was_timed(peers, monkeypatch):
    asked = []
    monkeypatch.setattr(peers, "start", lambda *about: FakeProcess(asked))
    options = peers.parse(["--train-only"])
    results = {"torch": {}, "jax": {"train": {"chosen": "b"}}, "sklearn": {"train": {"unsupported": "no"}}}
    peers.measure_memory("tiny", list(results), options, results)
    assert asked == [None, "b", "b"]
    assert [about["added"] for about in results["torch"]["train"]["memory"]] == [30.0, 10.0]
    assert len(results["jax"]["train"]["memory"]) == 1
    assert "memory" not in results["sklearn"]["train"]


def test_a_process_that_does_not_start_is_reported_once(peers, report, monkeypatch):
    def start(peer, network, options, result):
        result["error"] = "broken"

    monkeypatch.setattr(peers, "start", start)
    results = {"torch": {}}
    peers.measure_memory("tiny", ["torch"], peers.parse(["--train-only"]), results)
    assert report.remarks({"tiny": results}, {}) == ["error: tiny, torch, train, memory: broken"]


def test_remarks_name_missing_peers_errors_and_choices(report):
    results = {"tiny": {
        "jax": {"error": "broken"},
        "torch": {"infer": {"error": "worse"},
                  "train": {"chosen": "b", "candidates_ms": {"a": 2.0, "b": 1.0}}},
    }}  # fmt: skip
    lines = report.remarks(results, {"openvino": ["openvino"]})
    assert lines == [
        "missing: openvino (not installed: openvino)",
        "error: tiny, jax: broken",
        "chosen: tiny, torch, train: b (of a 2, b 1 ms)",
        "error: tiny, torch, infer: worse",
    ]


def test_noisy_rounds_and_the_best_round(report):
    about = {"median_ms": 3.0, "rounds_ms": [1.0, 3.0, 400.0]}
    results = {"tiny": {"fastnn": {"infer": about}, "sklearn": {"infer": {"unsupported": "no images"}}}}
    assert report.medians(results["tiny"], "infer") == {"fastnn": 3.0}
    assert report.medians(results["tiny"], "infer", best_round=True) == {"fastnn": 1.0}
    assert report.remarks(results, {}) == [
        "noise: tiny, fastnn, infer: medians of the rounds are 1, 3, 400 ms",
        "unsupported: tiny, sklearn, infer: no images",
    ]


def test_absent_packages_are_reported(peers, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else object())
    assert peers.missing("onnxruntime") == ["onnxruntime"]
    assert peers.missing("torch") == []


def test_difference_is_relative_and_finds_nan(peers):
    assert peers.difference([1.0, 100.0], [2.0, 100.0]) == pytest.approx(0.01)
    assert peers.difference([float("nan")], [1.0]) == float("inf")
    assert peers.difference([1.0], [1.0, 2.0]) == float("inf")


# Published where there is a publication: LeNet-5, ResNet-18 and MobileNet with ten classes; GoogLeNet's
# modules 3a and 3b (Szegedy et al. 2015, table 1, says 159 K and 380 K) with 10 x 480 + 10 behind them.
COUNTS = {"tiny": 131, "mlp-b32": 535_818, "lenet-b32": 61_706, "lenet1998-b32": 61_706,
          "vgg-cifar-b32": 2_196_810, "resnet18-cifar-b32": 11_173_962,
          "autoencoder-b64": 785 * 256 + 257 * 64 + 65 * 256 + 257 * 784,
          "inception-b16": 163_696 + 388_736 + 4_810, "depthwise-b16": 3_206_976 + 10_250}  # fmt: skip


@pytest.mark.parametrize("name, count", COUNTS.items())
def test_parameter_counts(networks, name, count):
    assert networks.parameter_count(networks.NETWORKS[name]) == count


@pytest.mark.parametrize("name", ["tiny", "mlp-b1", "lenet-b1", "vgg-cifar-b32", "resnet18-cifar-b1",
                                  "lenet1998-b32", "autoencoder-b64", "inception-b16",
                                  "depthwise-b16"])  # fmt: skip
def test_fastnn_builds_the_same_network(networks, name):
    nn = pytest.importorskip("fastnn")
    import peer_fastnn

    network = networks.NETWORKS[name]
    weights = networks.initial_weights(network)
    model = peer_fastnn.build(network, weights)
    assert model.theta.size == networks.parameter_count(network)
    x = networks.fixed_batch(network)[0][:1]
    expected = networks.forward(network.layers, weights, x.astype(np.float64))
    assert np.abs(model.predict(x) - expected).max() < 1e-4 * np.abs(expected).max()
    assert nn.__version__ in peer_fastnn.version("fastnn")
    assert isinstance(peer_fastnn.LOSSES[network.loss](), nn.SquaredError) == (name == "autoencoder-b64")


def test_channels_first_gives_the_same_dense(networks):
    network = networks.NETWORKS["lenet-b1"]
    weights = networks.initial_weights(network)
    first = networks.channels_first(network, weights)
    image = np.random.default_rng(0).standard_normal((2, 5, 5, 16))
    flat, flat_first = image.reshape(2, -1), networks.images_first(image).reshape(2, -1)
    expected, found = flat @ weights["5.weight"].T, flat_first @ first["5.weight"].T
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert first["0.weight"].shape == (6, 1, 5, 5)


def test_forward_of_a_residual_by_hand(networks):
    layers = (networks.Residual((networks.Dense(2),), ()),)
    weights = {"0.body.0.weight": np.array([[1.0, 0.0], [0.0, -3.0]]), "0.body.0.bias": np.array([0.5, 0.0])}
    y = networks.forward(layers, weights, np.array([[1.0, 1.0]]))
    np.testing.assert_array_equal(y, [[2.5, 0.0]])


def test_a_depthwise_convolution_by_hand(networks):
    """Two channels of 1 to 9, whose filters are one pixel each: the middle, and the upper left corner."""
    image = np.repeat(np.arange(1.0, 10).reshape(1, 3, 3, 1), 2, axis=3)
    weight = np.zeros((2, 3, 3, 1))
    weight[0, 1, 1], weight[1, 0, 0] = 1, 10
    layers = (networks.Conv2D(2, 3, stride=2, padding=1, use_bias=False, groups=2),)
    y = networks.forward(layers, {"0.weight": weight}, image)
    np.testing.assert_array_equal(y[0, :, :, 0], [[1, 3], [7, 9]])
    np.testing.assert_array_equal(y[0, :, :, 1], [[0, 0], [0, 50]])


def test_pooling_by_hand(networks):
    image = -np.arange(1.0, 10).reshape(1, 3, 3, 1)
    largest = networks.forward((networks.MaxPool2D(3, stride=1, padding=1),), {}, image)
    np.testing.assert_array_equal(largest[0, :, :, 0], [[-1, -1, -2], [-1, -1, -2], [-4, -4, -5]])
    assert networks.forward((networks.AvgPool2D(),), {}, image).ravel() == [-3]


def test_concat_joins_channels_and_names_its_weights(networks):
    same, twice = networks.MaxPool2D(1, stride=1), networks.Conv2D(2, 1, use_bias=False)
    layers = (networks.Concat(((same,), (twice,))),)
    weights = {"0.branch1.0.weight": np.array([2.0, 3.0]).reshape(2, 1, 1, 1)}
    y = networks.forward(layers, weights, np.full((1, 1, 1, 1), 5.0))
    np.testing.assert_array_equal(y.ravel(), [5, 10, 15])
    assert [path for path, _, _ in networks.walk(layers, (1, 1, 1))] == ["0.branch0.0", "0.branch1.0"]
    assert networks.output_of(layers, (1, 1, 1)) == (1, 1, 3)


@pytest.mark.parametrize("shape, network", [((4, 4, 1024), "depthwise-b16"), ((6, 6, 256), "alexnet-b4"),
                                            ((56, 56, 128), "vgg-224-b1"), ((28, 28, 512), "bottleneck-b16"),
                                            ((28, 28, 480), "inception-b16")])  # fmt: skip
def test_shape_before_the_classifier(networks, network, shape):
    """The papers' sizes: AlexNet's 6 x 6 x 256, ResNet-50's 28 x 28 x 512 behind its second stage."""
    about = networks.NETWORKS[network]
    images = [i for i, layer in enumerate(about.layers)
              if isinstance(layer, networks.Flatten | networks.GlobalAvgPool2D)]  # fmt: skip
    assert networks.output_of(about.layers[: images[0]], about.input_shape) == shape
