"""Rolling back takes effect at the next scoring run, without anything else being done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from score_samples import answers, write
from small import SETTING_WORDS, write_idx

from mnist_pipeline.cli import main
from mnist_pipeline.store.bundles import load_model


def test_the_next_scoring_run_asks_the_champion_of_before(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], capsys
) -> None:
    images, labels = digits
    place = ["--workspace", str(tmp_path / "workspace"), "--json"]
    write_idx(tmp_path / "idx", "train", images[:400], labels[:400])
    write_idx(tmp_path / "idx", "t10k", images[400:], labels[400:])
    write(tmp_path / "in" / "a.parquet", images)
    train = ["train", "--engine", "plain", "--source", f"idx:{tmp_path / 'idx'}", *SETTING_WORDS]
    score = ["score", str(tmp_path / "in"), "--output", str(tmp_path / "answers")]

    def run(*words: str) -> dict:
        assert main([*words, *place]) == 0
        return json.loads(capsys.readouterr().out)

    def scored() -> tuple[int, int, list[int]]:
        """The version asked, files that were answered before, and the labels given."""
        told = run(*score)
        given = [row["label"] for row in answers(tmp_path / "answers", "a.parquet")]
        return told["version"], len(told["skipped_files"]), given

    def expected(version: int) -> list[int]:
        bundle = load_model(f"digits@{version}", tmp_path / "workspace")
        return bundle.predict(images).labels.tolist()

    assert run(*train, "--set", "train.learning_rate=1e-6")["status"] == "promoted"
    assert run(*train)["status"] == "promoted"
    assert expected(1) != expected(2)

    assert scored() == (2, 0, expected(2))
    assert scored() == (2, 1, expected(2))
    assert run("models", "rollback", "digits")["version"] == 1
    assert scored() == (1, 0, expected(1))
    assert scored() == (1, 1, expected(1))
