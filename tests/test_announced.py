"""What packages announce, shown: in vain, unreadable, in two seams, beyond description."""

from __future__ import annotations

from pathlib import Path

import pytest
from strangers import Install, run

from mnist_pipeline.cli import main
from mnist_pipeline.plugins import resolve


def test_what_is_announced_in_vain_is_told(install: Install, capsys, workspace: Path) -> None:
    install("acme", {"thing": "Thing", "Odd-Name.v1": "Thing"})
    code, told, log = run(capsys, "plugins")
    assert code == 0
    assert [name in str(told["ignored"]) for name in ("'thing'", "'Odd-Name.v1'")] == [True] * 2
    assert "acme 1.5 announces the source 'thing'" in log
    for words in (["plugins", "show", "Odd-Name"], ["validate", "thing"]):
        code, told, _ = run(capsys, *words)
        assert code == 2
        (why,) = told["error"]["facts"]["ignored"]
        assert why.startswith("acme 1.5 announces the source")
        assert "name.vN" in why
    code, told, _ = run(capsys, "plugins", "show", "nowhere")
    assert "ignored" not in told["error"]["facts"]


def test_a_package_that_cannot_be_read_stops_only_itself(
    install: Install, capsys, tmp_path: Path
) -> None:
    install("ruined", {"wreck.v1": "Thing"})
    (tmp_path / "site/ruined-1.5.dist-info/entry_points.txt").write_bytes(b"\xff\xfe")
    install("bare", {"thing.v1": "Thing"})
    (tmp_path / "site/bare-1.5.dist-info/METADATA").unlink()
    info = resolve("source", "thing")
    assert info.origin == "bare 1.5"
    code, told, _ = run(capsys, "plugins", "show", "scale")
    assert (code, told["name"]) == (0, "scale.v1")
    code, told, _ = run(capsys, "plugins")
    (why,) = told["ignored"]
    assert "ruined-1.5.dist-info cannot be read: UnicodeDecodeError" in why


def test_a_name_in_two_seams_is_shown_twice(install: Install, capsys) -> None:
    install("acme", {"thing.v1": "Thing"})
    install("zenith", {"thing.v2": "Thing"}, seam="normalizer")
    code, told, _ = run(capsys, "plugins", "show", "thing")
    assert (code, told["seam"]) == (0, "source")
    assert [(each["seam"], each["name"]) for each in told["others"]] == [("normalizer", "thing.v2")]
    assert main(["plugins", "show", "thing"]) == 0
    shown = capsys.readouterr().out
    assert "source thing.v1 (acme 1.5)" in shown
    assert "normalizer thing.v2 (zenith 1.5)" in shown


@pytest.mark.parametrize("field", ["count: NoSuchType = 1", "count: object = Rude()"])
def test_a_plugin_that_cannot_be_described_is_told_with_its_package(
    install: Install, capsys, field: str
) -> None:
    code = """
from __future__ import annotations
import dataclasses
class Rude:
    def __repr__(self): raise ValueError("no words")
    __hash__ = object.__hash__
@dataclasses.dataclass(frozen=True)
class Thing:
    """
    install("acme", {"thing.v1": "Thing"}, code + field + "\n")
    code, told, log = run(capsys, "plugins", "show", "thing")
    assert (code, told["error"]["facts"]["package"]) == (6, "acme 1.5")
    assert "'thing.v1' cannot be described" in told["error"]["headline"]
    assert "Traceback" not in log
