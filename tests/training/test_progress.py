import io
import sys

import numpy as np
import pytest

from fastnn.layers.containers import Sequential
from fastnn.layers.dense import Dense
from fastnn.losses import SoftmaxCrossEntropy
from fastnn.optimizers import SGD
from fastnn.training import Callback, HalveOnWorse, Trainer
from fastnn.training import progress as progress_module


class Stream(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


def run(stream, monkeypatch, epochs=3, source=None, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    t = Trainer(Sequential([Dense(2)], (4,), seed=0), SoftmaxCrossEntropy(), SGD(lr=0.1), ["accuracy"])
    if source is None:
        t.fit(x, y, epochs=epochs, **options)
    else:
        t.fit(source(x, y), epochs=epochs, **options)
    return stream.getvalue()


def test_a_log_file_gets_one_line_per_epoch(monkeypatch):
    lines = run(Stream(False), monkeypatch, validation_split=0.25).splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("loss=" in line and "val_accuracy=" in line and "\r" not in line for line in lines)


def test_a_terminal_gets_a_bar_and_the_last_line(monkeypatch):
    monkeypatch.setattr(progress_module, "REFRESH", 0.0)
    text = run(Stream(True), monkeypatch, batch_size=10)
    assert "\r" in text and "epoch 3/3  loss=" in text and "12/12" in text and "epoch 2/3" in text


def test_a_bar_without_known_length(monkeypatch):
    monkeypatch.setattr(progress_module, "REFRESH", 0.0)
    text = run(Stream(True), monkeypatch, source=lambda x, y: lambda epoch: iter([(x, y)]))
    assert "epoch 3/3  loss=" in text and "3batch" in text


def test_lines_above_the_bar_are_not_more_than_can_be_read(monkeypatch):
    text = run(Stream(True), monkeypatch, epochs=300)
    assert text.count("  loss=") < 100 and "epoch 300/300" in text


@pytest.mark.parametrize("tty", [True, False])
def test_quiet(monkeypatch, tty):
    assert run(Stream(tty), monkeypatch, verbose=False) == ""


def test_notebooks_get_the_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream(False))
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert isinstance(progress_module.progress(), progress_module.Bar)


def test_an_epoch_that_is_done_again(monkeypatch):
    class Script(Callback):
        order = -5

        def __init__(self):
            self.values = iter([5.0, 6.0, 7.0, 4.0, 3.0])

        def on_epoch_end(self, trainer):
            trainer.history["val_loss"][-1] = next(self.values)

    monkeypatch.setattr(progress_module, "REFRESH", 0.0)
    monkeypatch.setattr(progress_module, "LINES", 0.0)
    options = {"batch_size": 10, "validation_split": 0.25}
    text = run(Stream(True), monkeypatch, callbacks=[Script(), HalveOnWorse()], **options)
    assert text.count("epoch 2/3  loss=") == 3 and "9/9" in text and "10/9" not in text
    assert "6/9" in text.rsplit("epoch 2/3  loss=", 1)[1]
