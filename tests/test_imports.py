"""The import rules: one way, Prefect only in flows/, pandera in one file, --help light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mnist_pipeline"

# A module may import from its own layer and from those above it in this list.
LAYERS = (
    ("errors", "refs", "announced", "guard", "plugins", "reporting", "tell"),
    ("contract",),
    ("data",),
    ("sources", "model"),
    ("evaluate",),
    ("config", "configfile"),
    ("store",),
    ("testing",),
    ("stages",),
    ("pipeline", "score", "convert", "reproduce", "overview", "concluding", "export", "tracking"),
    ("cli",),
)
HEAVY = {"numpy", "pyarrow", "pandera", "polars", "pandas", "matplotlib", "prefect", "pydantic"}
STANDARD = set(sys.stdlib_module_names)


def imports_of(path: Path) -> Iterator[str]:
    """Every module a file imports, wherever in the file, for types alone too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if module == "mnist_pipeline":
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def module_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer_of(name: str) -> int:
    for rank, names in enumerate(LAYERS):
        if name in names:
            return rank
    raise AssertionError(f"mnist_pipeline.{name} is in no layer")


@pytest.mark.parametrize("path", module_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    if relative == Path("__init__.py"):
        return  # the package's front door: load_model, lazily
    own = layer_of(relative.parts[0].removesuffix(".py"))
    for module in imports_of(path):
        parts = module.split(".")
        if parts[0] == "mnist_pipeline" and parts[1] != "__version__":
            assert layer_of(parts[1]) <= own, f"{relative} imports {module}"


def test_prefect_is_only_in_flows() -> None:
    allowed = {
        PACKAGE / "cli" / name for name in ("train.py", "score.py", "deploy.py", "status.py")
    }  # imports flows, inside the command that runs one
    for path in module_files():
        used = {module.split(".")[0] for module in imports_of(path)}
        assert "prefect" not in used, path
        assert "flows" not in used or path in allowed, path


def test_pandera_is_in_one_file() -> None:
    users = {path for path in module_files() if any("pandera" in m for m in imports_of(path))}
    assert users == {PACKAGE / "contract" / "schema.py"}


@pytest.mark.parametrize(
    "path",
    [*(PACKAGE / "model").glob("*.py"), PACKAGE / "evaluate" / "metrics.py"],
    ids=lambda p: p.name,
)
def test_training_and_metrics_need_numpy_alone(path: Path) -> None:
    used = {module.split(".")[0] for module in imports_of(path)}
    assert used <= STANDARD | {"numpy", "threadpoolctl", "mnist_pipeline"}, path


def test_model_runs_without_the_rest_of_the_world() -> None:
    script = (
        "import sys, mnist_pipeline.model.trainer, mnist_pipeline.model.bundle, "
        "mnist_pipeline.evaluate.metrics; "
        "print(sorted({'pyarrow', 'pandera', 'polars', 'pydantic', 'prefect', 'obstore'} "
        "& set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["models", "--help"], ["data", "convert", "--help"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys; from mnist_pipeline.cli import main; "
        f"code = main({words!r}); print('LOADED', code, *sorted({HEAVY!r} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.splitlines()[-1].split() == ["LOADED", "0"], output.stderr
    assert "Usage:" in output.stdout
