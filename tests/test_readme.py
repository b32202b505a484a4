"""The README's programs run as they stand there, one after the other."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_programs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(PROGRAMS) >= 3
    names = {}
    for program in PROGRAMS:
        exec(compile(program, "README.md", "exec"), names)
    assert names["history"]["val_accuracy"][-1] > 0.75
    assert "conv2d_forward" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["lenet.safetensors"]


@pytest.mark.parametrize("name", re.findall(r"`(\w+\.py)`", README.read_text("utf-8")))
def test_files_that_it_names(name):
    assert any(README.parent.glob(f"*/{name}")), f"{name} is in no folder of the project"
