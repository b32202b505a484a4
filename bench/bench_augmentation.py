"""Augmentation of 128 images 32x32x3, beside a copy of their bytes and a training step of ResNet-18 on them.

Run: pytest bench/bench_augmentation.py --benchmark-only
"""

from time import perf_counter

import networks
import numpy as np
import peer_fastnn
import pytest

import fastnn as nn
from fastnn import augmentation as aug

CASES = {
    "shift": aug.RandomShift(4),
    "shift-reflect": aug.RandomShift(4, "reflect"),
    "flip": aug.RandomFlip(),
    "crop": aug.RandomCrop(32, padding=4),
    "rotation": aug.RandomRotation(15),
    "rotation-nearest": aug.RandomRotation(15, interpolation="nearest"),
    "zoom": aug.RandomZoom((0.8, 1.2)),
    "affine": aug.RandomAffine(15, 4, (0.8, 1.2), "reflect"),
    "cutout": aug.Cutout(16),
    "brightness": aug.RandomBrightness(),
    "contrast": aug.RandomContrast(),
    "all": aug.Compose([
        aug.RandomCrop(32, padding=4), aug.RandomFlip(), aug.RandomAffine(15, 4, (0.8, 1.2)), aug.Cutout(16),
        aug.RandomBrightness(), aug.RandomContrast(),
    ]),
}  # fmt: skip
ROOM = {}  # results, lent again and again as the trainer's are


@pytest.fixture(params=[1, 2], ids="{}threads".format)
def threads(request):
    before = nn.get_num_threads()
    nn.set_num_threads(request.param)
    yield
    nn.set_num_threads(before)


def batch(n=128):
    return np.random.default_rng(0).random((n, 32, 32, 3), np.float32)


def lend(shape, dtype):
    arrays = ROOM.setdefault((shape, dtype), [np.empty(shape, dtype) for _ in range(2)])
    arrays.reverse()  # what was lent last is read now
    return arrays[0]


def measure(benchmark, function, x):
    benchmark(function)
    if benchmark.stats:
        benchmark.extra_info["GB_per_s"] = 2 * x.nbytes / benchmark.stats.stats.median / 1e9


@pytest.mark.parametrize("case", CASES)
def test_augmentation(benchmark, threads, case):
    x = batch()
    measure(benchmark, lambda: CASES[case].run(x, 0, 1, lend), x)


def test_copy(benchmark):
    x = batch()
    y = np.empty_like(x)
    measure(benchmark, lambda: np.copyto(y, x), x)


def test_beside_a_step_of_resnet18(benchmark):
    """`ratio`: a training step on the 128 images over six augmentations, on one thread as in training."""
    network = networks.NETWORKS["resnet18-cifar-b32"]
    model = peer_fastnn.build(network, networks.initial_weights(network))
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Momentum(lr=1e-3))
    x, y = batch(), np.arange(128) % 10
    trainer.train_step(x, y)
    times = []
    for _ in range(3):
        start = perf_counter()
        trainer.train_step(x, y)
        times.append(perf_counter() - start)
    before = nn.get_num_threads()
    nn.set_num_threads(1)
    try:
        benchmark(lambda: CASES["all"].run(x, 0, 1, lend))
    finally:
        nn.set_num_threads(before)
    if benchmark.stats:
        first, second = min(times), benchmark.stats.stats.median
        benchmark.extra_info.update(first_us=first * 1e6, second_us=second * 1e6, ratio=first / second)
