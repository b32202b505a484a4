"""Time and what this machine can do at best: the measures that a rate is held against."""

from time import perf_counter

import numpy as np

from ._ext import gemm, threads  # type: ignore[attr-defined]


def median_seconds(call, seconds):
    """Median time of a call, of at least three or one long one."""
    times: list[float] = []
    end = perf_counter() + seconds
    while not times or (len(times) < 3 and times[0] < seconds) or perf_counter() < end:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return sorted(times)[len(times) // 2]


def shortest_seconds(call, seconds=1.0):
    """The shortest time of a call, of at least five after a first one."""
    call()
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < 5 or perf_counter() < end:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def giga(amount, seconds):
    """GFLOP/s of operations, GB/s of bytes; 0 where nothing was done."""
    return amount / seconds / 1e9 if amount and seconds else 0.0


def multiply_add_peak(n_threads=None, dtype="float32", seconds=0.3):
    """GFLOP/s of multiply-adds on registers alone, a multiply-add counted as two operations.

    Parameters
    ----------
    n_threads : int, optional
        Default: those that the kernels use.
    dtype : {"float32", "float64"}
    """
    before, double_precision = threads.get_num_threads(), np.dtype(dtype) == np.float64
    threads.set_num_threads(n_threads or before)
    try:
        operations = gemm._fma_loop(1_000_000, double_precision)
        spent = shortest_seconds(lambda: gemm._fma_loop(1_000_000, double_precision), seconds)
    finally:
        threads.set_num_threads(before)
    return giga(operations, spent)


def copy_bandwidth(n_threads=None, megabytes=256, seconds=0.5):
    """GB/s of a copy, read and written bytes together.

    Parameters
    ----------
    n_threads : int, optional
        Default: those that the kernels use.
    megabytes : int
        Copied by all threads together. 256 are far more than most caches hold; 1 stays in the caches.
    """
    from concurrent.futures import ThreadPoolExecutor  # only this needs it, and it takes a while to import

    source = np.ones(megabytes << 18, np.float32)
    target = np.empty_like(source)
    n_threads = n_threads or threads.get_num_threads()
    pieces = list(zip(np.array_split(target, n_threads), np.array_split(source, n_threads)))
    repeats = max(1, 64 // megabytes)  # handing work to a thread takes as long as copying a megabyte

    def copy(pair):
        for _ in range(repeats):
            np.copyto(*pair)

    with ThreadPoolExecutor(n_threads) as pool:
        spent = shortest_seconds(lambda: list(pool.map(copy, pieces)), seconds)
    return giga(2 * repeats * source.nbytes, spent)
