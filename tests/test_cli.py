"""The command line: what each command prints and leaves, and errors in one line."""

import csv

import numpy as np
import pytest

import fastnn as nn
from fastnn import cli, datasets


@pytest.fixture(autouse=True)
def few_threads():
    before = nn.get_num_threads()
    nn.set_num_threads(1)
    yield
    nn.set_num_threads(before)


@pytest.fixture
def little_data(monkeypatch):
    """The sample with 300 + 100 images and few shapes, so that an epoch takes no time."""
    (x, y), (x_test, y_test) = datasets.fashion_mnist_sample()
    monkeypatch.setattr(
        cli.datasets, "fashion_mnist_sample", lambda: ((x[:300], y[:300]), (x_test[:100], y_test[:100]))
    )
    monkeypatch.setattr(cli, "SHAPES", {"n_train": 100, "n_test": 40, "size": 32})


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(cli, "draw", lambda *arguments: None)


@pytest.fixture
def model_file(tmp_path):
    nn.models.lenet5(seed=0).save(tmp_path / "model.safetensors")
    return str(tmp_path / "model.safetensors")


def failing(capsys, *arguments):
    """The one line on standard error of a command that fails."""
    assert cli.main([str(a) for a in arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"fastnn {arguments[0]}: ")
    assert not any("Traceback" in line for line in lines)
    return lines


@pytest.mark.parametrize("model", ["lenet5", "mlp"])
def test_train(model, tmp_path, capsys, little_data):
    out = tmp_path / "new" / "folder"
    assert cli.main(["train", "--model", model, "--epochs", "2", "--out", str(out)]) == 0
    files = {"model.safetensors", "checkpoint.safetensors", "history.csv"}
    pictures = {"learning_curves.png", "confusion.png", "mistakes.png"} | (
        {"filters.png"} if model == "lenet5" else set()
    )
    if _has_matplotlib():
        files |= pictures
    assert {path.name for path in out.iterdir()} == files
    printed = capsys.readouterr().out
    assert f"{model} on fashion-mnist-sample: 300 training and 100 test images" in printed
    assert "test accuracy" in printed
    assert "What the curves say:\n" in printed
    with open(out / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "lr"} <= set(rows[0])
    assert nn.load(out / "model.safetensors").output_shape == (10,)


def _has_matplotlib():
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def test_train_on_shapes_and_predict_them(tmp_path, capsys, little_data, no_pictures):
    out = tmp_path / "out"
    assert (
        cli.main(["train", "--data", "shapes", "--epochs", "1", "--batch-size", "20", "--out", str(out)]) == 0
    )
    assert "100 training and 40 test images" in capsys.readouterr().out
    np.save(tmp_path / "a.npy", datasets.shapes(1, seed=5)[0][0])
    model = str(out / "model.safetensors")
    assert cli.main(["predict", str(tmp_path / "a.npy"), "--data", "shapes", "--model", model]) == 0
    assert any(name in capsys.readouterr().out for name in datasets.class_names("shapes"))
    message = failing(capsys, "predict", tmp_path / "a.npy", "--model", model)[0]
    assert "--data: expected the data set that the model was trained on" in message
    assert "5" in message


def test_training_is_the_same_for_any_number_of_threads_and_when_resumed(
    tmp_path, little_data, capsys, no_pictures
):
    def theta(name):
        return nn.load(tmp_path / name / "checkpoint.safetensors").theta.tobytes()

    common = ["train", "--epochs", "2", "--batch-size", "50", "--seed", "3", "--out"]
    assert cli.main(["--threads", "1", *common, str(tmp_path / "a")]) == 0
    assert cli.main(["--threads", "2", *common, str(tmp_path / "b")]) == 0
    assert theta("a") == theta("b")
    assert cli.main([*common, str(tmp_path / "a"), "--resume"]) == 0  # nothing is left to do
    assert theta("a") == theta("b")
    with open(tmp_path / "a" / "history.csv") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_resume_goes_on(tmp_path, little_data, capsys, no_pictures):
    out = str(tmp_path)
    assert cli.main(["train", "--epochs", "1", "--out", out]) == 0
    assert cli.main(["train", "--epochs", "3", "--out", out, "--resume"]) == 0
    with open(tmp_path / "history.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    capsys.readouterr()
    message = failing(capsys, "train", "--epochs", "4", "--model", "mlp", "--out", out, "--resume")
    assert "expected the training that was saved" in message[0]


@pytest.mark.parametrize("name", sorted(cli.OPTIMIZERS))
def test_every_optimizer_trains(name, tmp_path, capsys, little_data, no_pictures):
    """The loss falls with the rate that the command line chooses, and a training goes on where it was."""
    out = ["--out", str(tmp_path), "--model", "mlp", "--optimizer", name, "--batch-size", "30"]
    assert cli.main(["train", "--epochs", "2", *out]) == 0
    assert cli.main(["train", "--epochs", "3", *out, "--resume"]) == 0
    with open(tmp_path / "history.csv") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 3 and losses[2] < losses[0]


def test_every_public_optimizer_has_a_name():
    named = {make.__name__ for make in cli.OPTIMIZERS.values()}
    assert named == set(nn.optimizers.__all__) - {"Optimizer"}


def test_rates_and_schedules():
    assert cli.optimizer_for("adam", None, None, 1000).current_lr() == pytest.approx(2e-3 / 100)
    assert repr(cli.optimizer_for("sgd", 0.5, "constant", 10)).startswith("SGD(lr=0.5,")
    assert cli.optimizer_for("adamax", None, "constant", 10).lr == 2e-3  # its own
    assert cli.optimizer_for("armijolinesearch", 4.0, None, 10).lr == 4.0
    for steps in (1, 2, 3, 10, 1000):
        for schedule, make in cli.SCHEDULES.items():
            lr = make(0.5, steps)
            rates = [lr(t) if callable(lr) else lr for t in range(steps)]
            assert min(rates) >= 0 and max(rates) <= 0.5
            if steps == 1000:
                assert max(rates) == pytest.approx(0.5)
                assert (min(rates[-10:]) < 0.1) == (schedule != "constant")


@pytest.mark.parametrize("option", [["--lr", "0.1"], ["--schedule", "cosine"]])
def test_a_line_search_takes_no_rate(option, tmp_path, capsys, little_data):
    message = failing(capsys, "train", "--optimizer", "linesearch", *option, "--out", tmp_path)[0]
    assert f"{option[0]}: expected none for linesearch" in message and f"Received: {option[1]}" in message


def test_evaluate(model_file, capsys, little_data):
    assert cli.main(["evaluate", "--model", model_file]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "on the 100 test images of fashion-mnist-sample" in lines[0]
    assert lines[1].startswith("loss ")
    assert [line.split("  ")[1].strip() for line in lines[2:]] == list(datasets.class_names("fashion_mnist"))
    shares = [float(line.split()[-1].rstrip("%")) for line in lines[2:]]
    accuracy = float(lines[1].split()[-1].rstrip("%"))
    assert np.mean(shares) == pytest.approx(accuracy, abs=0.02)  # the classes are equally large


def test_predict(model_file, tmp_path, capsys):
    pillow = pytest.importorskip("PIL.Image")
    _, (x, _) = datasets.fashion_mnist_sample("uint8")
    np.save(tmp_path / "a.npy", x[0])
    pillow.fromarray(x[0, :, :, 0]).save(tmp_path / "b.png")
    pillow.fromarray(255 - x[0, :, :, 0]).resize((56, 56), 0).convert("RGB").save(
        tmp_path / "c.png"
    )  # on white
    assert (
        cli.main(
            ["predict", "--model", model_file, *(str(tmp_path / n) for n in ("a.npy", "b.png", "c.png"))]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    answers = [line.split(": ", 1)[1] for line in lines]
    assert len(answers) == 3
    assert answers[0] == answers[1]
    assert answers[0].split()[0] == answers[2].split()[0]
    names, shares = zip(*(part.rsplit(" ", 1) for part in answers[0].split(", ")))
    assert set(names) <= set(datasets.class_names("fashion_mnist"))
    numbers = [float(share.rstrip("%")) for share in shares]
    assert numbers == sorted(numbers, reverse=True)
    probabilities = cli.softmax(nn.load(model_file).predict(x[:1].astype(np.float32) / 255))
    assert numbers[0] == pytest.approx(100 * probabilities.max(), abs=0.06)


def test_bench(capsys):
    assert cli.main(["bench", "--seconds", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("lenet5 ", "mlp "))]
    assert [(row[0], row[1]) for row in rows] == [
        (name, n) for name in cli.MODELS for n in ("1", "32", "128")
    ]
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in rows)


def test_info(capsys):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert nn.show_config() in printed
    rows = dict(line.split(maxsplit=1) for line in printed.split("data sets:\n")[1].splitlines())
    assert rows["fashion_mnist_sample"] == "embedded"
    assert rows["shapes"] == "generated"
    assert set(rows) == set(datasets.available())
    assert "Availability" not in printed


def test_threads(capsys):
    assert cli.main(["--threads", "1", "info"]) == 0
    assert nn.get_num_threads() == 1
    assert "threads          1 " in capsys.readouterr().out


def test_softmax():
    probabilities = cli.softmax(np.array([[0.0, 1000.0, -1000.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(probabilities, [[0, 1, 0], [1 / 3] * 3], atol=1e-12)


# Errors


def test_missing_files(tmp_path, capsys, model_file):
    for command in (["evaluate"], ["predict", tmp_path / "a.png"]):
        message = failing(capsys, *command, "--model", tmp_path / "nowhere.safetensors")
        assert len(message) == 1
        assert "nowhere.safetensors" in message[0]
    message = failing(capsys, "predict", tmp_path / "a.png", "--model", model_file)
    assert len(message) == 1
    assert "a.png, which does not exist" in message[0]


def test_bad_files(tmp_path, capsys, model_file):
    pytest.importorskip("PIL")
    for name in ("a.png", "a.npy"):
        (tmp_path / name).write_text("hello")
        message = failing(capsys, "predict", tmp_path / name, "--model", model_file)
        assert len(message) == 1
        assert name in message[0]
    message = failing(capsys, "evaluate", "--model", tmp_path / "a.png")
    assert len(message) == 1
    assert "safetensors" in message[0]


def test_data_that_are_nowhere(tmp_path, capsys, monkeypatch, model_file):
    def nothing(path=None):
        raise FileNotFoundError(f"mnist: expected its files in {path}")

    monkeypatch.setattr(cli.datasets, "mnist", nothing)
    for command in (["train", "--out", tmp_path / "out"], ["evaluate", "--model", model_file]):
        message = failing(capsys, *command, "--data", "mnist", "--path", tmp_path / "nothing")
        assert "nothing" in message[0]
    assert not (tmp_path / "out").exists()


def test_another_data_set_than_the_models(capsys, model_file, little_data):
    message = failing(capsys, "evaluate", "--model", model_file, "--data", "shapes")
    assert len(message) == 1
    assert "the model's output has shape (10,)" in message[0]


def test_resume_without_a_checkpoint(tmp_path, capsys, little_data):
    message = failing(capsys, "train", "--epochs", "1", "--out", tmp_path, "--resume")
    assert "checkpoint.safetensors" in message[0]


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["fly"], ["predict"], ["train", "--epochs", "0"], ["train", "--epochs", "x"],
        ["train", "--lr", "-1"], ["train", "--lr", "nan"], ["train", "--model", "resnet"],
        ["evaluate", "--data", "imagenet"], ["--threads", "0", "info"], ["bench", "--seconds", "0"],
    ],
)  # fmt: skip
def test_arguments_that_do_not_parse(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: fastnn" in capsys.readouterr().err


def test_ctrl_c(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.config, "show_config", interrupted)
    assert cli.main(["info"]) == 130
    assert "fastnn info: interrupted" in capsys.readouterr().err


def test_help(capsys):
    for command in ("train", "evaluate", "predict", "bench", "info"):
        with pytest.raises(SystemExit) as caught:
            cli.main([command, "--help"])
        assert caught.value.code == 0
        assert f"usage: fastnn {command}" in capsys.readouterr().out
