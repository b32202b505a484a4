"""fastnn against the frameworks installed beside it, on the same networks, cores and batches.

`python bench/peers.py` prints medians of a training step (forward, softmax cross-entropy, backward, Adam)
and of inference, and the ratio fastest peer / fastnn: above 1, fastnn is faster. Every framework runs in
its own process with the same number of threads and the same weights; they measure in turns, one at a time.
Then the memory of both: the peak of some calls beyond the imported framework, and of the whole process.
`--check` first proves that all compute the same network, `--memory` measures memory alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import machine
import networks as net
import numpy as np
from report import median_ms, memory_table, remarks, time_table

# name -> (module beside this file, packages that it needs, tasks that it can do)
BOTH = ("train", "infer")
PEERS = {
    "fastnn": ("peer_fastnn", ("fastnn",), BOTH),
    "torch": ("peer_torch", ("torch",), BOTH),
    "torch-channels-last": ("peer_torch", ("torch",), BOTH),
    "torch-compile": ("peer_torch", ("torch",), BOTH),
    "jax": ("peer_jax", ("jax",), BOTH),
    "onnxruntime": ("peer_onnx", ("onnx", "onnxruntime"), ("infer",)),
    "openvino": ("peer_onnx", ("onnx", "openvino"), ("infer",)),
    "sklearn": ("peer_sklearn", ("sklearn",), BOTH),
}
PAUSE = 0.3  # seconds between turns: thread pools spin for a while after their work
TOLERANCE = {"logits": 1e-4, "losses": 1e-3}  # largest difference, relative to the largest value


class PeerError(RuntimeError):
    """A peer could not do what it was asked for; the text says why."""


class Process:
    """One worker process and the pipe to it."""

    def __init__(self, peer: str, network: str, threads: int, timeout: float) -> None:
        self.pipe, theirs = Pipe()
        self.timeout, self.log = timeout, tempfile.TemporaryFile()  # noqa: SIM115
        worker = str(Path(__file__).with_name("peer_worker.py"))
        command = [sys.executable, worker, str(theirs.fileno()), PEERS[peer][0], peer, network, str(threads)]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=machine.environment(threads),
        )  # fmt: skip
        theirs.close()

    def ask(self, *request: Any) -> Any:
        try:
            self.pipe.send(request)
            if not self.pipe.poll(self.timeout):
                raise PeerError(f"no answer to {request[0]} within {self.timeout:g} s")
            status, answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.log.seek(0)
            lines = self.log.read().decode(errors="replace").strip().splitlines() or [""]
            raise PeerError(f"process ended with code {self.process.wait()}: {lines[-1][:200]}") from error
        if status == "error":
            raise PeerError(answer)
        return answer

    def cpu_seconds(self) -> float:
        """Processor time used so far (0 where /proc does not exist)."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.pipe.close()  # the worker reads the end of the pipe and returns
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def missing(peer: str) -> list[str]:
    """Packages of `peer` that are not installed."""
    return [name for name in PEERS[peer][1] if importlib.util.find_spec(name) is None]


def able(peers: list[str], task: str) -> list[str]:
    return [peer for peer in peers if task in PEERS[peer][2]]


def start(peer: str, network: str, options: argparse.Namespace, result: dict[str, Any]) -> Process | None:
    """A worker with the framework imported, or None with the reason in `result`."""
    process = Process(peer, network, options.threads, options.timeout)
    try:
        result["version"] = process.ask("start")
    except PeerError as error:
        result["error"] = str(error)
        process.close()
        return None
    return process


def race(network: str, peers: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Run one workload; returns peer -> {task: {samples, median_ms, ...} or {error}, version}."""
    results: dict[str, Any] = {peer: {} for peer in peers}
    started = {peer: start(peer, network, options, results[peer]) for peer in peers}
    running = {peer: process for peer, process in started.items() if process}
    try:
        for task in options.tasks:
            for peer, process in running.items():
                if peer not in able(peers, task):
                    continue
                say(f"{network}: {peer} prepares to {task}")
                try:
                    results[peer][task] = process.ask("prepare", task)
                    if results[peer][task]["chosen"] is not None:
                        results[peer][task] |= {"samples": [], "rounds_ms": []}
                except PeerError as error:
                    results[peer][task] = {"error": str(error)}
            for turn in range(options.rounds):
                for peer, process in running.items():
                    if "samples" in results[peer].get(task, ()):
                        say(f"{network}: {task} round {turn + 1}, {peer}")
                        take_turn(process, running, task, results[peer], options)
    finally:
        for process in running.values():
            process.close()
    return results


def take_turn(process: Process, running: dict[str, Process], task: str, result: dict[str, Any],
              options: argparse.Namespace) -> None:  # fmt: skip
    """One peer measures alone; processor time that the idle ones used meanwhile is recorded."""
    time.sleep(PAUSE)
    idle = [other for other in running.values() if other is not process]
    before, began = [other.cpu_seconds() for other in idle], time.perf_counter()
    try:
        samples = process.ask("measure", task, options.seconds / options.rounds)
    except PeerError as error:
        result[task] = {"error": str(error)}
        return
    used = sum(other.cpu_seconds() for other in idle) - sum(before)
    entry = result[task]
    entry["samples"] += samples
    entry["rounds_ms"].append(median_ms(samples))
    entry["median_ms"] = median_ms(entry["samples"])
    entry["others_cpu_share"] = max(entry.get("others_cpu_share", 0.0), used / (time.perf_counter() - began))


def measure_memory(network: str, peers: list[str], options: argparse.Namespace,
                   results: dict[str, Any]) -> None:  # fmt: skip
    """Add `memory` to the peers' results: of the candidate that was timed, or of all if none was."""
    for task in options.tasks:
        for peer in able(peers, task):
            say(f"{network}: memory of {peer}, {task}")
            about = results[peer].setdefault(task, {})
            if "error" in results[peer] or "error" in about or "unsupported" in about:
                continue
            waiting, found = [about.get("chosen")], []
            try:
                while waiting:
                    answer = memory_of(peer, network, task, waiting.pop(), options, results[peer])
                    if not found and "chosen" not in about:
                        waiting = answer["others"]
                    found.append(answer)
                about["memory"] = found
            except PeerError as error:
                unable = str(error).startswith("NotImplementedError")
                about["unsupported" if unable else "memory_error"] = str(error)
                results[peer].pop("error", None)  # that the process did not start is said once


def memory_of(peer: str, network: str, task: str, candidate: str | None, options: argparse.Namespace,
              result: dict[str, Any]) -> dict[str, Any]:  # fmt: skip
    """A fresh process for each: one that has already worked has memory to use again."""
    process = start(peer, network, options, result)
    if process is None:
        raise PeerError(result["error"])
    try:
        return process.ask("memory", task, candidate)
    finally:
        process.close()


def difference(value: Any, expected: Any) -> float:
    """Largest absolute difference, relative to the largest expected value; NaN counts as infinite."""
    value, expected = np.asarray(value, np.float64), np.asarray(expected, np.float64)
    if value.shape != expected.shape:
        return float("inf")
    found = np.abs(value - expected).max() / max(np.abs(expected).max(), 1e-30)
    return float(found) if np.isfinite(found) else float("inf")


def check(network: net.Network, peers: list[str], options: argparse.Namespace) -> bool:
    """Compare logits with NumPy's, and the losses of three training steps with the first peer's."""
    x, rows = net.fixed_batch(network)[0], 4
    weights = {name: w.astype(np.float64) for name, w in net.initial_weights(network).items()}
    logits, losses = net.forward(network.layers, weights, x[:rows].astype(np.float64)), None
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fine = True
    for peer in peers:
        result: dict[str, Any] = {}
        process = start(peer, network.name, options, result)
        try:
            answer = process.ask("check") if process else {}
        except PeerError as error:
            result["error"] = str(error)
        if "error" in result:
            unable = result["error"].startswith("NotImplementedError")
            fine &= unable
            word = "skipped" if unable else "FAILED"
            print(f"{network.name:20} {peer:20} {word:7} {result['error']}")
        else:
            expected = {"logits": probabilities if peer == "sklearn" else logits, "losses": losses}
            for kind in ("logits", "losses"):
                for name, values in answer[kind].items():
                    if kind == "losses" and losses is None:
                        losses = expected[kind] = values
                    found = difference(values[:rows] if kind == "logits" else values, expected[kind])
                    good = found < TOLERANCE[kind]
                    fine &= good
                    word = "ok" if good else "FAILED"
                    print(f"{network.name:20} {peer:20} {word:7} {kind} {found:.1e}  {name}")
        if process:
            process.close()
    return fine


def say(text: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def chosen_names(text: str, known: dict[str, bool]) -> list[str]:
    """Names in a comma-separated list; `default`, `extra` and `all` stand for known ones."""
    groups = {"all": list(known), "default": [name for name, usual in known.items() if usual],
              "extra": [name for name, usual in known.items() if not usual]}  # fmt: skip
    names = [name for part in text.split(",") for name in groups.get(part, [part])]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}. Received: {name}")
    return list(dict.fromkeys(names))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    workloads = {name: not network.extra for name, network in net.NETWORKS.items()}
    known = dict.fromkeys(PEERS, True)
    parser.add_argument("--workloads", default="default", type=lambda text: chosen_names(text, workloads),
                        help=f"default, extra, all, or names: {', '.join(workloads)}")  # fmt: skip
    parser.add_argument("--peers", default="all", type=lambda text: chosen_names(text, known),
                        help=f"all, or names (fastnn always runs): {', '.join(known)}")  # fmt: skip
    parser.add_argument("--without-fastnn", action="store_true", help="measure the peers only")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time of each peer and task")
    parser.add_argument("--rounds", type=int, default=3, help="turns that this time is cut into")
    parser.add_argument(
        "--timeout", type=float, default=900.0, help="seconds to wait for an answer of a peer"
    )
    parser.add_argument("--best-round", action="store_true",
                        help="show the median of the fastest round (for a machine in use)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write all samples, versions and the machine to this file")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="compare results, measure nothing")
    instead.add_argument("--memory", action="store_true", help="measure memory, not time")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--train-only", dest="tasks", action="store_const", const=("train",), default=BOTH)
    group.add_argument("--infer-only", dest="tasks", action="store_const", const=("infer",))
    options = parser.parse_args(arguments)
    options.peers = [peer for peer in options.peers if peer != "fastnn"]
    if not options.without_fastnn:
        options.peers.insert(0, "fastnn")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    sys.path.append(str(Path(__file__).resolve().parent.parent))  # fastnn, if it is not installed
    absent = {peer: packages for peer in options.peers if (packages := missing(peer))}
    peers = [peer for peer in options.peers if peer not in absent]
    if options.check:
        good = [check(net.NETWORKS[name], peers, options) for name in options.workloads]
        print("\n".join(remarks({}, absent)) or "all peers are installed")
        return 0 if all(good) else 1
    report: dict[str, Any] = {"machine": machine.describe(options.threads), "missing": absent, "results": {}}
    report["settings"] = {"seconds": options.seconds, "rounds": options.rounds, "threads": options.threads}
    for name in options.workloads:
        results = {peer: {} for peer in peers} if options.memory else race(name, peers, options)
        measure_memory(name, peers, options, results)
        report["results"][name] = results
        if options.json:
            options.json.write_text(json.dumps(report))
    say("")
    about = report["machine"]
    print(f"{about['cpu']}, {about['threads']} of {about['cores']} cores, float32")
    for facts in (about["rates"], about["versions"]):
        print(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in facts.items()))
    for task in options.tasks:
        shown = report["results"], able(options.peers, task), task
        if not options.memory:
            print(f"\n{time_table(*shown, options.best_round)}")
        print(f"\n{memory_table(*shown)}")
    print("\n" + "\n".join(remarks(report["results"], absent)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
