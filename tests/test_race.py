"""Races run every way to compute a layer, and leave everything as it was."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels
from fastnn.race import race


def x_of(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_layer_without_algorithms(dtype, capsys):
    layer = nn.Dense(8, activation="relu")
    rows = race(layer, x_of(16, 10, dtype=dtype), seconds=0.001)
    assert [row["kernels"] for row in rows] == ["reference", "compiled"]
    for row in rows:
        assert row["forward_ms"] > 0
        assert row["backward_ms"] > 0
        assert row["forward_gflops"] == pytest.approx(2 * 16 * 8 * 10 / row["forward_ms"] / 1e6)
        assert row["backward_gflops"] == pytest.approx(4 * 16 * 8 * 10 / row["backward_ms"] / 1e6)
    assert rows[0]["difference"] == 0
    assert rows[1]["difference"] < (1e-5 if dtype == "float32" else 1e-12)
    table = capsys.readouterr().out
    assert "Dense(" in table
    assert len(table.splitlines()) == 4
    assert layer.workspace is None
    assert kernels.kernels_in_use() == "compiled"


def test_algorithms_that_do_not_apply_say_why(capsys):
    rows = race(nn.Conv2D(4, 3, stride=2), x_of(2, 9, 9, 3), seconds=0.001)
    assert [row["algorithm"] for row in rows] == ["", "auto", "direct", "im2col", "winograd"]
    refused = sum("error" in row for row in rows)
    assert capsys.readouterr().out.count("does not apply: ") == refused
    for row in rows:
        if "error" not in row:
            assert row["difference"] < 1e-5


def test_all_algorithms_of_a_convolution_agree():
    algorithms = ["direct", "im2col", "winograd"]
    rows = race(nn.Conv2D(8, 3, padding="same"), x_of(2, 8, 8, 8), algorithms, seconds=0.001)
    assert len(rows) == 4
    for row in rows:
        assert "error" not in row, row["error"]
        assert row["difference"] < 1e-4  # Winograd's transforms round more


def test_a_difference_is_seen():
    class Different(nn.Dense):
        def forward(self, x, training=False):
            y = super().forward(x)
            return y * np.float32(1.25 if kernels.kernels_in_use() == "compiled" else 1.0)

    rows = race(Different(3), x_of(4, 5), seconds=0.001)
    assert 0.2 < rows[1]["difference"] < 0.3


def test_kernels_are_put_back_after_a_failure():
    class Fails(nn.Dense):
        def forward(self, x, training=False):
            if kernels.kernels_in_use() == "reference":
                raise RuntimeError("on purpose")
            return super().forward(x)

    with pytest.raises(RuntimeError, match="on purpose"):
        race(Fails(3), x_of(4, 5), seconds=0.001)
    assert kernels.kernels_in_use() == "compiled"


def test_dropout_races_with_one_mask():
    rows = race(nn.Dropout(0.5), x_of(8, 20), seconds=0.001)
    assert rows[1]["difference"] < 1e-6


@pytest.mark.parametrize("x", [np.zeros((2, 3), int), [[1.0]]])
def test_wrong_inputs_are_refused(x):
    with pytest.raises(TypeError, match=r"x: expected a float32 or float64 array. Received"):
        race(nn.Dense(2), x)
