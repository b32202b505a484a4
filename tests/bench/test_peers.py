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
    assert peers.parse(["--peers", "torch", "--without-fastnn", "--train-only"]).peers == ["torch"]


@pytest.mark.parametrize("arguments", [["--workloads", "alexnet"], ["--peers", "caffe"],
                                       ["--train-only", "--infer-only"]])  # fmt: skip
def test_wrong_arguments(peers, arguments, capsys):
    with pytest.raises(SystemExit):
        peers.parse(arguments)
    assert arguments[-1] in capsys.readouterr().err


def test_ratio_is_fastest_peer_over_fastnn(peers):
    assert peers.ratio({"fastnn": 2.0, "torch": 5.0, "jax": 3.0}) == (1.5, "jax")
    assert peers.ratio({"torch": 5.0}) is None
    assert peers.ratio({"fastnn": 5.0}) is None


def test_table(peers):
    results = {"tiny": finished(fastnn=0.5, torch=1.0) | {"onnxruntime": {"error": "no"}}}
    lines = peers.table(results, ["fastnn", "torch", "onnxruntime", "openvino"], "infer").splitlines()
    assert lines[0].split()[:2] == ["inference", "(ms)"]
    assert lines[2].split() == ["tiny", "0.5000*", "1", "error", "-", "2.00", "(torch)"]
    assert len({len(line) for line in lines}) == 1
    assert "openvino" not in peers.table(results, ["fastnn", "torch", "openvino"], "train")


def test_remarks_name_missing_peers_errors_and_choices(peers):
    results = {"tiny": {
        "jax": {"error": "broken"},
        "torch": {"infer": {"error": "worse"},
                  "train": {"chosen": "b", "candidates_ms": {"a": 2.0, "b": 1.0}}},
    }}  # fmt: skip
    lines = peers.remarks(results, {"openvino": ["openvino"]})
    assert lines == [
        "missing: openvino (not installed: openvino)",
        "error: tiny, jax: broken",
        "chosen: tiny, torch, train: b (of a 2, b 1 ms)",
        "error: tiny, torch, infer: worse",
    ]


def test_noisy_rounds_and_the_best_round(peers):
    about = {"median_ms": 3.0, "rounds_ms": [1.0, 3.0, 400.0]}
    results = {"tiny": {"fastnn": {"infer": about}, "sklearn": {"infer": {"unsupported": "no images"}}}}
    assert peers.medians(results["tiny"], "infer") == {"fastnn": 3.0}
    assert peers.medians(results["tiny"], "infer", best_round=True) == {"fastnn": 1.0}
    assert peers.remarks(results, {}) == [
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


COUNTS = {"tiny": 131, "mlp-b32": 535_818, "lenet-b32": 61_706, "vgg-cifar-b32": 2_196_810,
          "resnet18-cifar-b32": 11_173_962}  # fmt: skip


@pytest.mark.parametrize("name, count", COUNTS.items())
def test_parameter_counts(networks, name, count):
    assert networks.parameter_count(networks.NETWORKS[name]) == count


@pytest.mark.parametrize("name", ["tiny", "mlp-b1", "lenet-b1", "vgg-cifar-b32", "resnet18-cifar-b1"])
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
