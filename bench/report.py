"""What the race prints: tables of times and of memory, and remarks."""

from __future__ import annotations

import statistics
from typing import Any

TITLES = {"train": "training step", "infer": "inference"}
SHORT = {"torch-channels-last": "channels-last", "torch-compile": "compile", "onnxruntime": "ort"}


def median_ms(samples: list[float]) -> float:
    return 1e3 * statistics.median(samples)


def medians(results: dict[str, Any], task: str, best_round: bool = False) -> dict[str, float]:
    """Peer -> median in ms (of its fastest round only, if so wished), of those that finished."""
    done = {peer: result[task] for peer, result in results.items() if "median_ms" in result.get(task, ())}
    return {
        peer: min(about["rounds_ms"]) if best_round else about["median_ms"] for peer, about in done.items()
    }


def memories(results: dict[str, Any], task: str) -> dict[str, dict[str, Any]]:
    """Peer -> megabytes (`added`, `own`, `process`) of its leanest candidate, of those that were measured."""
    found = {peer: result.get(task, {}).get("memory") for peer, result in results.items()}
    return {peer: min(sizes, key=lambda about: about["added"]) for peer, sizes in found.items() if sizes}


def ratio(values: dict[str, float]) -> tuple[float, str] | None:
    """(best peer / fastnn, that peer), or None without fastnn or without a peer; least is best."""
    others = {peer: value for peer, value in values.items() if peer != "fastnn"}
    if "fastnn" not in values or not others:
        return None
    best = min(others, key=others.__getitem__)
    return others[best] / values["fastnn"] if values["fastnn"] > 0 else float("inf"), best


def number(milliseconds: float) -> str:
    return f"{milliseconds:.4f}" if milliseconds < 1 else f"{milliseconds:.4g}"


def rows(lines: dict[str, Any], peers: list[str], title: str, last: str) -> str:
    """An aligned table from workload -> (peer -> (value, text), peers in error); the least has a star."""
    cells = [[title, *(SHORT.get(peer, peer) for peer in peers), last]]
    for workload, (entries, errors) in lines.items():
        values = {peer: value for peer, (value, _) in entries.items()}
        row = [workload]
        for peer in peers:
            star = "*" if values and values.get(peer) == min(values.values()) else ""
            absent = "error" if peer in errors else "-"
            row.append(entries[peer][1] + star if peer in entries else absent)
        found = ratio(values)
        cells.append([*row, f"{found[0]:.2f} ({SHORT.get(found[1], found[1])})" if found else "-"])
    widths = [max(map(len, column)) for column in zip(*cells)]
    text = ["  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths)))
            for row in cells]  # fmt: skip
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])


def errors(results: dict[str, Any], task: str, key: str = "error") -> set[str]:
    return {peer for peer, about in results.items() if "error" in about or key in about.get(task, {})}


def time_table(results: dict[str, Any], peers: list[str], task: str, best_round: bool = False) -> str:
    """Medians in ms, one workload a line, and the ratio."""
    lines = {}
    for workload, result in results.items():
        times = medians(result, task, best_round)
        lines[workload] = {peer: (ms, number(ms)) for peer, ms in times.items()}, errors(result, task)
    return rows(lines, peers, f"{TITLES[task]} (ms)", "fastest peer / fastnn")


def memory_table(results: dict[str, Any], peers: list[str], task: str) -> str:
    """Megabytes that the calls added to the imported framework / of them the network's (whole process)."""
    lines = {}
    for workload, result in results.items():
        entries = {
            peer: (about["added"], f"{about['added']:.1f} / {about['own']:.1f} ({about['process']:.0f})")
            for peer, about in memories(result, task).items()
        }
        lines[workload] = entries, errors(result, task, "memory_error")
    return rows(lines, peers, f"{task} MB", "leanest peer / fastnn")


def remarks(results: dict[str, Any], absent: dict[str, list[str]]) -> list[str]:
    """Missing peers, errors, what each peer chose, and idle processes that were not idle."""
    lines = [f"missing: {peer} (not installed: {', '.join(packages)})" for peer, packages in absent.items()]
    for workload, result in results.items():
        for peer, entry in result.items():
            if "error" in entry:
                lines.append(f"error: {workload}, {peer}: {entry['error']}")
            for task in TITLES:
                if task in entry:
                    lines += task_remarks(f"{workload}, {peer}, {task}", entry[task])
    return lines


def task_remarks(who: str, about: dict[str, Any]) -> list[str]:
    lines = []
    if "error" in about:
        lines.append(f"error: {who}: {about['error']}")
    elif len(about.get("candidates_ms", ())) > 1:
        tried = ", ".join(f"{name} {ms:.4g}" for name, ms in about["candidates_ms"].items())
        lines.append(f"chosen: {who}: {about['chosen']} (of {tried} ms)")
    if "unsupported" in about:
        lines.append(f"unsupported: {who}: {about['unsupported']}")
    rounds = about.get("rounds_ms") or [1.0]
    if max(rounds) > 1.3 * min(rounds):
        lines.append(f"noise: {who}: medians of the rounds are {', '.join(f'{ms:.4g}' for ms in rounds)} ms")
    if about.get("others_cpu_share", 0) > 0.1:
        lines.append(f"noise: {who}: idle peers used {about['others_cpu_share']:.0%} of a core")
    if "memory_error" in about:
        lines.append(f"error: {who}, memory: {about['memory_error']}")
    if not all(found["peak_of_steps_only"] for found in about.get("memory", ())):
        lines.append(f"memory: {who}: the peak could not be reset and is that of the whole process")
    return lines
