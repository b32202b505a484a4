"""Whole networks: a training step and inference. Run: pytest bench/bench_models.py --benchmark-only

`gflops` counts two operations for each multiply-add of the direct algorithms, three times as many for a
training step; Winograd does with fewer, so a rate may be above the peak. Against other frameworks:
python bench/peers.py.
"""

import networks
import numpy as np
import peer_fastnn
import pytest

import fastnn as nn

NAMES = ["tiny", "mlp-b1", "mlp-b32", "mlp-b128", "lenet-b1", "lenet-b32", "lenet-b128", "wide45-b64",
         "wide46-b64", "vgg-cifar-b32", "resnet18-cifar-b32"]  # fmt: skip


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = nn.get_num_threads()
    nn.set_num_threads(request.param)
    yield
    nn.set_num_threads(before)


@pytest.fixture(params=NAMES)
def case(request):
    network = networks.NETWORKS[request.param]
    x, y = networks.fixed_batch(network)
    model = peer_fastnn.build(network, networks.initial_weights(network))
    operations = 2e-9 * len(x) * sum(layer.multiply_adds() for _, layer in model.walk())
    return model, np.asarray(x), y, operations


def test_training_step(benchmark, case):
    model, x, y, operations = case
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam())
    benchmark(trainer.train_step, x, y)
    if benchmark.stats:
        benchmark.extra_info["gflops"] = 3 * operations / benchmark.stats.stats.median


def test_inference(benchmark, case):
    model, x, _, operations = case
    benchmark(model.predict, x)
    if benchmark.stats:
        benchmark.extra_info["gflops"] = operations / benchmark.stats.stats.median
