"""The sample plugin: installed into an environment of its own, and pictures for its source."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLE = Path(__file__).parent / "sample_plugin"


def write_pictures(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Digits (N, 784) as black ink on white, `folder/LABEL/ROW.png`."""
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - image.reshape(28, 28)).save(path)
    return folder


def fresh_environment(folder: Path) -> Path:
    """A new environment that sees the packages of this one, and nothing of the project's folder.

    Returns:
        Its Python.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in here]
    (site / "beside.pth").write_text("\n".join(lines) + "\n")
    return folder / "bin" / "python"


def install(python: Path, package: Path) -> None:
    """Installs a package, copied out of the project first, into an environment."""
    copy = python.parents[1] / "sources" / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    command = [str(python), "-m", "pip", "install", "-q", "--no-deps"]
    if importlib.util.find_spec("hatchling"):  # else pip fetches it
        command.append("--no-build-isolation")
    subprocess.run([*command, str(copy)], check=True, cwd=copy)
