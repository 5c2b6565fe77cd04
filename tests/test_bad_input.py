"""Bad input: one clear message, the documented exit code, nothing published, no traceback."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import SETTING_WORDS, idx_bytes, write_idx

from mnist_pipeline.cli import main

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
COMMAND = ["--engine", "plain", "--quiet", "--json", *SETTING_WORDS]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict, str]:
    """Exit code, the JSON object on stdout, and stderr."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def train(capsys: pytest.CaptureFixture[str], source: str, workspace: Path, *more: str):
    place = ["--workspace", str(workspace)]
    return run(capsys, "train", "--source", source, *place, *COMMAND, *more)


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A spoiler: the file `name` with its bytes changed."""

    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return spoil


def packed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A spoiler: the images as gz, its compressed bytes changed."""

    def spoil(folder: Path) -> None:
        data = (folder / IMAGES).read_bytes()
        (folder / IMAGES).unlink()
        (folder / f"{IMAGES}.gz").write_bytes(change(gzip.compress(data)))

    return spoil


def header(*numbers: int, magic: int = 0x803) -> Callable[[bytes], bytes]:
    return lambda data: struct.pack(f">{len(numbers) + 1}I", magic, *numbers) + data[16:]


def directory_for_file(folder: Path) -> None:
    (folder / IMAGES).unlink()
    (folder / IMAGES).mkdir()


def bomb(folder: Path) -> None:
    """A gz whose content is far larger than its header claims."""
    (folder / IMAGES).unlink()
    data = struct.pack(">4I", 0x803, 10, 28, 28) + bytes(64 << 20)
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress(data))


def all_labels(value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:8] + bytes([value]) * (len(data) - 8)


SPOILERS: dict[str, Callable[[Path], None]] = {
    "images cut": edit(IMAGES, lambda data: data[:-1]),
    "images cut in the header": edit(IMAGES, lambda data: data[:9]),
    "labels cut": edit(LABELS, lambda data: data[:-1]),
    "trailing byte": edit(IMAGES, lambda data: data + b"\0"),
    "trailing byte in labels": edit(LABELS, lambda data: data + b"\0"),
    "wrong magic": edit(IMAGES, header(400, 28, 28, magic=0xCAFEBABE)),
    "labels' magic on images": edit(IMAGES, header(400, 28, 28, magic=0x801)),
    "empty images": edit(IMAGES, lambda data: b""),
    "empty labels": edit(LABELS, lambda data: b""),
    "no rows": edit(IMAGES, lambda data: struct.pack(">4I", 0x803, 0, 28, 28)),
    "dimensions of 0xffffffff": edit(IMAGES, header(*[0xFFFFFFFF] * 3)),
    "other dtype": edit(IMAGES, header(400, 28, 28, magic=0xD03)),
    "more images than labels": edit(LABELS, lambda data: idx_bytes(np.zeros(399, np.uint8))),
    "27×28": edit(IMAGES, lambda data: idx_bytes(np.zeros((400, 27, 28), np.uint8))),
    "gz cut": packed(lambda data: data[: len(data) // 2]),
    "gz cut in its trailer": packed(lambda data: data[:-3]),
    "gz with a wrong checksum": packed(lambda data: data[:-8] + bytes(4) + data[-4:]),
    "gz with a flipped byte": packed(
        lambda data: data[:5000] + bytes([data[5000] ^ 0x55]) + data[5001:]
    ),
    "gz with trailing bytes": packed(lambda data: data + b"junk"),
    "gz header only": packed(lambda data: data[:10]),
    "gz bomb": bomb,
    "labels missing": lambda folder: (folder / LABELS).unlink(),
    "directory for a file": directory_for_file,
    "every label out of range": edit(LABELS, all_labels(10)),
    "one class only": edit(LABELS, all_labels(3)),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_spoiled_idx(name: str, idx_folder: Path, workspace: Path, capsys) -> None:
    SPOILERS[name](idx_folder)
    code, answer, stderr = train(capsys, f"idx:{idx_folder}", workspace)

    assert code == answer["error"]["code"] == 3
    assert answer["error"]["headline"]
    assert answer["error"]["remedy"]
    assert "Traceback" not in stderr
    assert not (workspace / "models").exists()
    # What could be read is a part, kept for the next time; of a file that could not, nothing is.
    readable = {"every label out of range": 2, "one class only": 2}.get(name, 0)
    assert len(list(workspace.rglob("part.json"))) == readable
    assert not list((workspace / ".scratch").glob("*"))


@pytest.mark.parametrize("name", ["images cut", "gz bomb", "every label out of range"])
def test_spoiled_data_leaves_the_champion_alone(
    name: str, idx_folder: Path, workspace: Path, capsys
) -> None:
    assert train(capsys, f"idx:{idx_folder}", workspace)[0] == 0
    published = {p: p.read_bytes() for p in (workspace / "models").rglob("*") if p.is_file()}
    SPOILERS[name](idx_folder)
    assert train(capsys, f"idx:{idx_folder}", workspace)[0] == 3
    assert published == {
        p: p.read_bytes() for p in (workspace / "models").rglob("*") if p.is_file()
    }


def test_a_few_bad_rows_are_quarantined_with_their_places(
    tmp_path: Path, workspace: Path, digits, capsys
) -> None:
    import pyarrow.parquet as pq

    images, labels = digits[0], digits[1].copy()
    labels[[3, 77]] = [10, 255]
    write_idx(tmp_path / "idx", "train", images, labels)
    code, answer, _ = train(capsys, f"idx:{tmp_path / 'idx'}", workspace)
    assert code == 0
    assert answer["dataset"]["rejected"] == {"label_out_of_range": 2}
    (quarantine,) = (workspace / "quarantine").rglob("*.parquet")
    rows = pq.read_table(quarantine).to_pylist()
    assert [(row["place"], row["reason"]) for row in rows] == [
        (3, "label_out_of_range"),
        (77, "label_out_of_range"),
    ]
    assert rows[0]["payload"] == images[3].tobytes()
    assert rows[0]["source"] == IMAGES

    code, answer, _ = run(capsys, "validate", f"idx:{tmp_path / 'idx'}", "--json")
    assert code == 0
    assert answer["rows"] == answer["accepted"] + sum(answer["rejected"].values()) == 600
    assert [place["place"] for place in answer["places"]] == [3, 77]


def test_validate_says_places_beside_the_error(idx_folder: Path, capsys) -> None:
    SPOILERS["every label out of range"](idx_folder)
    code, answer, _ = run(capsys, "validate", f"idx:{idx_folder}", "--json")
    assert code == answer["error"]["code"] == 3
    assert answer["rejected"] == {"label_out_of_range": 400}
    assert {"source", "place", "reason", "detail"} <= set(answer["places"][0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "train.learing_rate=1"], "learning_rate"),
        (["--set", "trian.epochs=1"], "train"),
        (["--set", "model.kind=mlp", "--set", "model.hiden=[3]"], "hidden"),
        (["--set", "train.epochs"], "key=value"),
        (["--set", "train.epochs=0"], "train.epochs"),
        (["--preset", "fsat"], "fast"),
        (["--source", "minst"], "mnist"),
        (["--source", "data/train.csv"], "csv:"),
        (["--source", "synthetic:m=3"], "'n'"),
        (["--sorce", "mnist"], "--source"),
        (["--config", "/nowhere/x.toml"], "--config"),
        (["--name", "Not A Name"], "name"),
        (["--seed", "-1"], "seed"),
        (["--workspace", "ftp://host/x"], "s3://"),
    ],
)
def test_usage_mistakes_name_what_is_valid(
    arguments: list[str], expected: str, workspace: Path, capsys
) -> None:
    place = [] if "--workspace" in arguments else ["--workspace", str(workspace)]
    code, answer, stderr = run(capsys, "train", *place, *COMMAND, *arguments)
    assert code == answer["error"]["code"] == 2
    assert expected in json.dumps(answer["error"], ensure_ascii=False)
    assert "Traceback" not in stderr
    assert not workspace.exists() or not list(workspace.rglob("*.json"))


def test_a_workspace_that_cannot_be_written(tmp_path: Path, idx_folder: Path, capsys) -> None:
    (tmp_path / "file").write_text("not a folder")
    code, answer, stderr = train(capsys, f"idx:{idx_folder}", tmp_path / "file" / "workspace")
    assert code == answer["error"]["code"] == 6
    assert "--workspace" in answer["error"]["remedy"]
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "source", ["idx:/nowhere", "csv:/nowhere/*.csv", "parquet:/nowhere.parquet"]
)
def test_a_named_input_that_is_not_there(source: str, workspace: Path, capsys) -> None:
    code, answer, _ = train(capsys, source, workspace)
    assert code == answer["error"]["code"] == 3


def test_a_diverging_training_publishes_nothing(idx_folder: Path, workspace: Path, capsys) -> None:
    code, answer, _ = train(
        capsys,
        f"idx:{idx_folder}",
        workspace,
        *("--set", "train.learning_rate=1e30", "--set", "train.optimizer=sgd"),
        *("--set", "model.kind=mlp", "--set", "train.epochs=30"),
    )
    assert code == answer["error"]["code"] == 4
    assert answer["error"]["kind"] == "training"
    assert "learning_rate" in answer["error"]["remedy"]
    assert not (workspace / "models" / "digits" / "versions").exists()


def test_a_damaged_model_is_named(idx_folder: Path, workspace: Path, capsys) -> None:
    train(capsys, f"idx:{idx_folder}", workspace)
    weights = workspace / "models/digits/versions/1/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code, answer, _ = run(capsys, "models", "verify", "--json", "--workspace", str(workspace))
    assert code == 5
    assert "model.safetensors" in answer["versions"][0]["error"]["headline"]
    # The next candidate does not replace a champion that nobody can judge.
    code, answer, _ = train(capsys, f"idx:{idx_folder}", workspace, "--seed", "7")
    assert (code, answer["status"]) == (0, "held")
    assert answer["reasons"][0].startswith("champion_unusable")
