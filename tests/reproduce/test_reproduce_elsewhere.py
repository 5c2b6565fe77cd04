"""Another processor, another program: the cause is told as it really happens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small import train_words

import mnist_pipeline

pytestmark = pytest.mark.slow

COMMAND = [
    sys.executable,
    "-P",  # the program is looked for on PYTHONPATH, not in the working directory
    "-c",
    "import sys; from mnist_pipeline.cli import main; sys.exit(main())",
]


def ask(*words: str, code: int = 0, **environment: str) -> dict:
    done = subprocess.run(
        [*COMMAND, *words, "--json", "--quiet"],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == code
    return json.loads(done.stdout)


def test_another_family_of_processors(idx_folder: Path, workspace: Path) -> None:
    ask(*train_words(idx_folder, workspace), OPENBLAS_CORETYPE="Haswell")
    words = ("reproduce", "digits@1", "--workspace", str(workspace))
    assert ask(*words, OPENBLAS_CORETYPE="Haswell")["identical"]
    answer = ask(*words, code=5, OPENBLAS_CORETYPE="Nehalem")
    if not answer["differences"]:
        pytest.skip("this NumPy's BLAS does not tell for which processors it works")
    assert answer["cause"] == "cpu"
    assert [d["what"] for d in answer["differences"]] == ["blas_kernels"]
    assert next(s["name"] for s in answer["stages"] if s["status"] == "differs") == "train"
    expected, found = answer["metrics"]["expected"], answer["metrics"]["found"]
    assert found["log_loss"] == pytest.approx(expected["log_loss"], abs=1e-4)


def test_another_program(idx_folder: Path, workspace: Path, tmp_path: Path) -> None:
    ask(*train_words(idx_folder, workspace))
    package = tmp_path / "other" / "mnist_pipeline"
    shutil.copytree(Path(mnist_pipeline.__file__).parent, package)
    words = ("reproduce", "digits@1", "--workspace", str(workspace))
    optimizers = package / "model" / "optimizers.py"
    text = optimizers.read_text()
    optimizers.write_text(text + "\n# Another comment makes another program, and the same model.\n")
    answer = ask(*words, PYTHONPATH=str(package.parent))
    assert answer["identical"]
    assert [d["what"] for d in answer["differences"]] == ["code"]
    assert "1e-8" in text
    optimizers.write_text(text.replace("1e-8", "1e-3"))
    answer = ask(*words, code=5, PYTHONPATH=str(package.parent))
    assert answer["cause"] == "code"
    assert [s["status"] for s in answer["stages"]][3] == "differs"
    assert answer["error"]["code"] == 5
