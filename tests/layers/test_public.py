"""Every public layer has a test with `check_layer` and one against PyTorch."""

import ast
from pathlib import Path

import fastnn as nn
from fastnn.layers.activations import DEFAULT_ALPHA, Activation

BASES = {"Layer", "WeightedLayer", "Model", "Activation"}
#: PyTorch has nothing to compare with: other random numbers, or no numbers of its own.
NO_PEER = {
    "Dropout", "GaussianNoise", "MaskingNoise", "StochasticGate", "Flatten", "Reshape", "Concat",
    "Sequential",
}  # fmt: skip


def names_in(node):
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }


def names_by_test(path):
    """For each test function of a file the names it uses, itself or through what it names of the file."""
    own, tests = {}, []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name in names_in(target):
                    own[name] = own.get(name, set()) | names_in(node.value)
        elif isinstance(node, ast.FunctionDef):
            own[node.name] = names_in(node)
            tests += [node.name] if node.name.startswith("test_") else []
    for test in tests:
        names, new = set(), {test}
        while new:
            names |= new
            new = set().union(*(own[name] for name in new if name in own)) - names
        yield names


TESTS = [names for path in sorted(Path(__file__).parent.glob("test_*.py")) for names in names_by_test(path)]
LAYERS = {
    name
    for name in nn.layers.__all__
    if isinstance(getattr(nn.layers, name), type) and issubclass(getattr(nn.layers, name), nn.Layer)
} - BASES


def layers_named_with(tool):
    return set().union(*(names for names in TESTS if tool in names))


def test_every_layer_is_checked():
    assert LAYERS - layers_named_with("check_layer") == set()


def test_every_layer_is_compared_with_pytorch():
    assert LAYERS - layers_named_with("torch") - NO_PEER == set()
    assert NO_PEER <= LAYERS


def test_every_activation_is_a_layer():
    """Each name that `activation=` takes is the function of a public layer."""
    made = [nn.GELU(), nn.GELU("tanh"), nn.GELU("sigmoid"), nn.ReLU(grad_at_zero=1.0)]
    classes = [getattr(nn, name) for name in LAYERS if name != "GELU"]
    made += [cls() for cls in classes if issubclass(cls, Activation)]
    assert {layer.function for layer in made} == set(DEFAULT_ALPHA)


def test_every_public_layer_is_in_the_package():
    assert set(nn.__all__) >= LAYERS
