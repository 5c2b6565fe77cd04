"""The gate before training: wrong labels are found, hard or few rows are not taken for wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mnist_pipeline import plugins
from mnist_pipeline.data.drift import Traits
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.evaluate.data_gate import (
    DataGate,
    DriftGate,
    LabelDisagreement,
    NewData,
    NewPart,
    Readings,
)
from mnist_pipeline.evaluate.gate import Gate

C = 10


def readings(n: int, *, wrong: int = 0, unsure: int = 0, seed: int = 0) -> Readings:
    """n rows: `wrong` ones read otherwise by a sure champion, `unsure` ones by an unsure one."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % C
    predicted, confidences = labels.copy(), rng.uniform(0.9, 1, n)
    predicted[: wrong + unsure] = (predicted[: wrong + unsure] + 1) % C
    confidences[:wrong] = 0.999
    confidences[wrong : wrong + unsure] = 0.3
    return Readings(labels, predicted, confidences)


def traits(ink: int, n: int = 1_000) -> Traits:
    """n images that all have the same ink (of 100), each class as often."""
    ink_counts = np.zeros(100, np.int64)
    ink_counts[ink] = n
    ones = np.full(C, n // C)
    return Traits(ink_counts, np.ones(16, np.int64), ones, np.repeat(ones, 10))


def data(*parts: tuple[str, Readings], exam: Readings | None = None) -> NewData:
    return NewData(
        parts=[NewPart(name, read, traits(13, len(read))) for name, read in parts],
        champion="digits@3",
        exam=exam or readings(3_000, wrong=10, unsure=50),
        learned=traits(13),
        classes=tuple("0123456789"),
    )


def test_both_are_gates_of_the_seam_before_training() -> None:
    for name in ("label_disagreement", "drift"):
        gate = plugins.build("gate", name, {})
        assert isinstance(gate, DataGate)
        assert not isinstance(gate, Gate)
    assert not isinstance(plugins.build("gate", "floors", {}), DataGate)


def test_labels_that_agree_as_in_the_exam_pass() -> None:
    finding = LabelDisagreement().inspect(data(("a.csv", readings(1_000, wrong=10, unsure=60))))
    assert finding.status == "promote"
    assert finding.reasons[0].startswith("labels_agree: digits@3 reads 7.00 % of 1,000 new rows")


def test_sure_readings_against_labels_hold_and_name_the_file_and_the_confusion() -> None:
    clean = ("a.csv", readings(1_000))
    finding = LabelDisagreement().inspect(data(clean, ("b.csv", readings(1_000, wrong=30))))
    assert finding.status == "hold"
    (reason,) = finding.reasons
    assert reason.startswith("label_disagreement: in b.csv digits@3 is sure that 30 of 1,000 rows")
    assert "3.00 %; in its exam 0.33 %" in reason
    assert "labelled" in reason


def test_hard_rows_are_not_wrong_ones() -> None:
    """100 of 1,000 rows that the champion reads otherwise, but of which it is not sure."""
    assert LabelDisagreement().inspect(data(("a", readings(1_000, unsure=100)))).status == "promote"
    unreadable = data(("a", readings(1_000, unsure=130)))
    (reason,) = LabelDisagreement().inspect(unreadable).reasons
    assert "digits@3 reads 130 of 1,000 rows otherwise than they are labelled" in reason


def test_one_class_is_seen_where_all_together_are_not() -> None:
    read = readings(1_000)
    threes = np.flatnonzero(read.labels == 3)[:18]  # 1.8 % of all rows, 18 % of the threes
    read.predicted[threes] = 5
    read.confidences[threes] = 1
    (reason,) = LabelDisagreement().inspect(data(("a.csv", read))).reasons
    assert "18 of 100 rows labelled '3' are not" in reason
    assert reason.endswith("most often '5' labelled '3' (18 rows)")
    assert LabelDisagreement(max_class_disagreement=0.2).inspect(data(("a", read))).status != "hold"


@pytest.mark.parametrize(("wrong", "status"), [(0, "promote"), (1, "promote"), (2, "promote")])
def test_of_few_rows_chance_may_take_a_larger_share(wrong: int, status: str) -> None:
    found = LabelDisagreement().inspect(data(("a", readings(30, wrong=wrong))))
    assert found.status == status


def test_of_few_rows_most_must_not_be_wrong_either() -> None:
    assert LabelDisagreement().inspect(data(("a", readings(30, wrong=15)))).status == "hold"
    assert LabelDisagreement().inspect(data(("a", readings(19, wrong=19)))).status == "promote"


def test_many_small_files_are_judged_together() -> None:
    files = [(f"{k}.csv", readings(19, wrong=6, seed=k)) for k in range(30)]
    (reason,) = LabelDisagreement().inspect(data(*files)).reasons
    assert reason.startswith(
        "label_disagreement: in all new files together (0.csv, 1.csv, 2.csv, 3.csv, 4.csv, …) "
        "digits@3 reads 180 of 570"
    )


def test_a_small_exam_is_no_sharp_judge() -> None:
    part = ("a", readings(1_000, wrong=40))
    assert LabelDisagreement().inspect(data(part, exam=readings(3_000))).status == "hold"
    assert LabelDisagreement().inspect(data(part, exam=readings(80))).status == "promote"


def test_a_limit_of_one_switches_a_rule_off() -> None:
    gate = LabelDisagreement(1, 1, 1)
    assert gate.inspect(data(("a", readings(1_000, wrong=1_000)))).status == "promote"


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_limits_are_shares(value: float) -> None:
    for gate, name in (("label_disagreement", "max_sure_disagreement"), ("drift", "max_drift")):
        with pytest.raises(ConfigError):
            plugins.build("gate", gate, {name: value})


def with_ink(*parts: tuple[str, int, int], learned: Traits | None = None) -> NewData:
    """Parts by name, ink and rows."""
    given = data(("a", readings(20)))
    parts_of = [NewPart(name, readings(n), traits(ink, n)) for name, ink, n in parts]
    return dataclasses.replace(given, parts=parts_of, learned=learned)


def test_drift_holds_and_names_who_is_far_off() -> None:
    clean, bad = ("clean.csv", 13, 500), ("bad.csv", 80, 500)
    finding = DriftGate().inspect(with_ink(clean, bad, learned=traits(13)))
    assert finding.status == "hold"
    assert "ink 0.50" in finding.reasons[0]
    assert finding.reasons[0].endswith("by themselves: bad.csv 1.00, clean.csv 0.00")
    assert DriftGate(max_drift=0.5).inspect(with_ink(clean, bad, learned=traits(13))).status == (
        "promote"
    )


def test_one_file_of_many_may_differ() -> None:
    """A class or a hand by itself differs from the whole: only the whole is judged."""
    parts = [(f"{k}.csv", 13, 500) for k in range(9)]
    finding = DriftGate().inspect(with_ink(*parts, ("one.csv", 80, 500), learned=traits(13)))
    assert finding.reasons[0].startswith("no_drift: the new rows lie 0.10 from")


def test_drift_that_cannot_be_measured_holds_nothing() -> None:
    few = DriftGate().inspect(with_ink(("a", 80, 490), learned=traits(13)))
    assert few.status == "promote"
    assert few.reasons == ("drift_unknown: not measured: digits@3 needs 500 new rows",)
    unknown = DriftGate().inspect(with_ink(("a", 80, 1_000)))
    assert unknown.reasons == ("drift_unknown: not measured: digits@3 has no profile",)
