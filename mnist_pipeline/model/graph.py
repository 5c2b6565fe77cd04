"""A network written down as a graph of ONNX's operators, without ONNX itself.

What an operator computes is said at onnx.ai/onnx/operators, opset 13. `export/` makes a file of it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_pipeline import plugins
from mnist_pipeline.errors import NotExportableError


@dataclasses.dataclass(frozen=True)
class Node:
    """One operator at work: the names of what goes in and of what comes out."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Nodes in the order in which they are computed, and the constants that go into them.

    The same node is there once, whoever asks for it: members of an ensemble normalize once.

    Attributes:
        nodes: each after those whose outputs it takes.
        constants: arrays by name.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._known: dict[Any, str] = {}

    def add(self, operator: str, *inputs: Value | ArrayLike, **attributes: Any) -> Value:
        """What an operator makes of its inputs; arrays among them become constants.

        Args:
            operator: `Gemm`, `Relu`, …
            inputs: in the operator's order.
            attributes: numbers, texts or tuples of them; a NumPy type for a type of ONNX.
        """
        names = tuple(each.name if isinstance(each, Value) else self._add(each) for each in inputs)
        key = (operator, names, tuple(sorted(attributes.items(), key=lambda item: item[0])))
        if key not in self._known:
            self._known[key] = f"{operator}_{len(self.nodes)}"
            self.nodes.append(Node(operator, names, self._known[key], attributes))
        return Value(self, self._known[key])

    def _add(self, constant: ArrayLike) -> str:
        array = np.asarray(constant, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{len(self.constants)}"
            self.constants[self._known[key]] = array
        return self._known[key]


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """What stands between two nodes: an array of the graph, computed when somebody runs it.

    `+`, `-`, `*`, `/` are the operators of those names. Types are never mixed: the other side is a
    value or an array of the same one.
    """

    graph: Graph = dataclasses.field(repr=False)
    name: str

    __array_ufunc__ = None  # `array - value` is ours, not NumPy's

    def apply(self, operator: str, *inputs: Value | ArrayLike, **attributes: Any) -> Value:
        """What an operator makes of this value, and of other inputs behind it; see `Graph.add`."""
        return self.graph.add(operator, self, *inputs, **attributes)

    def reshape(self, *shape: int) -> Value:
        """The same numbers in another shape; -1 is as long as it has to be."""
        return self.apply("Reshape", np.array(shape, np.int64))

    def cast(self, dtype: Any) -> Value:
        """The same numbers as another NumPy type."""
        return self.apply("Cast", to=np.dtype(dtype))

    def cut(self, starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...]) -> Value:
        """The part from `starts` to before `ends` along some axes."""
        return self.apply("Slice", *(np.array(each, np.int64) for each in (starts, ends, axes)))

    def padded(self, *pads: int) -> Value:
        """With zeros around it: how many before the first of each axis, then behind the last."""
        return self.apply("Pad", np.array(pads, np.int64))

    def __add__(self, other: Value | ArrayLike) -> Value:
        return self.apply("Add", other)

    def __sub__(self, other: Value | ArrayLike) -> Value:
        return self.apply("Sub", other)

    def __rsub__(self, other: ArrayLike) -> Value:
        return self.graph.add("Sub", other, self)

    def __mul__(self, other: Value | ArrayLike) -> Value:
        return self.apply("Mul", other)

    def __truediv__(self, other: Value | ArrayLike) -> Value:
        return self.apply("Div", other)


def not_exportable(seam: str, plugin: object) -> NotExportableError:
    """The error for a plugin that has no `to_onnx`, with its package."""
    info = plugins.info_of(seam, plugin)
    name, package = (info.name, info.package) if info else (type(plugin).__name__, "the plugin")
    return NotExportableError(
        f"the {seam} {name!r} cannot be written as ONNX: it has no `to_onnx`",
        package=info.origin if info else None,
        remedy=f"ask the authors of {package} for one, or export a version with another {seam}",
    )
