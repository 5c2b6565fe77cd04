"""The whole pipeline, small: from files to a gated version, and what a second run makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import PLACES, write_idx

from mnist_pipeline import load_model
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.store.bundles import why_unusable
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

pytestmark = pytest.mark.parametrize("place", PLACES, indirect=True)


def published(place: str) -> dict[str, bytes]:
    """Every object below `models`, by key."""
    store = Store.open(place)
    return {info.key: store.get(info.key) for info in store.list("models")}


def test_from_files_to_a_champion(train, idx_folder: Path, place: str, digits) -> None:
    result = train(f"idx:{idx_folder}")

    assert result.outcome.status == "promoted"
    assert result.dataset["rows"] == result.dataset["accepted"] == 600
    assert sum(result.dataset["sides"].values()) == 600
    assert result.dataset["sides"]["exam"] == 200
    assert set(result.seconds) == {
        "ingest",
        "validate",
        "inspect",
        "normalize",
        "train",
        "evaluate",
        "publish",
    }
    store = Store.open(place)
    assert result.report.startswith(store.place)
    assert store.get(result.report.removeprefix(f"{store.place}/")).startswith(b"<!")
    manifest = Registry(store).find("digits@champion")
    assert manifest.version == 1
    assert why_unusable(store, "digits", manifest.version) is None

    images, labels = digits
    bundle = load_model("digits@champion", place)
    answers = bundle.predict(images[400:])
    assert (answers.labels == labels[400:]).mean() == result.outcome.metrics["accuracy"]
    assert np.allclose(answers.probabilities.sum(axis=1), 1, atol=1e-5)


def test_nothing_new_changes_nothing(train, idx_folder: Path, place: str) -> None:
    first = train(f"idx:{idx_folder}")
    before = published(place)
    again = train(f"idx:{idx_folder}")

    assert again.outcome.status == "unchanged"
    assert again.outcome.reasons[1:] == first.outcome.reasons
    assert again.outcome.version == 1
    assert again.outcome.exit_code == first.outcome.exit_code
    assert "train" not in again.seconds
    after = published(place)
    assert after == before


def test_the_exit_code_of_a_blocked_run_is_repeated(train, idx_folder: Path) -> None:
    floor = "gate.min_accuracy=0.999"
    assert train(f"idx:{idx_folder}", floor).outcome.status == "blocked"
    again = train(f"idx:{idx_folder}", floor).outcome
    assert (again.status, again.exit_code) == ("unchanged", 4)


def test_same_inputs_same_bytes(train, idx_folder: Path, place: str) -> None:
    train(f"idx:{idx_folder}")
    forced = train(f"idx:{idx_folder}", force="ingest")
    assert forced.outcome.version == 2
    registry = Registry(Store.open(place))
    one, two = registry.manifest("digits", 1), registry.manifest("digits", 2)
    assert one.dataset == two.dataset
    for name in ("model.json", "model.safetensors", "normalizer.json", "metrics.json"):
        assert one.files[name].digest == two.files[name].digest, name


def test_an_equal_candidate_is_held(train, idx_folder: Path) -> None:
    train(f"idx:{idx_folder}")
    outcome = train(f"idx:{idx_folder}", force="train").outcome
    assert outcome.status == "held"
    assert outcome.reasons[0].startswith("not_better")
    # How a hold is told changes no result: the same verdict, with the exit code asked for.
    held = train(f"idx:{idx_folder}", "gate.fail_on_hold=true").outcome
    assert (held.status, held.version, held.exit_code) == ("unchanged", 2, 4)


def test_a_better_candidate_is_promoted(train, idx_folder: Path, place: str) -> None:
    bad = train(f"idx:{idx_folder}", "train.epochs=1", "train.learning_rate=1e-6")
    assert bad.outcome.status == "promoted"  # the first version needs the floors alone
    good = train(f"idx:{idx_folder}")
    assert good.outcome.status == "promoted"
    assert any(reason.startswith("better_than_champion") for reason in good.outcome.reasons)
    assert Registry(Store.open(place)).find("digits").version == 2


def test_no_promote_publishes_and_moves_nothing(train, idx_folder: Path, place: str) -> None:
    outcome = train(f"idx:{idx_folder}", "publish.promote=false").outcome
    assert outcome.status == "held"
    assert outcome.reasons[0].startswith("no_promote")
    registry = Registry(Store.open(place))
    assert registry.manifest("digits", 1).verdict["status"] == "promote"
    assert registry.champion("digits") is None


def test_no_exam_judges_on_validation_rows_and_publishes_nothing(
    train, idx_folder: Path, place: str
) -> None:
    result = train(f"idx:{idx_folder}", "data.use_exam=false", "data.validation_fraction=0.3")
    assert result.outcome.version is None
    assert published(place) == {}
    sides = result.dataset["sides"]
    assert result.outcome.metrics["n"] == sides["validation"]
    assert sides["set_aside"] == 200
    store = Store.open(place)
    assert store.exists(result.report.removeprefix(f"{store.place}/"))


def test_without_official_test_rows_a_share_is_frozen(train, place: str) -> None:
    first = train("synthetic:n=500,seed=1")
    exam = first.dataset["sides"]["exam"]
    assert 40 < exam < 120
    # More data comes: the exam stays what it was, and its rows still do not train.
    second = train(["synthetic:n=500,seed=1", "synthetic:n=500,seed=2"], "train.seed=1")
    assert second.dataset["sides"]["exam"] == exam
    assert second.outcome.metrics["n"] == exam


def test_exam_rows_in_another_file_never_train(train, idx_folder, tmp_path, digits) -> None:
    train(f"idx:{idx_folder}")
    images, labels = digits
    write_idx(tmp_path / "more", "train", images[350:450], labels[350:450])
    result = train([f"idx:{idx_folder}", f"idx:{tmp_path / 'more'}"])
    assert result.dataset["rejected"] == {"exam_overlap": 50}
    assert result.dataset["accepted"] + 50 == result.dataset["rows"] == 700


def test_another_exam_holds_until_it_is_chosen(train, idx_folder, tmp_path, digits) -> None:
    train("synthetic:n=500,seed=1")
    outcome = train(f"idx:{idx_folder}").outcome
    assert outcome.status == "held"
    assert outcome.reasons[0].startswith("exam_changed")


def test_conflicting_labels_reject_every_member(train, tmp_path, digits) -> None:
    images, labels = digits
    twice = np.concatenate([images, images[:3]])
    answers = np.concatenate([labels, (labels[:3] + 1) % 10])
    write_idx(tmp_path / "idx", "train", twice, answers)
    result = train(f"idx:{tmp_path / 'idx'}")
    assert result.dataset["rejected"] == {"conflicting_duplicate": 6}
    with pytest.raises(DataError, match=r"more than the 0\.001 allowed"):
        train(f"idx:{tmp_path / 'idx'}", "data.max_reject_fraction=0.001")


def test_a_missing_class_stops_before_the_exam_is_frozen(
    train, place: str, tmp_path, digits
) -> None:
    images, labels = digits
    keep = labels != 7
    write_idx(tmp_path / "idx", "train", images[keep], labels[keep])
    with pytest.raises(DataError, match="class '7' is missing"):
        train(f"idx:{tmp_path / 'idx'}")
    assert published(place) == {}


def test_another_contract_needs_another_name(train, idx_folder: Path) -> None:
    from mnist_pipeline.contract.spec import ImageContract

    train(f"idx:{idx_folder}")
    other = ImageContract(classes=tuple("abcdefghij"))
    with pytest.raises(ConfigError, match="another contract") as caught:
        train(f"idx:{idx_folder}", contract=other)
    assert "--name" in caught.value.remedy


def test_a_damaged_part_is_made_anew(train, idx_folder: Path, place: str) -> None:
    first = train(f"idx:{idx_folder}")
    store = Store.open(place)
    part, *_ = (info.key for info in store.list("parts") if info.key.endswith("part.parquet"))
    store.put(part, store.get(part)[:-100])
    again = train(f"idx:{idx_folder}")
    assert again.dataset["digest"] == first.dataset["digest"]
    assert again.outcome.status == "unchanged"


@pytest.mark.parametrize("kind", ["scale", "standardize"])
def test_every_normalizer_runs_through(train, idx_folder: Path, kind: str) -> None:
    assert train(f"idx:{idx_folder}", f"normalize.kind={kind}").outcome.status == "promoted"


def test_a_bundle_reads_what_people_hand_it(train, idx_folder: Path, place: str) -> None:
    train(f"idx:{idx_folder}")
    bundle = load_model("digits", place)
    assert repr(bundle) == "Bundle(softmax.v1, scale.v1, 7,850 parameters)"
    picture = np.zeros((28, 28), np.uint8)
    assert len(bundle.predict([picture, picture]).labels) == 2
    assert len(bundle.predict(np.zeros((0, 28, 28), np.uint8)).labels) == 0
    with pytest.raises(DataError, match="do not fit"):
        bundle.predict(np.zeros((2, 784)))
