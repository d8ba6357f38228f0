"""The command `optaic`: which commands there are, and the one place where errors become words and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from optaic.errors import EngineError, LeaseLostError, LedgerAwayError, OptaicError, StorageError, UpstreamNotReadyError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("optaic.cli.project", "Make a project: optaic.yaml, and a ledger in .optaic/."),
    "apply": ("optaic.cli.project", "Declare what optaic.yaml says; shows the change."),
    "run": ("optaic.cli.execute", "Run an instance and wait, with live progress."),
    "plan": ("optaic.cli.plan", "What would run for a target, in which order, and why."),
    "status": ("optaic.cli.project", "Every flow: status, version, dates, and why."),
    "why": ("optaic.cli.explain", "Why a flow is ready, or why it is not."),
    "lineage": ("optaic.cli.explain", "The graph, upstream and downstream."),
    "runs": ("optaic.cli.inspect", "List runs."),
    "show": ("optaic.cli.inspect", "Everything about one run."),
    "logs": ("optaic.cli.inspect", "The log of a run; -f follows it live."),
    "cancel": ("optaic.cli.execute", "Ask a run to stop."),
    "retry": ("optaic.cli.execute", "Repeat a run that has ended."),
    "reproduce": ("optaic.cli.compare", "Run again exactly what a run did, and compare."),
    "diff": ("optaic.cli.compare", "Two runs side by side, differences first."),
    "compare": ("optaic.cli.compare", "Many runs side by side: what differs, and metrics."),
    "export": ("optaic.cli.export", "Write a run and its files into a folder."),
    "functions": ("optaic.cli.experiment", "What expressions can call."),
    "promote": ("optaic.cli.experiment", "Make a dataset of what an experiment computes."),
    "model": ("optaic.cli.model", "The versions of a model, and which is in use."),
    "schedule": ("optaic.cli.schedule", "What runs by itself: list, pause, resume."),
    "worker": ("optaic.cli.worker", "Execute what others submit."),
    "gc": ("optaic.cli.upkeep", "Remove files that no run refers to."),
    "doctor": ("optaic.cli.upkeep", "Check everything, and say what to do."),
    "demo": ("optaic.cli.demo", "The example project, end to end, on real prices."),
}
"""Name, module and one line of help; the modules are imported when their command is used, so that help is fast."""

EXIT_FAILED = 1
"""The run failed or was cancelled; or the system, not the request, was in the way."""
EXIT_USAGE = 2
"""The request was wrong."""
EXIT_NOT_READY = 3
"""An upstream is not ready."""
EXIT_BUG = 70
"""A mistake of the product itself (EX_SOFTWARE)."""


class LazyGroup(click.Group):
    """The commands of the table, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for, or say which name was perhaps meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean: optaic {close[0]}" if close else "see the commands with: optaic --help"
            raise _UsageError(f"there is no command {args[0]!r}", next_step=hint)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Invoke the command; a reader that has seen enough and closed the pipe is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            go_silent(sys.stdout)
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


class _UsageError(OptaicError):
    """The command line itself is wrong."""

    code = "usage"


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if wanted:
        import optaic

        click.echo(f"optaic {optaic.__version__}")
        ctx.exit()


# Written here because click's mark \b, which keeps it from joining lines, is a character that docstrings may not have.
_HELP = """Keep the ledger of a quantitative research project: what ran, on which data, and what came out.

\b
TARGET is an instance of the project, or instance.flow_kind; a column of a dataset is prices[close].
RUN is a run's id, the beginning of one, or TARGET@latest.

Exit codes: 0 done, 1 the run failed or was cancelled, 2 wrong usage, 3 upstream not ready.
"""


@click.group(
    cls=LazyGroup, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """Keep the ledger of a project; `_HELP` is what people read."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code; what goes wrong is said on stderr, never as a stack trace.

    Raises
    ------
    SystemExit
        Always, with the exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    as_json = "--json" in given
    try:
        code = cli.main(args=given, prog_name="optaic", standalone_mode=False)
    except OptaicError as error:
        code = _report(error, as_json=as_json)
    except click.ClickException as error:
        code = _report(_as_usage(error), as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = 130
    except Exception as error:  # noqa: BLE001 - the last resort of a program
        code = _report_bug(error)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        go_silent(sys.stdout)
    sys.exit(code if isinstance(code, int) else 0)


def go_silent(stream: TextIO) -> None:
    """Let nobody complain, at exit too, that nobody reads stdout or stderr any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _as_usage(error: click.ClickException) -> _UsageError:
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "optaic"
    return _UsageError(error.format_message().rstrip("."), next_step=f"see the options with: {command} --help")


def exit_code(error: OptaicError) -> int:
    """Give the exit code of an error: 3 if an upstream is not ready, 1 if the system failed, else 2."""
    if isinstance(error, UpstreamNotReadyError):
        return EXIT_NOT_READY
    return EXIT_FAILED if isinstance(error, _SYSTEM) else EXIT_USAGE


_SYSTEM = (StorageError, EngineError, LeaseLostError, LedgerAwayError)
"""Errors that are no mistake in the request."""


def _report(error: OptaicError, *, as_json: bool) -> int:
    code = exit_code(error)
    if as_json:
        import json

        document: dict[str, object] = {
            "type": f"urn:optaic:error:{error.code}",
            "title": error.code.replace("_", " "),
            "detail": error.message,
            "next_step": error.next_step,
            "exit_code": code,
        }
        if isinstance(error, UpstreamNotReadyError):
            document["blockers"] = error.blockers
        click.echo(json.dumps(document, ensure_ascii=False), err=True)
        return code
    label = click.style("error:", fg="red", bold=True) if use_colour(sys.stderr) else "error:"
    if isinstance(error, UpstreamNotReadyError) and error.blockers:
        click.echo(f"{label} {error.target} cannot run: what it reads is not ready", err=True, color=True)
        for line in _blocker_lines(error):
            click.echo(line, err=True)
    else:
        click.echo(f"{label} {error.message}", err=True, color=True)
    if error.next_step:
        click.echo(f"  next: {error.next_step}", err=True)
    if isinstance(error, UpstreamNotReadyError) and error.blockers:
        click.echo(f"        optaic why {error.target}", err=True)
    return code


def _blocker_lines(error: UpstreamNotReadyError) -> list[str]:
    """Name each upstream that is not ready, with its causes below each other."""
    heads = {str(blocker["target"]): str(blocker["freshness"]).replace("_", " ") for blocker in error.blockers}
    names, states = max(map(len, heads)), max(map(len, heads.values()))
    lines: list[str] = []
    for blocker in error.blockers:
        target = str(blocker["target"])
        head = f"  {target:<{names}}  {heads[target]:<{states}}  "
        for cause in blocker["causes"]:
            lines.append(f"{head}{cause['detail']}")
            head = " " * len(head)
    return lines


def use_colour(stream: object) -> bool:
    """Tell whether a stream is a terminal that wants colour (https://no-color.org)."""
    isatty = getattr(stream, "isatty", None)
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and isatty is not None and bool(isatty())


def _report_bug(error: Exception) -> int:
    import traceback

    if os.environ.get("OPTAIC_DEBUG"):
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    click.echo(f"error: {type(error).__name__}: {text}" if text else f"error: {type(error).__name__}", err=True)
    click.echo("this is a bug of optaic, not a mistake of yours; the ledger is whole all the same", err=True)
    if os.environ.get("OPTAIC_DEBUG"):
        click.echo("  next: report it with the trace above", err=True)
    else:
        click.echo("  next: see the trace with OPTAIC_DEBUG=1 in front of the same command, and report it", err=True)
    return EXIT_BUG


if __name__ == "__main__":
    main()
