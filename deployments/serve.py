"""Nightly training, or nightly scoring, from one machine, without a work pool.

    prefect server start                      # in another terminal
    export PREFECT_API_URL=http://127.0.0.1:4200/api
    python deployments/serve.py --config deployments/nightly.toml
    python deployments/serve.py --score-config deployments/scoring.toml --cron "0 6 * * *"

Runs until it is stopped. One run at a time: a night that begins while another still runs is
skipped.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.exceptions import PrefectException
from prefect.schedules import Cron, Interval
from prefect.settings import PREFECT_API_URL

from flows.parameters import absolute, scoring_parameters, training
from flows.schedule import TAG
from flows.scoring import scoring_flow, task_runner
from flows.training import training_flow
from mnist_pipeline.errors import OutsideError, PipelineError


def main() -> None:
    """Registers the deployment and serves its runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("nightly.toml"))
    parser.add_argument("--score-config", type=Path, help="score what it names instead of training")
    parser.add_argument("--workspace", default="workspace", help="a folder or a URL")
    parser.add_argument("--cron", default="30 4 * * *", help="when; default: every day at 4:30")
    parser.add_argument("--timezone", default="UTC", help="of --cron, e.g. Europe/Berlin")
    parser.add_argument("--seconds", type=float, help="an interval instead of --cron, to try it")
    options = parser.parse_args()
    try:
        if options.score_config:
            served, parameters = _scoring(options.score_config, options.workspace)
        else:
            served, parameters = _training(options.config, options.workspace)
        schedule = Cron(options.cron, timezone=options.timezone)
        if options.seconds is not None:
            schedule = Interval(timedelta(seconds=options.seconds))
    except (PipelineError, PrefectException, OSError, ValueError) as error:
        parser.error(str(error))
    if PREFECT_API_URL.value() is None:
        print(
            "error: there is no Prefect server to serve\n"
            "  → start one with `prefect server start`, then "
            "`export PREFECT_API_URL=http://127.0.0.1:4200/api`",
            file=sys.stderr,
        )
        sys.exit(OutsideError.exit_code)
    served.serve(
        name="nightly",
        schedule=schedule,
        parameters=parameters,
        tags=[TAG],
        global_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        # A restart of this process must not leave the nights switched off.
        pause_on_shutdown=False,
    )


def _training(file: Path, workspace: str) -> tuple[Flow[..., Any], dict[str, Any]]:
    return training_flow, {**training(str(file)), "workspace": absolute(workspace)}


def _scoring(file: Path, workspace: str) -> tuple[Flow[..., Any], dict[str, Any]]:
    """The flow with its task runner, and its parameters: the keys of the file, but `dask`."""
    parameters = scoring_parameters(file, ".", workspace)
    runner = task_runner(parameters.pop("dask"))
    return scoring_flow.with_options(task_runner=runner), parameters


if __name__ == "__main__":
    main()
