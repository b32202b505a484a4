"""One peer on one network in a process of its own: builds, warms up, measures when it is told to.

Started by peers.py; it answers requests on a pipe and blocks on reading between them.
"""

from __future__ import annotations

import gc
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import networks as net

SAMPLE = 1e-3  # seconds that one sample lasts at least: short calls are timed several at a time


def nothing(result: Any) -> None:
    """Most frameworks have finished when they return."""


class Worker:
    def __init__(self, module: str, variant: str, network: str, threads: int) -> None:
        self.peer = importlib.import_module(module)
        self.variant, self.network, self.threads = variant, net.NETWORKS[network], threads
        self.synchronize = getattr(self.peer, "synchronize", nothing)
        self.chosen: dict[str, tuple[Callable, int]] = {}

    def candidates(self, task: str) -> dict[str, Callable]:
        x, y = net.fixed_batch(self.network)
        make = getattr(self.peer, task, None)
        if make is None:
            return {}
        arguments = (x, y) if task == "train" else (x,)
        return make(self.variant, self.network, net.initial_weights(self.network), *arguments, self.threads)

    def samples(self, call: Callable, calls: int, seconds: float, least: int = 3) -> list[float]:
        """Seconds per call, each sample the mean of `calls` calls in a row."""
        samples: list[float] = []
        gc.collect()
        gc.disable()
        end = time.perf_counter() + seconds
        while len(samples) < least or time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(calls):
                result = call()
            self.synchronize(result)
            samples.append(round((time.perf_counter() - start) / calls, 9))
        gc.enable()
        return samples

    def warm_up(self, call: Callable) -> int:
        """Call until the time no longer falls; returns the calls per sample."""
        self.synchronize(call())  # compiles
        before, end = float("inf"), time.perf_counter() + 5
        while time.perf_counter() < end:
            now = statistics.median(self.samples(call, 1, 0.15))
            if now > 0.95 * before:
                break
            before = now
        return max(1, round(SAMPLE / now))

    def prepare(self, task: str) -> dict[str, Any]:
        """Build all candidates, keep the fastest (by the lower decile: noise must not choose)."""
        try:
            calls = self.candidates(task)
        except NotImplementedError as error:
            return {"chosen": None, "unsupported": str(error)}
        ready = {name: (call, self.warm_up(call)) for name, call in calls.items()}
        times: dict[str, float] = {}
        for _ in range(2 if len(ready) > 1 else 0):
            for name, (call, n) in ready.items():
                samples = sorted(self.samples(call, n, 0.2))
                seconds = samples[len(samples) // 10]
                times[name] = min(seconds, times.get(name, seconds))
        name = min(times, key=times.__getitem__) if times else next(iter(ready))
        self.chosen[task] = ready[name]
        return {"chosen": name, "candidates_ms": {key: 1e3 * t for key, t in times.items()}}

    def measure(self, task: str, seconds: float) -> list[float]:
        call, calls = self.chosen[task]
        self.samples(call, calls, 0.02, least=1)  # the caches belonged to somebody else
        return self.samples(call, calls, seconds)

    def check(self) -> dict[str, Any]:
        """Logits of every candidate, and the losses of its first three training steps."""
        logits = {name: self.peer.to_numpy(call()).copy() for name, call in self.candidates("infer").items()}
        losses = {name: [float(call()) for _ in range(3)] for name, call in self.candidates("train").items()}
        return {"logits": logits, "losses": losses}


def main() -> None:
    fd, module, variant, network, threads = sys.argv[1:]
    pipe = Connection(int(fd))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    sys.path.append(str(Path(__file__).resolve().parent.parent))  # fastnn, if it is not installed
    worker: Worker | None = None
    while True:
        try:
            request, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            if request == "start":
                worker = Worker(module, variant, network, int(threads))
                answer: Any = worker.peer.version(variant)
            else:
                answer = getattr(worker, request)(*arguments)
            pipe.send(("ok", answer))
        except Exception as error:  # a peer may fail in any way; the others go on
            text = str(error).strip().splitlines() or [""]
            pipe.send(("error", f"{type(error).__name__}: {text[0][:200]}"))


if __name__ == "__main__":
    main()
