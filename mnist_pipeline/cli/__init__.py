"""The command line: every command, its errors and its exit codes.

Nothing heavy is imported here: `--help` answers at once. Each command imports what it needs when
it runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from traceback import walk_tb

import click

from mnist_pipeline import __version__
from mnist_pipeline.cli.console import Console, global_options, stdout_put_aside
from mnist_pipeline.cli.data import data
from mnist_pipeline.cli.deploy import deploy
from mnist_pipeline.cli.explain import explain
from mnist_pipeline.cli.export import export
from mnist_pipeline.cli.gc import gc
from mnist_pipeline.cli.landing import accept, replay
from mnist_pipeline.cli.models import models
from mnist_pipeline.cli.plugins import plugins
from mnist_pipeline.cli.reproduce import reproduce
from mnist_pipeline.cli.score import score
from mnist_pipeline.cli.status import status
from mnist_pipeline.cli.train import train
from mnist_pipeline.cli.validate import validate
from mnist_pipeline.errors import ConfigError, PipelineError, explained

INTERRUPTED = 130
BUG = 1

GOES_ON = {
    "train": ": it goes on at its first unfinished stage; what was published is complete",
    "score": ": what was answered is not answered again",
}
"""What a command that was interrupted does the next time."""

EPILOG = """\b
Start here:
  mnist-pipeline train --name drawn         train on drawn digits, no data needed
  mnist-pipeline train --source mnist       train on MNIST itself, as `digits`
  mnist-pipeline models list                see what was published

\b
A model's name keeps the exam of its first training: other test data, other --name.

\b
Exit codes: 0 done (also held or unchanged), 2 usage or configuration, 3 bad data,
4 blocked by the gate, 5 an artifact failed its digest, 6 something outside is missing,
130 interrupted, 1 a bug in this program.
"""


@click.group(
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="mnist-pipeline")
@global_options
@click.pass_context
def cli(context: click.Context) -> None:
    """Train, judge and publish models that read handwritten digits.

    Every run goes through the same stages: ingest, validate, inspect, normalize, train, evaluate,
    publish.
    Published versions are complete or invisible, and only a better model becomes champion.
    """
    context.ensure_object(Console).command = context.invoked_subcommand or ""


COMMANDS = (train, validate, score, explain, models, status, reproduce, gc, deploy, data, plugins)
for command in COMMANDS:
    cli.add_command(command)
for command in (replay, accept):
    data.add_command(command)
models.add_command(export)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(as_json="--json" in given, quiet="--quiet" in given)
    if not console.as_json or "--help" in given:
        return _run(given, console)
    with stdout_put_aside() as console.answers:
        return _run(given, console)


def _run(given: list[str], console: Console) -> int:
    try:
        _check_text(given)
        code = cli.main(args=given, prog_name="mnist-pipeline", standalone_mode=False, obj=console)
        return int(code or 0)
    except PipelineError as error:
        console.error(error)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        console.error(_explained(error))
        return ConfigError.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.error(
            PipelineError(
                "interrupted; nothing is half-written",
                remedy="run it again" + GOES_ON.get(console.command, ""),
            ),
            code=INTERRUPTED,
        )
        return INTERRUPTED
    except BaseException as error:
        if isinstance(error, SystemExit) and _is_clicks(error):
            return 0  # its way of saying that nobody reads our output any more (`… | head`)
        from mnist_pipeline.plugins import blamed

        known = blamed(error) or explained(error)
        if known.exit_code == BUG:
            console.bug(error)
        else:
            console.error(known)
        return known.exit_code


def entry_point() -> None:
    """The console script: SIGTERM ends it as Ctrl-C does, a closed pipe is no error."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = main()
    if "--json" in sys.argv and sys.stderr is not None:
        os.dup2(2, 1)  # what native code still holds back, or says at its exit, is no answer
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _is_clicks(error: SystemExit) -> bool:
    """Whether click itself exits, not some code that it has called."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "click"


def _check_text(arguments: Sequence[str]) -> None:
    """Refuses arguments that are not text: file names may hold any bytes, our records may not."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"{argument!r} is not valid text",
                remedy="rename the file, or name the folder it lies in",
            ) from None


def _explained(error: click.UsageError) -> ConfigError:
    """A usage error of click's in this program's words."""
    command = error.ctx.command_path if error.ctx else "mnist-pipeline"
    return ConfigError(error.format_message().rstrip("."), remedy=f"see `{command} --help`")
