"""docs/plugins.md takes a newcomer to a working source: its files and commands, as they stand."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
from sample import fresh_environment

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"
BLOCK = re.compile(r"(?:`(?P<file>[\w.]+)`\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```\n", re.DOTALL)


@pytest.mark.integration
def test_the_page_makes_a_working_source(tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "env")
    (python.parent / "pip").write_text(f'#!/bin/sh\nexec {python} -m pip "$@"\n')
    (python.parent / "mnist-pipeline").write_text(
        f'#!/bin/sh\nexec {python} -c "from mnist_pipeline.cli import entry_point; '
        'entry_point()" "$@"\n'
    )
    for name in ("pip", "mnist-pipeline"):
        (python.parent / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    if importlib.util.find_spec("hatchling"):  # else pip fetches it
        environment["PIP_NO_BUILD_ISOLATION"] = "0"  # pip's way to say yes to "no"
    folder = tmp_path / "plugin"
    folder.mkdir()
    told = ""
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["file"]:
            (folder / block["file"]).write_text(block["text"], encoding="utf-8")
            continue
        assert block["kind"] == "sh", block["text"]
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block["text"]],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        told += done.stdout
    assert "source spaced.v1 (spaced-digits 1.0)" in told
    assert "wrong_column_count" in told
    assert "digits@1: promoted" in told
