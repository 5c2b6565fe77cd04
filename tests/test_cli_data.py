"""`mnist-pipeline data`: what its commands answer, ask for and refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from small import SETTING_WORDS, write_idx

from mnist_pipeline.cli import main


@pytest.fixture
def ask(capsys, tmp_path: Path, monkeypatch):
    """Runs `data …` with --json in an empty folder: exit code, answer, stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: str) -> tuple[int, dict, str]:
        code = main(["data", *words, "--json"])
        output = capsys.readouterr()
        return code, json.loads(output.out), output.err

    return run


def test_make_is_a_conversion_of_drawn_digits(ask) -> None:
    words = ("--format", "idx", "--output")
    code, made, progress = ask("make", "--rows", "70", "--seed", "3", *words, "made")
    assert code == 0
    assert ask("convert", "synthetic:n=70,seed=3", *words, "converted")[0] == 0
    for path in Path("made").iterdir():
        assert path.read_bytes() == (Path("converted") / path.name).read_bytes()
    assert progress.startswith("convert ")
    assert "70 rows" in progress
    assert {key: made[key] for key in ("rows", "accepted", "rejected", "places", "files")} == {
        **{"rows": 70, "accepted": 70, "rejected": {}, "places": [], "files": 2},
    }
    assert made["output"] == str(Path.cwd() / "made")
    assert made["seconds"] > 0
    assert made["quarantine"] is None


def test_layouts_and_compression(ask) -> None:
    words = ("--rows", "20", "--output")
    for layout in ("bytes", "list", "columns", "tensor", "png"):
        made = ("--format", "parquet", "--layout", layout)
        assert ask("make", *words, f"{layout}.parquet", *made)[0] == 0
        code, answer, _ = ask(
            "convert", f"parquet:{layout}.parquet", "--format", "csv", "--output", layout
        )
        assert (code, answer["accepted"]) == (0, 20)
    assert len({(Path(folder) / "train.csv").read_bytes() for folder in ("list", "png")}) == 1
    assert ask("make", *words, "z", "--format", "csv", "--compress")[0] == 0
    assert [path.name for path in Path("z").iterdir()] == ["train.csv.gz"]


def test_unlabelled(ask) -> None:
    assert (
        ask("make", "--rows", "20", "--format", "csv", "--output", "x.csv", "--unlabelled")[0] == 0
    )
    assert Path("x.csv").read_text().startswith("pixel0,")
    words = ("--format", "parquet", "--output", "x.parquet")
    assert ask("convert", "csv:x.csv", *words)[0] == 3  # it has no labels
    assert ask("convert", "csv:x.csv", "--unlabelled", *words)[0] == 0


def test_rejected_rows_are_told(ask, digits, capsys) -> None:
    labels = digits[1].copy()
    labels[:25] = 44
    write_idx(Path("bad"), "train", digits[0], labels)
    words = ("convert", "idx:bad", "--format", "png", "--output", "out")
    code, answer, _ = ask(*words)
    assert code == answer["error"]["code"] == 3
    assert "data.max_reject_fraction" in answer["error"]["remedy"]
    assert [path.name for path in Path().iterdir()] == ["bad"]
    code, answer, _ = ask(*words, "--set", "data.max_reject_fraction=0.1")
    assert (code, answer["accepted"], answer["rejected"]) == (0, 575, {"label_out_of_range": 25})
    assert len(answer["places"]) == 25
    assert Path(answer["quarantine"]).name == "out.rejected.parquet"

    settings = ["--set", "data.max_reject_fraction=0.1", "--overwrite", "--quiet"]
    assert main(["data", *words, *settings]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    assert lines[0].startswith("train-images-idx3-ubyte:0: label_out_of_range: label 44")
    assert lines[20] == "… and 5 more"
    assert lines[-2].startswith("600 rows: 575 accepted, 25 rejected (25 label_out_of_range), ")
    assert lines[-1] == f"output: {Path.cwd() / 'out'} (575 files)"


def test_a_contact_sheet(ask) -> None:
    words = ("sheet", "synthetic:n=200", "--output", "s.png", "--columns", "3")
    code, answer, _ = ask(*words)
    assert (code, answer["shown"]) == (0, {str(digit): 3 for digit in range(10)})
    assert (answer["width"], answer["height"]) == (92, 302)
    assert Path(answer["output"]).read_bytes().startswith(b"\x89PNG")
    assert ask(*words)[0] == 2
    assert ask(*words, "--overwrite")[0] == 0


@pytest.mark.parametrize("words", [[], ["--help"], ["make", "--help"], ["convert", "--help"]])
def test_help_teaches(words: list[str], capsys) -> None:
    assert main(["data", *words]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("Usage:")
    if words[:-1]:
        assert f"  mnist-pipeline data {words[0]} " in output.out
        assert "train-images-idx3-ubyte" in output.out
    else:
        assert {"make", "convert", "sheet"} <= set(output.out.split())


MAKE = ["make", "--rows", "10"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([*MAKE, "--format", "cvs", "--output", "x"], 2, "'csv'"),
        ([*MAKE, "--format", "parqet", "--output", "x"], 2, "'parquet'"),
        ([*MAKE, "--format", "parquet", "--layout", "tensr", "--output", "x"], 2, "'tensor'"),
        ([*MAKE, "--format", "csv", "--layout", "list", "--output", "x"], 2, "--layout"),
        ([*MAKE, "--format", "png", "--compress", "--output", "x"], 2, "--compress"),
        ([*MAKE, "--output", "x"], 2, "--format"),
        ([*MAKE, "--format", "csv"], 2, "--output"),
        ([*MAKE, "--format", "csv", "--output", "x.txt"], 2, "x.csv"),
        ([*MAKE, "--format", "csv", "--output", "taken.csv"], 2, "--overwrite"),
        ([*MAKE, "--format", "idx", "--output", "."], 2, "folder"),
        ([*MAKE, "--format", "idx", "--output", "/dev/null"], 2, "no folder"),
        ([*MAKE, "--format", "csv", "--output", "s3://bucket/x.csv"], 2, "on disk"),
        (["sheet", "synthetic", "--output", "s3://bucket/x.png"], 2, "on disk"),
        (["make", "--rows", "0", "--format", "csv", "--output", "x"], 2, "--rows"),
        (["convert", "--format", "csv", "--output", "x"], 2, "SPEC"),
        (["convert", "minst", "--format", "csv", "--output", "x"], 2, "'mnist'"),
        (["convert", "taken.csv", "--format", "csv", "--output", "x"], 2, "csv:taken.csv"),
        (["convert", "csv:taken.csv", "--format", "csv", "--output", "x"], 3, "taken.csv"),
        (["convert", "png:none", "--format", "csv", "--output", "x"], 3, "none does not exist"),
        (["convert", "synthetic", "--format", "csv", "--output", "x", "--set", "a=1"], 2, "'a'"),
        (["sheet", "synthetic", "--output", "x.gif"], 2, "x.gif.png"),
        (["sheet", "synthetic", "--output", "x.png", "--columns", "0"], 2, "--columns"),
        (["shet"], 2, "shet"),
    ],
)
def test_mistakes_are_explained(ask, words: list[str], code: int, says: str) -> None:
    Path("taken.csv").write_text("mine\n")
    found, answer, stderr = ask(*words)
    assert found == answer["error"]["code"] == code
    assert answer["error"]["remedy"]
    assert says in json.dumps(answer["error"], ensure_ascii=False)
    assert "Traceback" not in stderr
    assert os.listdir() == ["taken.csv"]  # noqa: PTH208
    assert Path("taken.csv").read_text() == "mine\n"


def test_ctrl_c(ask, interrupt_at) -> None:
    with interrupt_at("convert"):
        code, answer, stderr = ask("make", "--format", "png", "--output", "deep/out")
    assert code == answer["error"]["code"] == 130
    assert "Traceback" not in stderr
    assert not list(Path().iterdir())


def test_pictures_are_a_source_like_any_other(ask, workspace: Path, capsys, digits) -> None:
    write_idx(Path("i"), "train", *digits)
    assert ask("convert", "idx:i", "--format", "png", "--output", "p")[0] == 0
    (Path("p") / "3" / "broken.png").write_bytes(b"")
    assert main(["validate", "png:p", "--json", "--quiet"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert (checked["rows"], checked["accepted"]) == (601, 600)
    assert checked["places"][0]["detail"] == "3/broken.png: the file is empty"
    words = ["train", "--source", "png:p", "--engine", "plain", "--workspace", str(workspace)]
    assert main([*words, "--json", "--quiet", *SETTING_WORDS]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["dataset"]["rejected"] == {"undecodable_image": 1}
    assert answer["status"] == "promoted"
    assert np.isclose(answer["metrics"]["n"], 90, atol=30)
