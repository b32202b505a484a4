"""The summary's numbers are those that one counts by hand."""

import pytest

import fastnn as nn
from fastnn.layers.summary import readable, summary


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 "), (999, "999 "), (1000, "1.00 k"), (61706, "61.71 k"), (1234567, "1.23 M"), (5e9, "5.00 G")],
)
def test_readable(n, text):
    assert readable(n) == text


def rows(text):
    """Cells of each line, split where there are two blanks."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_lenet():
    table = rows(nn.models.lenet5(seed=0).summary())
    assert table[0] == ["layer", "output shape", "parameters", "multiply-adds", "memory"]
    assert table[2:10] == [
        ["conv1 (Conv2D)", "(28, 28, 6)", "156", "117,600", "18.82 kB"],
        ["maxpool1 (MaxPool2D)", "(14, 14, 6)", "0", "0", "4.70 kB"],
        ["conv2 (Conv2D)", "(10, 10, 16)", "2,416", "240,000", "6.40 kB"],
        ["maxpool2 (MaxPool2D)", "(5, 5, 16)", "0", "0", "1.60 kB"],
        ["flatten1 (Flatten)", "(400,)", "0", "0", "1.60 kB"],
        ["dense1 (Dense)", "(120,)", "48,120", "48,000", "480 B"],
        ["dense2 (Dense)", "(84,)", "10,164", "10,080", "336 B"],
        ["dense3 (Dense)", "(10,)", "850", "840", "40 B"],
    ]
    assert table[-1] == [
        "input (28, 28, 1), 61,706 parameters (246.82 kB), "
        "416,520 multiply-adds and 33.98 kB of activations per sample"
    ]
    assert len(table) == 12


def test_nested_layers_are_rows_under_their_container():
    model = nn.Sequential(
        [nn.Residual([nn.Dense(3)]), nn.Dense(2)], input_shape=(3,), seed=0, dtype="float64"
    )
    table = rows(model.summary())
    assert [row[0] for row in table[2:-2]] == [
        "residual1 (Residual)",
        "residual1.body (Sequential)",
        "residual1.body.dense1 (Dense)",
        "dense1 (Dense)",
    ]
    assert table[4] == ["residual1.body.dense1 (Dense)", "(3,)", "12", "9", "24 B"]
    assert table[-1][0].startswith(
        "input (3,), 20 parameters (160 B), 15 multiply-adds and 40 B of activations"
    )


def test_a_part_counts_its_own():
    model = nn.Sequential(
        [nn.Residual([nn.Dense(3)]), nn.Dense(2)], input_shape=(3,), seed=0, dtype="float64"
    )
    assert "input (3,), 12 parameters (96 B), 9 multiply-adds" in summary(model["residual1"])


def test_lines_are_no_longer_than_they_need_to_be():
    for line in nn.models.lenet5(seed=0).summary().splitlines():
        assert line == line.rstrip()
        assert len(line) <= 120


def test_no_memory_is_allocated():
    model = nn.models.mlp(units=(4000, 4000), seed=0)
    model.summary()
    assert model._theta is None


def test_not_built():
    with pytest.raises(nn.NotBuiltError):
        nn.Sequential([nn.Dense(3)]).summary()
