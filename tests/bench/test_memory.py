"""Memory that is really used is seen, and is gone again when it is released."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
MEGA = 2**20
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import memory

    return memory


def test_the_peak_remembers_what_was_freed(memory):
    memory.release()
    if not memory.reset_peak():
        pytest.skip("this system does not let a process reset its peak")
    before = memory.resident()
    assert memory.peak() < before + 8 * MEGA
    block = np.ones(64 * MEGA, np.uint8)
    assert memory.resident() > before + 60 * MEGA
    del block
    memory.release()
    assert memory.resident() < before + 8 * MEGA
    assert memory.peak() > before + 60 * MEGA
    memory.reset_peak()
    assert memory.peak() < before + 8 * MEGA


def test_the_worker_measures_a_step(memory, monkeypatch):
    """A peer that needs 1 MB for a step of the smallest network and 32 MB for any other."""
    pytest.importorskip("fastnn")
    import networks as net
    import peer_worker

    class Peer:
        @staticmethod
        def train(variant, network, weights, x, y, threads):
            size = 1 if network.name == "tiny" else 32
            return {"one": lambda: lambda: np.ones(size * MEGA, np.uint8), "two": lambda: lambda: None}

    monkeypatch.setitem(sys.modules, "peer_of_this_test", Peer)
    worker = peer_worker.Worker("peer_of_this_test", "", "mlp-b1", 1)
    found = worker.memory("train", None)
    assert (found["candidate"], found["others"]) == ("one", ["two"])
    if found["peak_of_steps_only"]:
        assert 24 < found["own"] < 48
        assert found["process"] >= found["imported"] + found["added"] - 1
        assert worker.memory("train", "two")["own"] < 8
    with pytest.raises(NotImplementedError):
        worker.memory("infer", None)
    assert net.NETWORKS["mlp-b1"] is worker.network
