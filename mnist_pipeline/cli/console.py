"""How the command line speaks: one JSON object or text on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from mnist_pipeline.errors import PipelineError, storable, told

if TYPE_CHECKING:
    from mnist_pipeline.reporting import Step
    from mnist_pipeline.store.objects import Store

DEFAULT_WORKSPACE = "workspace"
SECONDS_A_STEP = 0.1

F = TypeVar("F", bound=Callable[..., Any])


class Console:
    """Where a command's words go.

    Attributes:
        as_json: one JSON object on stdout.
        quiet: no progress.
        workspace: the workspace in use: a folder or a URL.
        command: which command runs, for what is said of it from outside.
        answers: where the JSON object goes; None where nobody reads it.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.workspace = DEFAULT_WORKSPACE
        self.command = ""
        self.answers: TextIO | None = sys.stdout

    def store(self, *, writable: bool = True) -> Store:
        """The workspace, opened; a reader makes none and needs no right to write."""
        from mnist_pipeline.store.objects import Store

        return Store.open(self.workspace, writable=writable)

    def existing_store(self) -> Store | None:
        """The workspace, for its downloads, if there is one; looking at data makes none."""
        from mnist_pipeline.store.objects import WorkspaceMissingError

        try:
            return self.store(writable=False)
        except WorkspaceMissingError:
            return None

    def result(self, data: Mapping[str, Any], text: str | Callable[[], None]) -> None:
        """The command's answer: `data` with `--json`, else `text` (or what it prints)."""
        if self.as_json:
            self._answer(json.dumps(data, ensure_ascii=False))
        elif callable(text):
            text()
        else:
            click.echo(text)

    def _answer(self, text: str) -> None:
        """Writes the one JSON object; that nobody reads it any more (`… | head`) is no error."""
        if self.answers is not None:
            with contextlib.suppress(BrokenPipeError):
                self.answers.write(storable(text) + "\n")
                self.answers.flush()

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table on stdout: drawn on a terminal, tab-separated elsewhere."""
        if not sys.stdout.isatty():
            for row in (head, *rows):
                click.echo("\t".join(str(cell) for cell in row))
            return
        from rich import box
        from rich.console import Console as RichConsole
        from rich.table import Table

        drawn = Table(*head, box=box.SIMPLE_HEAD)
        for row in rows:
            drawn.add_row(*(str(cell) for cell in row))
        RichConsole().print(drawn)

    def error(self, error: PipelineError, *, code: int | None = None) -> None:
        """An explained error, for people on stderr, for programs on stdout."""
        if self.as_json:
            data = error.to_json()
            if code is not None:
                data |= {"code": code, "kind": "interrupted"}
            with contextlib.suppress(OSError):  # no room for it there: it is told to people
                self._answer(json.dumps({"error": data}, ensure_ascii=False, default=str))
                return
        first, *rest = _lines(error)
        click.secho(f"error: {first}", err=True, fg="red", bold=True)
        for line in rest:
            click.echo(line, err=True)

    def bug(self, error: BaseException) -> None:
        """An error nobody explained: ours."""
        click.echo("".join(traceback.format_exception(error)), err=True)
        self.error(
            PipelineError(
                f"this is a bug in mnist-pipeline: {told(error)}",
                remedy="please report it with the lines above; what was published is complete",
            )
        )


@contextlib.contextmanager
def stdout_put_aside() -> Iterator[TextIO | None]:
    """Inside, whatever is printed goes to stderr: by Python, by native code, by child processes.

    Yields:
        What was stdout; None if it is closed.
    """
    stdout = sys.stdout
    try:
        descriptor = stdout.fileno()
    except (AttributeError, OSError):  # there is none, or somebody in this process reads it
        with contextlib.redirect_stdout(sys.stderr):
            yield stdout
        return
    stdout.flush()
    kept = os.dup(descriptor)
    if sys.stderr is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    else:
        os.dup2(2, descriptor)
    answers = os.fdopen(os.dup(kept), "w", encoding="utf-8")
    try:
        yield answers
    finally:
        with contextlib.suppress(OSError):  # what could not be written was told when it was
            answers.close()
        stdout.flush()
        os.dup2(kept, descriptor)
        os.close(kept)


def _lines(error: PipelineError) -> list[str]:
    lines = [error.headline]
    for name, value in error.facts.items():
        label = name.replace("_", " ")
        if isinstance(value, Mapping) and all(isinstance(n, int) for n in value.values()):
            value = ", ".join(f"{count:,} {key}" for key, count in value.items())
        elif isinstance(value, Mapping):
            value = [f"{key}: {entry}" for key, entry in value.items()]
        if isinstance(value, list | tuple):
            lines.append(f"  {label}:")
            lines += [f"    {entry}" for entry in value]
        else:
            lines.append(f"  {label}: {value}")
    if error.remedy:
        lines.append(f"  → {error.remedy}")
    return lines


class TerminalReporter:
    """Tells a run's stages on stderr: a live bar on a terminal, plain lines elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet and os.environ.get("TERM") != "dumb"
        self._stage = ""
        self._last_step = 0.0

    def begin(self, stage: str, what: str) -> None:
        self._stage = stage
        self._draw(f"{stage:<10} {what} …")

    def step(self, step: Step) -> None:
        if not self._live or time.monotonic() - self._last_step < SECONDS_A_STEP:
            return
        self._last_step = time.monotonic()
        if step.total:
            share = min(step.done / step.total, 1)
            bar = "━" * round(24 * share) + "╌" * (24 - round(24 * share))
            self._draw(f"{self._stage:<10} {bar} {share:4.0%}  {step.note}")
        else:
            self._draw(f"{self._stage:<10} {step.done:,} {step.unit}  {step.note}")

    def end(self, stage: str, result: str, seconds: float, *, reused: bool) -> None:
        del reused
        self._draw("")
        if not self._quiet:
            click.echo(f"{stage:<10} {seconds:6.2f} s  {result}", err=True)

    def note(self, text: str) -> None:
        self._draw("")
        click.echo(text, err=True)

    def _draw(self, text: str) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns
            sys.stderr.write("\r\x1b[2K" + text[: width - 1])
            sys.stderr.flush()


def heed_ctrl_c() -> None:
    """Lets Ctrl-C end waiting too; to be called after the imports of a command.

    polars, when it is imported, puts a handler of its own before Python's, and with it has the
    system take up waiting again: a thread that waits for others would hear of it at the end.
    """
    signal.siginterrupt(signal.SIGINT, True)


def quieten_prefect() -> None:
    """Settings for a flow run from a terminal; whatever the user has set counts more."""
    for name, value in {
        # Prefect's console log would repeat what the reporter says; the API keeps all of it.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }.items():
        os.environ.setdefault(name, value)


def global_options(command: F) -> F:
    """Adds the options that every command takes, before or after its name."""

    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        console = context.ensure_object(Console)
        if parameter.name == "as_json":
            console.as_json |= value
        elif parameter.name == "quiet":
            console.quiet |= value
        elif value is not None:
            console.workspace = value

    options = (
        click.option(
            "--quiet", is_flag=True, expose_value=False, callback=remember, help="No progress."
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            expose_value=False,
            callback=remember,
            help="One JSON object on stdout, everything else on stderr.",
        ),
        click.option(
            "--workspace",
            metavar="DIR|URL",
            envvar="MNIST_PIPELINE_WORKSPACE",
            expose_value=False,
            callback=remember,
            help=f"Where everything is kept; default ./{DEFAULT_WORKSPACE}.",
        ),
    )
    for option in options:
        command = option(command)
    return command
