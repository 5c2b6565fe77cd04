"""Nightly training from one machine, without a work pool.

    prefect server start                      # in another terminal
    export PREFECT_API_URL=http://127.0.0.1:4200/api
    python deployments/serve.py --config deployments/nightly.toml

Runs until it is stopped. One training at a time: a night that begins while another still runs is
skipped.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.schedules import Cron, Interval
from prefect.settings import PREFECT_API_URL

from flows.training import training_flow
from mnist_pipeline.configfile import DEFAULT_PRESET, load_file, load_preset, resolve
from mnist_pipeline.errors import OutsideError, PipelineError
from mnist_pipeline.stages.resolve import resolved


def main() -> None:
    """Registers the deployment and serves its runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("nightly.toml"))
    parser.add_argument("--workspace", default="workspace", help="a folder or a URL")
    parser.add_argument("--cron", default="30 4 * * *", help="when; default: every day at 4:30")
    parser.add_argument("--timezone", default="UTC", help="of --cron, e.g. Europe/Berlin")
    parser.add_argument("--seconds", type=float, help="an interval instead of --cron, to try it")
    options = parser.parse_args()
    try:
        config = resolved(resolve([load_preset(DEFAULT_PRESET), load_file(options.config)]))
        schedule = Cron(options.cron, timezone=options.timezone)
        if options.seconds is not None:
            schedule = Interval(timedelta(seconds=options.seconds))
    except (PipelineError, ValueError) as error:
        parser.error(str(error))
    if PREFECT_API_URL.value() is None:
        print(
            "error: there is no Prefect server to serve\n"
            "  → start one with `prefect server start`, then "
            "`export PREFECT_API_URL=http://127.0.0.1:4200/api`",
            file=sys.stderr,
        )
        sys.exit(OutsideError.exit_code)
    workspace = options.workspace
    if "://" not in workspace:
        workspace = str(Path(workspace).resolve())
    training_flow.serve(
        name="nightly",
        schedule=schedule,
        parameters={"config": config.to_json(), "workspace": workspace},
        global_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        # A restart of this process must not leave the nights switched off.
        pause_on_shutdown=False,
    )


if __name__ == "__main__":
    main()
