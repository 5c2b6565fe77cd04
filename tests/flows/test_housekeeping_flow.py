"""The housekeeping flow: what `gc` removes, removed by a schedule."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]

Train = Callable[..., Any]


def test_what_nothing_needs_goes_and_the_rest_stays(
    train: Train, idx_folder: Path, workspace: Path
) -> None:
    from flows.housekeeping import housekeeping_flow
    from mnist_pipeline.store.bundles import load_model

    train(f"idx:{idx_folder}")
    orphan = workspace / "parts" / ("0" * 64) / "part.parquet"
    orphan.parent.mkdir()
    orphan.write_bytes(b"nobody names this")
    for path in workspace.rglob("*"):
        old = time.time() - 3 * 86_400
        os.utime(path, (old, old))
    before = {path for path in workspace.rglob("*") if path.is_file()}

    told = housekeeping_flow(str(workspace), dry_run=True)
    assert told["removed"]["parts"]["count"] == 1
    assert orphan.exists()

    assert housekeeping_flow(str(workspace)) | {"horizon": ""} == told | {"horizon": ""}
    after = {path for path in workspace.rglob("*") if path.is_file()}
    assert before - after == {orphan}
    assert (workspace / "index.html").exists()
    assert load_model("digits", workspace)


def test_no_workspace_is_nothing_to_tidy(workspace: Path) -> None:
    from flows.housekeeping import housekeeping_flow

    assert housekeeping_flow(str(workspace)) == {}
    assert not workspace.exists()
