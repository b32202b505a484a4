import csv
from math import isnan

import pytest

from fastnn.training.history import History


def history(**curves):
    h = History(curves)
    for epoch, values in enumerate(zip(*curves.values()), 1):
        h.append(epoch, dict(zip(curves, values)))
    return h


def test_curves_and_last():
    h = history(loss=[3.0, 2.0], val_loss=[4.0, 5.0])
    assert h["loss"] == [3.0, 2.0] and h.epochs == [1, 2] and len(h) == 2
    assert h.last() == {"loss": 2.0, "val_loss": 5.0}
    assert list(h) == ["loss", "val_loss"] and "val_loss" in h


def test_the_last_epoch_can_be_taken_back():
    h = history(loss=[3.0, 2.0], val_loss=[4.0, 5.0])
    assert h.pop() == {"loss": 2.0, "val_loss": 5.0}
    assert h["loss"] == [3.0] and h.epochs == [1] and len(h) == 1


def test_best_is_the_first_of_equals_and_never_nan():
    nan = float("nan")
    h = history(val_loss=[nan, 2.0, 1.0, 1.0, nan], accuracy=[0.1, 0.5, 0.2, 0.5, nan])
    assert h.best() == (3, 1.0)
    assert h.best("accuracy") == (2, 0.5) and h.best("accuracy").epoch == 2
    assert h.best("accuracy", "min").value == 0.1
    with pytest.raises(ValueError, match="expected an epoch with a number"):
        history(val_loss=[nan]).best()


def test_missing_curve_says_why():
    with pytest.raises(KeyError, match="there was no validation data"):
        history(loss=[1.0])["val_loss"]
    with pytest.raises(KeyError, match="expected one of loss"):
        history(loss=[1.0])["los"]


def test_csv_holds_every_digit(tmp_path):
    h = history(loss=[1 / 3, 2 / 3], lr=[1e-3, 1e-300])
    h.to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == h["loss"]
    assert [int(row["epoch"]) for row in rows] == [1, 2] and float(rows[1]["lr"]) == 1e-300


def test_layers_have_a_number_for_each_epoch():
    h = history(loss=[3.0])
    h.record("dead", "conv1", 0.5)
    h.append(2, {"loss": 2.0})
    h.record("dead", "dense1", 0.25)
    assert list(h.layers) == ["dead"] and list(h.layers["dead"]) == ["conv1", "dense1"]
    assert h.layers["dead"]["conv1"][0] == 0.5 and h.layers["dead"]["dense1"][1] == 0.25
    assert isnan(h.layers["dead"]["conv1"][1]) and isnan(h.layers["dead"]["dense1"][0])
    again = History.from_json(h.to_json())
    assert again.layers["dead"]["conv1"][0] == 0.5 and len(again.layers["dead"]["dense1"]) == 2
    h.pop()
    assert h.layers["dead"]["conv1"] == [0.5] and len(again.layers["dead"]["conv1"]) == 2


def test_a_history_of_an_earlier_version_has_no_layers():
    stored = history(loss=[1.0]).to_json()
    del stored["layers"]
    assert History.from_json(stored).layers == {}


def test_json_and_back():
    h = history(loss=[1 / 3, float("inf")])
    again = History.from_json(h.to_json())
    assert again["loss"] == h["loss"] and again.epochs == h.epochs


def test_repr():
    assert repr(history(loss=[0.5])) == "History(1 epochs: loss=0.5)"
    assert repr(History(["loss"])) == "History(0 epochs)"
