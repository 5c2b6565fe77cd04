"""What a gate promises."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import DIGITS
from mnist_pipeline.data.drift import Traits
from mnist_pipeline.evaluate.data_gate import DataGate, NewData, NewPart, Readings
from mnist_pipeline.evaluate.findings import flaw_of
from mnist_pipeline.evaluate.gate import Case, Evaluation, Gate
from mnist_pipeline.evaluate.metrics import measure
from mnist_pipeline.testing.promises import Promises, samples


def check_gate(gate: Gate | DataGate) -> None:
    """Has it judge good and bad candidates, or new data, and looks at its findings.

    Raises:
        BrokenPromiseError: which promise does not hold.
    """
    promises = Promises("gate", gate)
    promises.options()
    judges, inspects = isinstance(gate, Gate), isinstance(gate, DataGate)
    promises(judges or inspects, "a gate has judge, inspect or both")
    if isinstance(gate, Gate):
        good, bad = _evaluation("candidate", 0.05), _evaluation("digits@1", 0.4)
        untimed = _evaluation("candidate", 0.05, None)
        for case in (
            Case(good, None),
            Case(good, bad, 0.9),
            Case(bad, good, 0.97),
            Case(untimed, None),
        ):
            _check_finding(promises, "judge", gate.judge, case)
    if isinstance(gate, DataGate):
        for wrong in (0.0, 0.5):
            _check_finding(promises, "inspect", gate.inspect, _new_data(wrong))


def _check_finding(promises: Promises, name: str, judge: Any, given: Any) -> None:
    with promises.working(f"{name} (what is judged is read only)"):
        finding, again = judge(given), judge(given)
    flaw = flaw_of(finding)
    promises(flaw is None, f"{name} returns a Finding with its reasons", flaw)
    promises(finding == again, f"{name} finds the same every time", f"{finding}, then {again}")


def _evaluation(name: str, wrong: float, microseconds: float | None = 25.0) -> Evaluation:
    """Answers in an exam of 60 rows, a share of which is wrong."""
    _, labels = samples()
    probabilities = np.full((len(labels), len(DIGITS)), 0.05, np.float32)
    said = _answers(labels, wrong)
    probabilities[np.arange(len(labels)), said] = 0.55
    probabilities.setflags(write=False)
    metrics = measure(labels, probabilities, DIGITS)
    return Evaluation(name, labels, probabilities, metrics, "e" * 64, 0, microseconds)


def _answers(labels: NDArray[np.int64], wrong: float) -> NDArray[np.int64]:
    said = labels.copy()
    count = round(wrong * len(labels))
    said[:count] = (said[:count] + 1) % len(DIGITS)
    return said


def _new_data(wrong: float) -> NewData:
    """A new file, of whose labels a share is wrong."""
    images, labels = samples()
    sure = np.linspace(0.5, 1, len(labels)).astype(np.float32)
    for array in (labels, sure):
        array.setflags(write=False)
    readings = Readings(labels, _answers(labels, wrong), sure)
    traits = Traits.of(images, readings.predicted, sure, len(DIGITS))
    return NewData(
        parts=[NewPart("new.csv", readings, traits)],
        champion="digits@1",
        exam=Readings(labels, labels, sure),
        learned=traits,
        classes=DIGITS,
    )
