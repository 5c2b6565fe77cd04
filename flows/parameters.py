"""What deployments are given: configurations read from TOML, paths made absolute.

`deployments/prefect.yaml` names some of these functions as build steps; `deployments/serve.py`
calls the others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect.exceptions import PrefectException

from flows.scoring import scoring_flow
from mnist_pipeline.configfile import DEFAULT_PRESET, load_file, load_preset, resolve
from mnist_pipeline.errors import ConfigError, DataError, PipelineError, did_you_mean
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.shares import SHARE_ROWS
from mnist_pipeline.stages.resolve import resolved

FOLDER = "MNIST_PIPELINE_FOLDER"
"""How `mnist-pipeline deploy` tells the build steps in which folder it was called."""

WORKSPACE = "MNIST_PIPELINE_WORKSPACE"

_SCORING = ("inputs", "output", "model", "options", "slice_rows", "workspace", "dask")


def place(folder: str) -> dict[str, str]:
    """A build step: the folder in which runs work, and the workspace, both absolute.

    Args:
        folder: which folder, unless `mnist-pipeline deploy` says in which it was called.
    """
    base = absolute(os.environ.get(FOLDER) or folder)
    return {
        "folder": base,
        "workspace": absolute(os.environ.get(WORKSPACE) or "workspace", base),
    }


def training(file: str) -> dict[str, Any]:
    """A build step: the configuration of the training flow in a TOML file.

    Raises:
        ConfigError: it cannot be read, or a key or value is wrong.
    """
    layers = [load_preset(DEFAULT_PRESET), load_file(Path(file))]
    return {"config": resolved(resolve(layers)).to_json()}


def scoring(file: str, folder: str) -> dict[str, Any]:
    """A build step: the parameters of the scoring flow in a TOML file, and whether to begin.

    Its inputs may not be there yet. A schedule that fails every morning until they are would teach
    people to ignore it: `ready` is False then, and `missing` says what there is not.

    Raises:
        ConfigError: it cannot be read, or a key or value is wrong.
    """
    here = place(folder)
    parameters = scoring_parameters(Path(file), here["folder"], here["workspace"])
    if parameters.pop("dask") is not None:
        raise ConfigError(
            "a deployment for workers cannot score on Dask",
            file=file,
            remedy="leave `dask` out, or serve it: python deployments/serve.py --score-config …",
        )
    try:
        missing = ""
        find_inputs(parameters["inputs"], parameters["output"])
    except DataError as error:
        missing = error.headline
    return {**parameters, "ready": not missing, "missing": missing}


def scoring_parameters(file: Path, folder: str, workspace: str) -> dict[str, Any]:
    """The parameters of the scoring flow, all of them, with absolute paths; and `dask`.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong.
    """
    given = load_file(file)
    for key in given:
        if key not in _SCORING:
            raise ConfigError(
                f"unknown key {key!r}", file=str(file), remedy=did_you_mean(key, _SCORING)
            )
    parameters: dict[str, Any] = {
        "model": None,
        "options": {},
        "slice_rows": SHARE_ROWS,
        "workspace": workspace,
        **given,
    }
    dask = parameters.pop("dask", None)
    try:
        scoring_flow.validate_parameters(parameters)
    except (PrefectException, TypeError, PipelineError) as error:
        raise ConfigError(
            "the configuration of the scoring is not valid",
            file=str(file),
            cause=str(error).partition("\n")[0],
            remedy="deployments/scoring.toml shows every key",
        ) from None
    parameters["inputs"] = [absolute(path, folder) for path in parameters["inputs"]]
    for name in ("output", "workspace"):
        parameters[name] = absolute(parameters[name], folder)
    return {**parameters, "dask": dask}


def absolute(where: str, folder: str = ".") -> str:
    """A path below a folder as an absolute one; a URL as it is."""
    return where if "://" in where else str(Path(folder, Path(where).expanduser()).resolve())
