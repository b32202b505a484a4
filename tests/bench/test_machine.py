"""What is said about the machine; nothing is timed."""

from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import machine

    return machine


def test_environment_limits_every_library(machine):
    variables = machine.environment(3)
    assert {variables[name] for name in machine.THREAD_VARIABLES} == {"3"}
    assert "eigen=true" in variables["XLA_FLAGS"]
    assert "eigen=false" in machine.environment(1)["XLA_FLAGS"]


def test_description_has_names(machine):
    assert machine.cores() >= 1
    assert machine.cpu_name()
    assert {"python", "numpy"} <= machine.versions().keys()
