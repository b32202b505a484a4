"""Whole networks: a training step and inference. Run: pytest bench/bench_models.py --benchmark-only

`gflops` counts two operations for each multiply-add of the direct algorithms, three times as many for a
training step; Winograd does with fewer, so a rate may be above the peak. Against other frameworks:
python bench/peers.py.
"""

import networks
import peer_fastnn
import pytest

import fastnn as nn


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = nn.get_num_threads()
    nn.set_num_threads(request.param)
    yield
    nn.set_num_threads(before)


@pytest.fixture(params=networks.NETWORKS)
def case(request):
    network = networks.NETWORKS[request.param]
    x, y = networks.fixed_batch(network)
    model = peer_fastnn.build(network, networks.initial_weights(network))
    operations = 2e-9 * len(x) * sum(layer.multiply_adds() for _, layer in model.walk())
    return model, x, y, operations, peer_fastnn.LOSSES[network.loss]()


def test_training_step(benchmark, case):
    model, x, y, operations, loss = case
    trainer = nn.Trainer(model, loss, nn.Adam(lr=1e-5))  # repeated for long, on one batch
    benchmark(trainer.train_step, x, y)
    if benchmark.stats:
        benchmark.extra_info["gflops"] = 3 * operations / benchmark.stats.stats.median


def test_inference(benchmark, case):
    model, x, _, operations, _ = case
    benchmark(model.predict, x)
    if benchmark.stats:
        benchmark.extra_info["gflops"] = operations / benchmark.stats.stats.median
