import json
import os
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import files
from fastnn.errors import FileFormatError
from fastnn.layers.activations import LeakyReLU
from fastnn.layers.base import REGISTRY, Layer
from fastnn.layers.containers import Concat, Residual, Sequential
from fastnn.layers.dense import Dense
from fastnn.layers.dropout import Dropout
from fastnn.layers.normalization import BatchNorm


def small(seed=0):
    return Sequential(
        [
            Dense(5, activation=LeakyReLU(0.2)),
            Residual([Dense(5, activation="relu"), BatchNorm()], activation="tanh"),
            Concat([Dense(2), Dense(3)]),
            Dropout(0.3),
            Dense(3, name="logits"),
        ],
        input_shape=(4,),
        seed=seed,
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "m.safetensors"
    model = small()
    model.save(path)
    return model, path


def test_load_gives_the_same_model(saved):
    model, path = saved
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    again = files.load(path)
    assert np.array_equal(again.theta, model.theta)
    assert np.array_equal(again.predict(x), model.predict(x))
    assert again.config() == model.config() and again.summary() == model.summary()


def test_buffers_are_saved(tmp_path):
    model = small()
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    model.forward(x, True)
    files.save_model(model, tmp_path / "m")
    again = files.load(tmp_path / "m")
    assert model.buffers and all(np.array_equal(again.buffers[name], a) for name, a in model.buffers.items())


def test_float64_model(tmp_path):
    model = Sequential([Dense(2)], input_shape=(3,), dtype="float64", seed=1)
    model.save(tmp_path / "m")
    assert files.load(tmp_path / "m").theta.dtype == np.float64


def test_plain_safetensors_reads_the_tensors(saved):
    model, path = saved
    tensors = safetensors.numpy.load_file(path)
    assert tensors.keys() == model.state_dict().keys()


def test_numpy_numbers_in_a_configuration(tmp_path):
    Sequential([Dense(np.int64(2))], input_shape=(np.int32(3),)).save(tmp_path / "m")
    assert files.load(tmp_path / "m").output_shape == (2,)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a file that fastnn wrote.*nothing\.here"):
        files.load(tmp_path / "nothing.here")
    with pytest.raises(IsADirectoryError, match="a folder"):
        files.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"existing folder.*create .*none"):
        small().save(tmp_path / "none" / "m.safetensors")
    with pytest.raises(IsADirectoryError, match="expected a file"):
        small().save(tmp_path)


class Bomb:
    """A pickle that leaves a trace if anything loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"hello, this is text, not tensors", "something else"),
        (struct.pack("<Q", 2**62) + b"{}", "truncated or damaged"),
        (struct.pack("<Q", 2) + b"{]", "truncated or damaged"),
    ],
)
def test_foreign_files(tmp_path, content, expected):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        FileFormatError, match=rf"m\.safetensors: expected a complete safetensors file.*{expected}"
    ):
        files.load(path)


def test_a_pickle_is_named_and_not_run(tmp_path):
    path, trace = tmp_path / "m.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(FileFormatError, match="a pickle, which could run any program"):
        files.load(path)
    assert not trace.exists()


def test_safetensors_of_another_program(tmp_path):
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file({"w": np.zeros(2, np.float32)}, path, metadata={"format": "pt"})
    with pytest.raises(FileFormatError, match="one of another program, whose metadata has 'format'"):
        files.load(path)
    safetensors.numpy.save_file({"w": np.zeros(2, np.float32)}, path)
    with pytest.raises(FileFormatError, match="no entries"):
        files.load(path)


def test_newer_format(tmp_path):
    safetensors.numpy.save_file({}, tmp_path / "m", metadata={"fastnn": "99", "model": "{}"})
    with pytest.raises(FileFormatError, match=r"expected format 1\. Received: format 99"):
        files.load(tmp_path / "m")


def test_every_truncation_is_found(saved):
    _, path = saved
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="expected a complete safetensors file"):
            files.load(path)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damage_raises_only_file_format_errors(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("f") / "m"
    Sequential([Dense(2)], input_shape=(3,), seed=0).save(path)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        files.load(path)  # changed numbers cannot be seen
    except FileFormatError as error:
        assert str(path) in str(error)


def rewrite(path, change):
    """The file again, with its model configuration changed."""
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    config = json.loads(metadata["model"])
    metadata["model"] = json.dumps(change(config))
    safetensors.numpy.save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: [],
        lambda c: 3,
        lambda c: {"class": "Sequential"},
        lambda c: {"class": "Sequential", "config": {"layers": 3}},
        lambda c: {"class": "Sequential", "config": {"wrong": 3}},
        lambda c: {"class": "Dense", "config": {"units": 3}},
        lambda c: {"class": "Sequential", "config": {"layers": []}},
    ],
)
def test_configurations_that_are_none(saved, change):
    rewrite(saved[1], change)
    with pytest.raises(FileFormatError, match=r"m\.safetensors: "):
        files.load(saved[1])


def test_tensors_that_do_not_fit_the_configuration_allocate_nothing(saved):
    def huge(config):
        config["config"]["layers"][-1]["config"]["units"] = 10**12
        return config

    rewrite(saved[1], huge)
    with pytest.raises(
        FileFormatError, match=r"logits\.bias: the configuration says \(1000000000000,\), the file"
    ):
        files.load(saved[1])


def test_unknown_layer_says_what_to_do(tmp_path):
    class Strange(Layer):
        kind = "strange"

        def forward(self, x, training=False):
            return x

    try:
        Sequential([Strange(), Dense(2)], input_shape=(3,)).save(tmp_path / "m")
        assert files.load(tmp_path / "m").output_shape == (2,)
    finally:
        del REGISTRY["Strange"]
    with pytest.raises(FileFormatError, match="'Strange'; if the class is your own, import the module"):
        files.load(tmp_path / "m")


def test_a_value_that_json_cannot_hold(tmp_path):
    model = Sequential([Dense(2, name="d")], input_shape=(3,))
    model["d"].units = {1, 2}
    with pytest.raises(TypeError, match=r"model: expected numbers, text, lists.*\{1, 2\}, a set"):
        model.save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_a_failing_write_leaves_the_old_file(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    for target, name in ((os, "replace"), (os, "fsync"), (safetensors.numpy, "save_file")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            with pytest.raises(
                OSError, match=r"could not be saved; the older file is unharmed.*No space left"
            ):
                small(1).save(path)
        assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    model.save(path)


def test_a_full_disk_leaves_the_old_file(saved):
    # A limit on the size of files stands in for the full disk: the system refuses to write on.
    resource = pytest.importorskip("resource")
    model, path = saved
    before = path.read_bytes()
    large = Sequential([Dense(300)], input_shape=(300,), seed=0)
    large.allocate_parameters()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be saved; the older file is unharmed"):
            large.save(path)
        with pytest.raises(OSError, match=r"new: could not be saved: "):
            large.save(path.with_name("new"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    assert np.array_equal(files.load(path).theta, model.theta)


def test_a_link_stays_a_link(saved):
    _, path = saved
    link = path.with_name("link")
    link.symlink_to(path)
    small(1).save(link)
    assert link.is_symlink() and np.array_equal(files.load(path).theta, small(1).theta)
