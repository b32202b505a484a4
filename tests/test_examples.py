"""Every example runs as a user would run it, and says something; its pictures are where it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn as nn

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def run(example, folder):
    """What the example prints, run in a folder of its own; warnings are errors."""
    package = Path(nn.__file__).parents[1]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("joblib")
    printed = run(example, tmp_path)
    assert printed.count("\n") > 5 and not re.search(r"\bnan\b", printed)
    pictures = set(re.findall(r"\S+\.(?:png|gif|html)", printed))
    assert {path.name for path in tmp_path.iterdir()} == pictures


def test_examples_are_found():
    expected = {"bagging", "optimizer_race", "pretraining", "sparse_features"}
    assert expected <= {path.stem for path in EXAMPLES}
