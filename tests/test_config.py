"""Threads, environment variables, forked children, and what `show_config` says."""

import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest

import fastnn as nn
from fastnn import config


def run(code, **variables):
    """Standard output of a Python program in a fresh process; warnings are errors there too."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment | variables,
        capture_output=True, text=True, timeout=60,
        cwd=tempfile.gettempdir(),  # not the source tree, whose package may not be built
    )  # fmt: skip


@pytest.fixture
def any_threads():
    before = nn.get_num_threads()
    yield
    nn.set_num_threads(before)


def test_number_of_threads(any_threads):
    for n in (1, 2, np.int64(3)):
        nn.set_num_threads(n)
        assert nn.get_num_threads() in (n, 1)  # 1 without OpenMP


@pytest.mark.parametrize("n", [0, -1, 2.0, "2", True, None, 1025])
def test_wrong_numbers_of_threads(n):
    before = nn.get_num_threads()
    with pytest.raises(ValueError, match=r"n: expected an integer from 1 to 1024\. Received: "):
        nn.set_num_threads(n)
    assert nn.get_num_threads() == before


THREADS = "import fastnn as nn; print(nn.get_num_threads())"


@pytest.mark.skipif(not config.threads.HAS_OPENMP, reason="one thread only without OpenMP")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FASTNN_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3,2"}, 3),
        ({"FASTNN_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"}, 2),
        ({"OMP_NUM_THREADS": "nonsense"}, None),
        ({"FASTNN_NUM_THREADS": ""}, None),
    ],
)
def test_threads_by_environment(variables, expected):
    result = run(THREADS, **variables)
    assert int(result.stdout) == (expected or config.available_cores()), result.stderr


@pytest.mark.parametrize("text", ["0", "many", "-2"])
def test_wrong_environment(text):
    result = run(THREADS, FASTNN_NUM_THREADS=text)
    assert result.returncode != 0
    assert f"FASTNN_NUM_THREADS: expected a positive integer. Received: {text!r}" in result.stderr


def test_unknown_instruction_set():
    result = run(THREADS, FASTNN_ISA="mmx")
    assert "FASTNN_ISA='mmx': expected one of" in result.stderr.splitlines()[-1]


def test_import_loads_only_what_every_program_needs():
    """Neither the extras nor what trainer, data sets and files need; NumPy's own imports do not count."""
    code = (
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import fastnn\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = run(code)
    loaded = result.stdout.split()
    assert "fastnn.layers.conv" in loaded, result.stderr
    extras = "PIL joblib matplotlib mpi4py onnx pandas pooch scipy sklearn torch"
    slow = (
        "argparse asyncio concurrent csv email gzip http inspect logging lzma multiprocessing safetensors "
        "shutil signal socket ssl statistics subprocess tarfile tempfile threading tqdm unittest "
        "urllib.request zipfile"
    )
    later = "fastnn.cli fastnn.data fastnn.files fastnn.images fastnn.plots fastnn.schedules fastnn.training"
    assert not set(loaded) & set(f"{extras} {slow} {later}".split())


def test_names_that_are_loaded_later():
    code = (
        "import fastnn as nn\n"
        "assert set(nn.__all__) <= set(dir(nn))\n"
        "assert 'Trainer' not in vars(nn)\n"
        "from fastnn import *\n"
        "import fastnn.training, fastnn.data.datasets, fastnn.files\n"
        "assert Trainer is nn.Trainer is fastnn.training.Trainer\n"
        "assert datasets is nn.datasets is fastnn.data.datasets and load is nn.load is fastnn.files.load\n"
        "assert 'Trainer' in vars(nn)\n"
        "print(*[name for name in nn.__all__ if name not in globals()], 'nothing else is missing')"
    )
    result = run(code)
    assert result.stdout.strip() == "nothing else is missing", result.stderr
    with pytest.raises(AttributeError, match=r"^module 'fastnn' has no attribute 'Trainr'$"):
        _ = nn.Trainr
    with pytest.raises(ImportError, match="cannot import name 'Trainr' from 'fastnn'"):
        from fastnn import Trainr  # noqa: F401


FORK = """
import os, sys, warnings
import numpy as np, fastnn as nn
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # Python 3.12 on
nn.set_num_threads(2)
model = nn.models.lenet5(seed=0)
trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam())
x, y = np.random.default_rng(0).random((64, 28, 28, 1), dtype=np.float32), np.arange(64) % 10
trainer.train_step(x, y)  # the team of threads exists now
expected = model.predict(x)
child = os.fork()
if child == 0:
    same = (model.predict(x) == expected).all()
    loss = trainer.train_step(x, y)
    os._exit(0 if same and np.isfinite(loss) and nn.get_num_threads() == 1 else 1)
_, status = os.waitpid(child, 0)
same = (model.predict(x) == expected).all()
print(os.waitstatus_to_exitcode(status), same, nn.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_computes_alone():
    result = run(FORK)
    expected = 2 if config.threads.HAS_OPENMP else 1
    assert result.stdout.split() == ["0", "True", str(expected)], result.stderr


def test_show_config():
    text = nn.show_config()
    rows = dict(line.split("  ", 1) for line in text.splitlines() if not line.startswith("note:"))
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert rows["fastnn"] == nn.__version__
    assert rows["NumPy"] == np.__version__
    assert rows["threads"].startswith(str(nn.get_num_threads()))
    assert rows["kernels"] == "compiled"
    assert {"Python", "system", "processor", "instruction set", "OpenMP"} <= set(rows)
