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

import memory
import networks as net

SAMPLE = 1e-3  # seconds that one sample lasts at least: short calls are timed several at a time
STEPS = 3  # calls whose memory is measured, after as many that only warm up


def nothing(result: Any) -> None:
    """Most frameworks have finished when they return."""


class Worker:
    def __init__(self, module: str, variant: str, network: str, threads: int) -> None:
        self.peer = importlib.import_module(module)
        self.variant, self.network, self.threads = variant, net.NETWORKS[network], threads
        self.synchronize = getattr(self.peer, "synchronize", nothing)
        self.chosen: dict[str, tuple[Callable, int]] = {}

    def candidates(self, task: str, network: net.Network | None = None) -> dict[str, Callable[[], Callable]]:
        """Name -> what builds the model and returns the call to be measured."""
        network = network or self.network
        x, y = net.fixed_batch(network)
        make = getattr(self.peer, task, None)
        if make is None:
            return {}
        arguments = (x, y) if task == "train" else (x,)
        return make(self.variant, network, net.initial_weights(network), *arguments, self.threads)

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
            calls = {name: build() for name, build in self.candidates(task).items()}
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

    def memory(self, task: str, name: str | None) -> dict[str, Any]:
        """Megabytes of candidate `name`, or of the first one; to be asked once, of a fresh process.

        `added`: the peak of some calls, after warming up, beyond what the process held once the framework
        was imported. `own`: the part of it that is this network's, its weights, gradients, optimizer state,
        activations and working memory; the rest is code, which the smallest network needs as well.
        `process`: the peak of everything so far, building and compiling included.
        """
        memory.release()
        imported = memory.resident()
        self.few_calls(task, name, net.NETWORKS["tiny"])
        memory.release()
        loaded = memory.resident()
        call, name, others = self.few_calls(task, name, self.network)
        memory.release()
        whole, exact = memory.peak(), memory.reset_peak()
        for _ in range(STEPS):
            self.synchronize(call())
        found = memory.peak()
        sizes = {"added": found - imported, "own": found - loaded, "process": max(found, whole),
                 "imported": imported}  # fmt: skip
        return {"candidate": name, "others": others, "peak_of_steps_only": exact,
                **{key: size / memory.MEGA for key, size in sizes.items()}}  # fmt: skip

    def few_calls(self, task: str, name: str | None, network: net.Network) -> tuple[Callable, str, list[str]]:
        """Build a candidate and call it; the weights that it was given are free again at the end."""
        makers = self.candidates(task, network)
        if not makers:
            raise NotImplementedError(f"{self.variant} does not {task}")
        name = name if name in makers else next(iter(makers))
        call = makers[name]()
        for _ in range(STEPS):
            self.synchronize(call())
        return call, name, [other for other in makers if other != name]

    def check(self) -> dict[str, Any]:
        """Logits of every candidate, and the losses of its first three training steps."""
        logits = {
            name: self.peer.to_numpy(build()()).copy() for name, build in self.candidates("infer").items()
        }
        losses = {}
        for name, build in self.candidates("train").items():
            step = build()
            losses[name] = [float(step()) for _ in range(3)]
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
