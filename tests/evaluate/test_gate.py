"""The gate against exact fractions, and its verdicts on small exams."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_pipeline import plugins
from mnist_pipeline.errors import ConfigError, IntegrityError
from mnist_pipeline.evaluate.gate import (
    Case,
    Evaluation,
    Finding,
    Floors,
    McNemar,
    combine,
    detectable_lead,
    mcnemar_p,
)
from mnist_pipeline.evaluate.metrics import measure


def answers(right, name="candidate", *, labels=None, exam="e" * 64, seen=0) -> Evaluation:
    """An evaluation over classes a, b, right exactly in the rows said; row r is of class r % 2."""
    right = np.asarray(right, bool)
    labels = np.arange(len(right)) % 2 if labels is None else labels
    predicted = np.where(right, labels, 1 - labels)
    probabilities = np.where(np.arange(2) == predicted[:, None], 0.9, 0.1).astype(np.float32)
    metrics = measure(labels, probabilities, "ab")
    return Evaluation(name, labels, probabilities, metrics, exam, seen)


def duel(b: int, c: int, both: int = 20) -> Case:
    """`b` rows only the candidate has right, `c` only the champion, `both` both."""
    candidate = answers([True] * b + [False] * c + [True] * both)
    return Case(candidate, answers([False] * b + [True] * c + [True] * both, "digits@3"))


def exact_p(b: int, c: int) -> Fraction:
    n = b + c
    return Fraction(sum(math.comb(n, k) for k in range(b, n + 1)), 2**n)


# -------------------------------------------------------------------------------------- the test


def test_p_is_exact_for_every_small_table():
    for b in range(31):
        for c in range(31):
            assert mcnemar_p(b, c) == pytest.approx(float(exact_p(b, c)), rel=1e-12)


def test_p_of_known_tables():
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(0, 7) == 1.0
    assert mcnemar_p(10, 0) == pytest.approx(1 / 1024, rel=1e-13)
    assert mcnemar_p(5, 1) == pytest.approx(7 / 64, rel=1e-13)


@pytest.mark.parametrize(
    ("n", "b"), [(2_000, 1_060), (20_000, 10_000), (20_000, 10_300), (100_000, 50_700)]
)
def test_p_stays_exact_for_many_disagreements(n, b):
    # the tail in integers, term by term, until the terms no longer matter
    term = total = math.comb(n, b)
    for k in range(b, n):
        term = term * (n - k) // (k + 1)
        total += term
        if term < total >> 60:
            break
    assert mcnemar_p(b, n - b) == pytest.approx(float(Fraction(total, 2**n)), rel=1e-9)


def test_p_of_a_million_disagreements():
    # the same sum in 60 decimal digits, its factorials by Stirling's series
    assert mcnemar_p(501_500, 498_500) == pytest.approx(0.00135432765302988, rel=1e-8)


def test_p_neither_overflows_nor_fails_at_the_extremes():
    assert mcnemar_p(50_000, 0) == 0.0
    assert mcnemar_p(0, 50_000) == 1.0
    assert mcnemar_p(500_000, 500_000) == pytest.approx(0.5, abs=1e-3)


@given(st.integers(0, 400), st.integers(0, 400))
def test_both_sides_share_the_middle(b, c):
    # P(X ≥ b) + P(X ≥ c) = 1 + P(X = b)
    middle = math.comb(b + c, b) / 2 ** (b + c)
    assert mcnemar_p(b, c) + mcnemar_p(c, b) == pytest.approx(1 + middle, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.2])
def test_equal_models_are_promoted_no_more_often_than_alpha(alpha):
    for n in range(1, 120):
        promoted = sum(math.comb(n, b) for b in range(n + 1) if mcnemar_p(b, n - b) < alpha)
        assert Fraction(promoted, 2**n) < Fraction(alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.25])
def test_the_detectable_lead_is_the_smallest_significant_one(alpha):
    fewest = next(n for n in range(1, 50) if Fraction(1, 2**n) < Fraction(alpha))
    for n in range(80):
        rows = max(n, fewest)
        leads = [2 * b - rows for b in range(rows + 1) if exact_p(b, rows - b) < Fraction(alpha)]
        assert detectable_lead(n, alpha) == min(leads)


# ------------------------------------------------------------------------------- rule "better"


def test_a_clearly_better_candidate_is_promoted():
    finding = McNemar().judge(duel(12, 2))
    assert finding.status == "promote"
    assert finding.reasons[0].startswith("better_than_champion: ")
    assert "12 of the 34 exam rows" in finding.reasons[0]
    assert f"p = {float(exact_p(12, 2)):.4g}" in finding.reasons[0]


def test_a_hold_says_how_much_would_have_been_enough():
    finding = McNemar().judge(duel(8, 4, both=88))
    assert finding.status == "hold"
    (reason,) = finding.reasons
    assert reason.startswith("not_better: ")
    # 12 disagreements: 10 against 2 has p = 0.0193, 9 against 3 has 0.073: a lead of 8 in 100 rows
    for part in ("b = 8", "c = 4", "p = 0.1938", "8 points of accuracy", "b − c = 8"):
        assert part in reason


@pytest.mark.parametrize(("b", "status"), [(4, "hold"), (5, "promote")])
def test_five_rows_without_a_loss_are_the_fewest_that_promote(b, status):
    assert McNemar().judge(duel(b, 0)).status == status


def test_equal_answers_are_held():
    finding = McNemar().judge(duel(0, 0))
    assert finding.status == "hold"
    assert "p = 1," in finding.reasons[0]


@given(st.integers(0, 40), st.integers(0, 40))
def test_one_more_row_read_correctly_never_costs_the_promotion(b, c):
    if McNemar().judge(duel(b, c)).status == "promote":
        assert McNemar().judge(duel(b + 1, c)).status == "promote"
    assert (McNemar().judge(duel(b, c)).status == "promote") == (exact_p(b, c) < Fraction(1, 20))


@pytest.mark.parametrize("b", range(1, 40))
def test_a_tie_with_alpha_is_not_significant(b):
    assert McNemar(alpha=0.5**b).judge(duel(b, 0)).status == "hold"
    assert McNemar(alpha=0.5**b).judge(duel(b + 1, 0)).status == "promote"


def test_a_stricter_alpha_holds_what_a_lax_one_promotes():
    assert McNemar(alpha=0.05).judge(duel(12, 2)).status == "promote"
    assert McNemar(alpha=0.001).judge(duel(12, 2)).status == "hold"


@pytest.mark.parametrize("rule", ["better", "not_worse"])
def test_the_first_version_is_left_to_the_floors(rule):
    finding = McNemar(rule=rule).judge(Case(answers([True, False]), None))
    assert finding.status == "promote"
    assert finding.reasons[0].startswith("first_version: ")


# ------------------------------------------------------------------- what must not be compared


@pytest.mark.parametrize("rule", ["better", "not_worse"])
def test_another_exam_is_held_however_good_the_candidate(rule):
    case = Case(answers([True] * 50), answers([False] * 50, "digits@3", exam="f" * 64))
    finding = McNemar(rule=rule).judge(case)
    assert finding.status == "hold"
    assert finding.reasons[0].startswith("exam_changed: digits@3 was judged on exam ffffffffffff,")


@pytest.mark.parametrize("who", ["candidate", "champion"])
def test_a_model_that_trained_on_the_exam_is_not_compared(who):
    candidate = answers([True] * 50, seen=3 if who == "candidate" else 0)
    champion = answers([False] * 50, "digits@3", seen=3 if who == "champion" else 0)
    finding = McNemar().judge(Case(candidate, champion))
    assert finding.status == "hold"
    assert finding.reasons[0].startswith("exam_seen: ")
    assert "3 rows" in finding.reasons[0]


def test_different_rows_under_one_digest_are_an_integrity_error():
    champion = answers([True] * 10, "digits@3", labels=np.ones(10, int))
    with pytest.raises(IntegrityError, match="different rows"):
        McNemar().judge(Case(answers([True] * 10), champion))
    with pytest.raises(IntegrityError, match="different rows"):
        McNemar().judge(Case(answers([True] * 10), answers([True] * 9, "digits@3")))


# ---------------------------------------------------------------------------- rule "not_worse"


def with_accuracy(right: int, of: int = 1000, name: str = "candidate") -> Evaluation:
    return answers([True] * right + [False] * (of - right), name)


@pytest.mark.parametrize(
    ("right", "status", "code"),
    [
        (980, "promote", "not_worse"),
        (979, "hold", "worse_than_best"),
        (999, "promote", "not_worse"),
    ],
)
def test_not_worse_measures_against_the_best_champion_ever(right, status, code):
    # the champion now is at 97.0 %, the best ever was 98.2 %; 98.0 % is exactly the margin below
    case = Case(with_accuracy(right), with_accuracy(970, name="digits@9"), best_accuracy=0.982)
    finding = McNemar(rule="not_worse", margin=0.002).judge(case)
    assert finding.status == status
    assert finding.reasons[0].startswith(f"{code}: ")
    assert "98.20 %" in finding.reasons[0]


def test_not_worse_falls_back_on_the_champion_where_no_best_is_told():
    champion = with_accuracy(970, name="digits@9")
    gate = McNemar(rule="not_worse", margin=0.01)
    assert gate.judge(Case(with_accuracy(960), champion)).status == "promote"
    assert gate.judge(Case(with_accuracy(959), champion)).status == "hold"


def test_a_margin_that_is_just_kept_is_kept_in_floating_point_too():
    case = Case(with_accuracy(7, of=10), None, best_accuracy=0.8)  # 0.8 - 0.1 > 0.7 there
    assert McNemar(rule="not_worse", margin=0.1).judge(case).status == "promote"


def test_not_worse_remembers_the_best_after_its_champion_is_gone():
    case = Case(with_accuracy(900), None, best_accuracy=0.98)
    assert McNemar(rule="not_worse").judge(case).status == "hold"


# -------------------------------------------------------------------------------------- floors


def test_floors_name_what_is_below_them():
    # class a: rows 0, 2, …; of its 10 rows 4 are wrong
    right = [not (r % 2 == 0 and r < 8) for r in range(20)]
    finding = Floors(min_accuracy=0.9, min_recall=0.7).judge(Case(answers(right), None))
    assert finding.status == "block"
    assert finding.reasons == (
        "below_floor: accuracy 80.00 % (16 of 20 rows) is below the floor of 90.00 %",
        "below_floor: recall of class 'a' 60.00 % (6 of 10 rows) is below the floor of 70.00 %",
    )


def test_a_floor_that_is_just_reached_is_reached():
    right = [not (r % 2 == 0 and r < 8) for r in range(20)]
    finding = Floors(min_accuracy=0.8, min_recall=0.6).judge(Case(answers(right), None))
    assert finding.status == "promote"
    assert finding.reasons[0].startswith("above_floors: accuracy 80.00 % (floor 80.00 %)")
    assert "60.00 % for class 'a'" in finding.reasons[0]


def test_a_recall_nobody_can_know_holds_only_where_a_floor_asks_for_it():
    case = Case(answers([True] * 4, labels=np.zeros(4, int)), None)
    assert Floors(min_accuracy=0.9).judge(case).status == "promote"
    finding = Floors(min_recall=0.5).judge(case)
    assert finding.status == "hold"
    assert finding.reasons[0].startswith("recall_unknown: the exam has no rows of class 'b'")


def test_an_empty_exam_is_blocked_even_without_floors():
    case = Case(answers([]), None)
    assert Floors().judge(case).status == "block"
    assert McNemar().judge(case).status == "hold"


# ------------------------------------------------------------------------------------- combine


def test_the_most_severe_finding_wins_and_speaks_first():
    promote, hold = Finding("promote", ("p: 1", "p: 2")), Finding("hold", ("h: 1",))
    block = Finding("block", ("b: 1",))
    assert combine([promote, hold, block]) == Finding("block", ("b: 1", "h: 1", "p: 1", "p: 2"))
    assert combine([promote, hold]) == Finding("hold", ("h: 1", "p: 1", "p: 2"))
    assert combine([promote]) == promote
    again = Finding("hold", ("h: 2",))
    assert combine([again, hold]).reasons == ("h: 2", "h: 1")


def test_what_nobody_judged_is_not_promoted():
    assert combine([]).status == "hold"


# ------------------------------------------------------------------------------------- options


def test_the_gates_are_built_as_plugins():
    assert plugins.build("gate", "floors", {"min_accuracy": 0.9}) == Floors(min_accuracy=0.9)
    gate = plugins.build("gate", "mcnemar", {"alpha": 0.01, "rule": "not_worse"})
    assert gate == McNemar(alpha=0.01, rule="not_worse")
    assert [option.name for option in plugins.describe(McNemar)] == ["alpha", "rule", "margin"]


@pytest.mark.parametrize(
    ("gate", "options"),
    [
        ("floors", {"min_accuracy": 95}),
        ("floors", {"min_recall": -0.1}),
        ("floors", {"min_recall": math.nan}),
        ("mcnemar", {"alpha": 0}),
        ("mcnemar", {"alpha": 5}),
        ("mcnemar", {"margin": 2}),
        ("mcnemar", {"rule": "luckier"}),
    ],
)
def test_values_out_of_range_are_explained(gate, options):
    with pytest.raises(ConfigError) as caught:
        plugins.build("gate", gate, options)
    assert next(iter(options)) in caught.value.headline
    assert caught.value.remedy
