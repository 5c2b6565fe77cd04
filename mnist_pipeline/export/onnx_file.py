"""A version as an ONNX file: raw pixels in, labels and probabilities out, and the same answers.

Nothing is handed out before onnxruntime has given the bundle's answers to its golden batch.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline import __version__, plugins
from mnist_pipeline.errors import IntegrityError, OutsideError, PipelineError
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.graph import Graph, Node, Value
from mnist_pipeline.refs import canonical_json, sha256
from mnist_pipeline.store.bundles import GOLDEN_TOLERANCE, golden_images
from mnist_pipeline.store.publishers import FinishedVersion

OPSET, IR_VERSION = 13, 7
"""Those of ONNX 1.8 (2020): all that is needed, and every runtime since then reads them."""

PRODUCER = "mnist-pipeline"
SIGNATURE = bytes([0x12, len(PRODUCER)]) + PRODUCER.encode()
"""How the name of the producer stands right behind the IR version: field 2 of onnx.proto."""


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """A version as ONNX.

    Attributes:
        data: the file; the same version gives the same bytes.
        images: how many were asked before it was handed out.
        largest_difference: between its probabilities for them and the bundle's.
    """

    data: bytes = dataclasses.field(repr=False)
    images: int
    largest_difference: float


def onnx_file(version: FinishedVersion) -> OnnxFile:
    """A version as ONNX, held against its golden batch.

    Raises:
        NotExportableError: a plugin of it cannot be written down.
        OutsideError: the packages onnx and onnxruntime are missing, or a plugin is broken.
        IntegrityError: the graph does not give the bundle's answers.
    """
    with _blaming_strangers(version.bundle):
        data = onnx_bytes(version.bundle, version.manifest.name, _about(version))
        images = golden_images(version.read("golden.parquet"))
        return OnnxFile(data, len(images), check_answers(version, data, images))


def onnx_bytes(bundle: Bundle, name: str, about: dict[str, str]) -> bytes:
    """A bundle as an ONNX file: `images` uint8 (N, pixels) to `label` and `probabilities`.

    Args:
        bundle: what is written down.
        name: of the graph.
        about: texts by name that the file is to carry.
    """
    onnx = needed("onnx")
    helper, tensors = onnx.helper, onnx.TensorProto
    graph = Graph()
    probabilities: Any = bundle.to_onnx(Value(graph, "images"))
    if not isinstance(probabilities, Value):
        raise TypeError(f"to_onnx returns {type(probabilities).__name__} and no Value")
    nodes = [
        *(_node(helper, node) for node in graph.nodes),
        helper.make_node("Identity", [probabilities.name], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    pixels, classes = bundle.contract.pixels, len(bundle.contract.classes)
    described = helper.make_tensor_value_info
    inputs = [described("images", tensors.UINT8, ["N", pixels])]
    outputs = [
        described("label", tensors.INT64, ["N"]),
        described("probabilities", tensors.FLOAT, ["N", classes]),
    ]
    constants = [onnx.numpy_helper.from_array(a, key) for key, a in graph.constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, name, inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def check_answers(version: FinishedVersion, data: bytes, images: NDArray[np.uint8]) -> float:
    """Holds an ONNX file's answers against the bundle's: the largest difference of probabilities.

    Raises:
        IntegrityError: a label differs, or a probability by more than 1e-5.
    """
    run, expected = runner(data), version.bundle.predict(images)
    # The last one alone: a graph may hold only for as many images as it was written with.
    parts = zip(run(images[:-1]), run(images[-1:]), strict=True)
    labels, probabilities = (np.concatenate(pair) for pair in parts)
    unequal, off = len(images), np.inf
    if probabilities.shape == expected.probabilities.shape:
        unequal = int(np.count_nonzero(labels != expected.labels))
        off = float(np.abs(probabilities - expected.probabilities).max())
    if unequal == 0 and off <= GOLDEN_TOLERANCE:
        return off
    raise IntegrityError(
        f"{version.reference} as ONNX does not give the answers of its golden batch",
        unequal_labels=unequal,
        largest_difference=f"{off:.3g}",
        allowed=GOLDEN_TOLERANCE,
        package=next((info.origin for info in _strangers(version.bundle)), None),
        onnxruntime=needed("onnxruntime").__version__,
        remedy="nothing was written; try another version of onnxruntime, or use the bundle itself",
    )


def runner(data: bytes) -> Any:
    """What runs an ONNX file, in one thread: images (N, pixels) to [labels, probabilities]."""
    onnxruntime = needed("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors: they come as exceptions too
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["label", "probabilities"], {"images": images})


def needed(package: str) -> Any:
    """The module of a package of the extra `onnx`, which is imported nowhere else.

    Raises:
        OutsideError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise OutsideError(
            f"{package} is not installed",
            cause=str(error),
            remedy="pip install 'mnist-pipeline[onnx]'",
        ) from None


def _node(helper: Any, node: Node) -> Any:
    attributes = {
        key: helper.np_dtype_to_tensor_dtype(value) if isinstance(value, np.dtype) else value
        for key, value in node.attributes.items()
    }
    return helper.make_node(node.operator, node.inputs, [node.output], node.output, **attributes)


def _about(version: FinishedVersion) -> dict[str, str]:
    """What the file says of itself, in ONNX's `metadata_props`."""
    manifest, contract = version.manifest, version.bundle.contract
    return {
        "name": manifest.name,
        "version": str(manifest.version),
        "manifest_sha256": sha256(manifest.to_bytes()),
        "classes": json.dumps(contract.classes, ensure_ascii=False),
        "contract": canonical_json(contract.to_json()).decode(),
        "contract_sha256": contract.fingerprint,
    }


@contextmanager
def _blaming_strangers(bundle: Bundle) -> Iterator[None]:
    """Inside, what nobody has explained is told of the bundle's plugin of another package.

    Raises:
        BrokenPluginError: as said. PipelineError: as it is.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:  # their own code is watched; this is what they have written down
        if not (strangers := _strangers(bundle)):
            raise
        does = "gives no graph that can be computed"
        raise plugins.BrokenPluginError.of(strangers[0], does, error) from error


def _strangers(bundle: Bundle) -> list[plugins.PluginInfo]:
    """The bundle's plugins of other packages."""
    used = [("model", bundle.model), ("normalizer", bundle.normalizer.name)]
    used += [("model", kind) for kind in bundle.spec.member_kinds]
    return [plugins.resolve(*each) for each in used if plugins.is_foreign(*each)]
