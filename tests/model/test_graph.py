"""Graphs: what is written down, once each, in the order in which it is computed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mnist_pipeline.errors import NotExportableError
from mnist_pipeline.model.graph import Graph, Value
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import Normalizer, Scale


def test_formulas_are_nodes_and_arrays_constants() -> None:
    graph = Graph()
    x = Value(graph, "x")
    y = np.ones(3) - x * np.float64(2) / (x + x)
    told = [(node.operator, node.inputs) for node in graph.nodes]
    assert told == [
        ("Mul", ("x", "constant_0")),
        ("Add", ("x", "x")),
        ("Div", ("Mul_0", "Add_1")),
        ("Sub", ("constant_1", "Div_2")),
    ]
    assert y.name == graph.nodes[-1].output == "Sub_3"
    assert graph.constants["constant_0"].shape == ()
    np.testing.assert_array_equal(graph.constants["constant_1"], np.ones(3))


def test_the_same_is_there_once_and_what_differs_is_not() -> None:
    graph = Graph()
    x = Value(graph, "x")
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert x.apply("MatMul", weights).name == x.apply("MatMul", weights.copy()).name
    assert x.apply("Flatten", axis=1).name != x.apply("Flatten", axis=2).name
    others = (weights.T, weights.reshape(3, 2), weights.view(np.int32), weights + 1)
    for other in others:
        x.apply("MatMul", other)
    assert len(graph.constants) == 1 + len(others)
    assert len(graph.nodes) == 3 + len(others)


def test_a_constant_is_contiguous() -> None:
    graph = Graph()
    Value(graph, "x").apply("MatMul", np.ones((2, 3)).T)
    assert graph.constants["constant_0"].flags.c_contiguous


def test_an_affine_normalizer_can_be_written_down_without_a_word() -> None:
    graph = Graph()
    Scale().to_onnx({"pixels": 4}, Value(graph, "pixels"))
    assert [node.operator for node in graph.nodes] == ["Mul", "Add"]
    assert {a.dtype for a in graph.constants.values()} == {np.dtype(np.float32)}


@dataclasses.dataclass(frozen=True)
class Bent(Normalizer):
    """Neither affine nor written down."""


@dataclasses.dataclass(frozen=True)
class Oracle(Model):
    """A network that is not written down."""


def test_what_nobody_has_written_down_is_refused() -> None:
    pixels = Value(Graph(), "pixels")
    with pytest.raises(NotExportableError, match="normalizer 'Bent' cannot be written as ONNX"):
        Bent().to_onnx({}, pixels)
    with pytest.raises(NotExportableError, match="model 'Oracle'") as caught:
        Oracle().to_onnx({}, None, pixels)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert caught.value.to_json()["kind"] == "not_exportable"
