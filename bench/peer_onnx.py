"""ONNX Runtime and OpenVINO (inference only): one ONNX graph, written with onnx.helper."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import networks as net
import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17
Call = Callable[[], np.ndarray]


def version(variant: str) -> str:
    return f"{variant} {importlib.metadata.version(variant)}"


class Graph:
    """Nodes and weights of one model; a method per operator returns the name of its output."""

    def __init__(self, network: net.Network, weights: net.Weights) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights = net.channels_first(network, weights)

    def add(self, kind: str, inputs: list[str], **attributes) -> str:
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def activation(self, x: str, name: str | None) -> str:
        return x if name is None else self.add(name.capitalize(), [x])

    def sequential(self, layers: tuple, x: str, prefix: str = "") -> str:
        for i, layer in enumerate(layers):
            path = f"{prefix}{i}"
            weight, bias = f"{path}.weight", f"{path}.bias"
            match layer:
                case net.Dense():
                    x = self.add("Gemm", [x, weight, bias], transB=1)
                case net.Conv2D():
                    inputs = [x, weight, bias] if layer.use_bias else [x, weight]
                    x = self.add("Conv", inputs, kernel_shape=[layer.kernel_size] * 2, group=layer.groups,
                                 strides=[layer.stride] * 2, pads=[layer.padding] * 4)  # fmt: skip
                case net.MaxPool2D():
                    x = self.add("MaxPool", [x], kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2,
                                 pads=[layer.padding] * 4)  # fmt: skip
                case net.AvgPool2D():
                    x = self.add("AveragePool", [x], kernel_shape=[layer.size] * 2, strides=[layer.size] * 2)
                case net.BatchNorm():
                    names = [f"{path}.{name}" for name in ("gamma", "beta", "running_mean", "running_var")]
                    x = self.add("BatchNormalization", [x, *names], epsilon=net.EPS)
                case net.Flatten():
                    x = self.add("Flatten", [x])
                case net.GlobalAvgPool2D():
                    x = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
                case net.Residual() | net.Concat():
                    inside = [self.sequential(row, x, inner) for inner, row in net.parts(layer, path)]
                    if isinstance(layer, net.Residual):
                        x = self.add("Add", inside)
                    else:
                        x = self.add("Concat", inside, axis=1)
            x = self.activation(x, getattr(layer, "activation", None))
        return x


def onnx_model(network: net.Network, weights: net.Weights) -> onnx.ModelProto:
    graph = Graph(network, weights)
    output = graph.sequential(network.layers, "x")
    shape = network.input_shape
    shape = (network.batch, *(shape if len(shape) == 1 else (shape[2], shape[0], shape[1])))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, network.name,
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, (network.batch, network.outputs))],
            [numpy_helper.from_array(w, name) for name, w in graph.weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8,
    )  # fmt: skip
    onnx.checker.check_model(model)
    return model


def infer(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray,
          threads: int) -> dict[str, Callable[[], Call]]:  # fmt: skip
    model, images = onnx_model(network, weights).SerializeToString(), net.images_first(x)
    return {"onnxruntime": runtime, "openvino": openvino}[variant](model, images, threads)


def runtime(model: bytes, images: np.ndarray, threads: int) -> dict[str, Callable[[], Call]]:
    import onnxruntime as ort

    def load() -> tuple[ort.InferenceSession, str]:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session, session.get_outputs()[0].name

    def plain() -> Call:
        session, output = load()
        return lambda: session.run([output], {"x": images})[0]

    def bound() -> Call:
        session, output = load()
        binding = session.io_binding()
        value = ort.OrtValue.ortvalue_from_numpy(images)
        binding.bind_ortvalue_input("x", value)
        binding.bind_output(output)

        def call(owner: ort.OrtValue = value) -> np.ndarray:
            session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()[0]

        return call

    return {"run": plain, "io binding": bound}


def openvino(model: bytes, images: np.ndarray, threads: int) -> dict[str, Callable[[], Call]]:
    import openvino as ov

    def load() -> ov.InferRequest:
        core = ov.Core()
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                    "INFERENCE_PRECISION_HINT": "f32"}  # fmt: skip
        return core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()

    def shared() -> Call:
        request = load()
        return lambda: request.infer([images], share_inputs=True, share_outputs=True)[0]

    def bound() -> Call:
        request = load()
        request.set_input_tensor(ov.Tensor(images, shared_memory=True))

        def call(owner: np.ndarray = images) -> np.ndarray:  # a shared tensor does not keep its memory alive
            request.infer()
            return request.get_output_tensor(0).data

        return call

    return {"shared arrays": shared, "bound tensors": bound}


to_numpy = np.array
