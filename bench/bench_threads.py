"""More threads never make anything slower. Run: pytest bench/bench_threads.py --benchmark-only

The sizes where threads are dangerous: the step of the smallest network, all of it overhead; single samples;
and the widths 45 and 46, between which a product of 64 x n x n passes 2**17 multiply-adds: where a threshold
stands, there is a cliff. Each benchmark runs its two candidates in turns and fails if the second takes longer
than `LIMIT` times the first, by the fastest tenth of the turns. It needs the cores for itself: a thread that
waits for a core that another process has makes two threads slower, whatever the library does.
"""

import functools
import statistics
import time

import networks
import peer_fastnn
import pytest

import fastnn as nn

LIMIT = 1.1
TURN = 2e-3  # seconds that one turn lasts at least
SMALL = ["tiny", "mlp-b1", "lenet-b1", "wide45-b64", "wide46-b64", "mlp-b32", "lenet-b32"]


@functools.cache
def training_step(name):
    network = networks.NETWORKS[name]
    x, y = networks.fixed_batch(network)
    model = peer_fastnn.build(network, networks.initial_weights(network))
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=1e-5))
    return lambda: trainer.train_step(x, y)


@functools.cache
def prediction(name):
    network = networks.NETWORKS[name]
    x, _ = networks.fixed_batch(network)
    model = peer_fastnn.build(network, networks.initial_weights(network))
    return lambda: model.predict(x)


TASKS = {"train": training_step, "infer": prediction}


def compare(benchmark, first, second):
    """Benchmark turns of the two `(call, threads)`, and put their times and ratio beside it."""

    def run(call, threads, calls):
        nn.set_num_threads(threads)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls

    calls = [max(1, round(TURN / min(run(*who, 1) for _ in range(20)))) for who in (first, second)]
    samples = [], []

    def turn():
        for who, n, seconds in zip((first, second), calls, samples):
            run(*who, 1)  # the other one's team of threads may still be awake
            seconds.append(run(*who, n))

    before = nn.get_num_threads()
    try:
        benchmark.pedantic(turn, rounds=100, warmup_rounds=5)
    finally:
        nn.set_num_threads(before)
    if not benchmark.stats:  # --benchmark-disable
        return
    one, two = (1e6 * statistics.quantiles(seconds, n=10)[0] for seconds in samples)
    benchmark.extra_info.update(first_us=one, second_us=two, ratio=two / one)
    assert two < LIMIT * one, f"expected at most {LIMIT} times {one:.1f} us. Received: {two:.1f} us"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SMALL)
def test_two_threads_over_one(benchmark, name, task):
    call = TASKS[task](name)
    compare(benchmark, (call, 1), (call, 2))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_width_46_over_45(benchmark, threads, task):
    make = TASKS[task]
    compare(benchmark, (make("wide45-b64"), threads), (make("wide46-b64"), threads))
