"""``dovetail``: one door to everything, which opens a room only when a command needs it."""

import difflib
import importlib
import sys
from collections.abc import Sequence

import click

from common.errors import ConfigError, run_main

# Name -> (module that has the function <name>_command, one line of help). The help stands here, so that
# `dovetail --help` imports nothing.
COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("cli.doctor", "Check what this machine has, and say what is missing."),
    "demo": ("cli.machine", "Run the whole loop on this machine and check it."),
    "up": ("cli.machine", "Start the platform on this machine and leave it running."),
    "down": ("cli.machine", "Stop what `up` started."),
    "status": ("cli.ask", "Say what is running and which views are live."),
    "why": ("cli.ask", "Explain an answer: why a user gets this list, or one item."),
    "views": ("cli.views", "List batch versions and speed generations, and which is live."),
    "live": ("cli.views", "Make a generation of the speed views live."),
    "rollback": ("cli.views", "Make the batch version before the live one live again."),
    "stream": ("cli.stream", "Say what streams run; stop, resume or rescale one with its state."),
    "models": ("cli.models", "List the models, promote one, or go back to the one before."),
    "nightly": ("cli.jobs", "Run the nightly chain of batch jobs."),
    "submit": ("cli.jobs", "Run a job where the configuration says."),
    "render": ("cli.jobs", "Print the exact command line that `submit` runs."),
    "jobs": ("cli.jobs", "List the jobs with owner and schedule."),
    "config": ("cli.jobs", "Print the settings of an environment, resolved."),
    "topics": ("cli.machine", "Create the topics where they are missing."),
    "jars": ("cli.machine", "Fetch the engines' jars into build/jars."),
    "bundle": ("cli.machine", "Build dist/dovetail.zip, what goes to the clusters."),
}

INTERRUPTED = 130


class _Rooms(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Rooms, context_settings={"help_option_names": ["-h", "--help"]})
def dovetail() -> None:
    """Dovetail, a lambda-architecture platform for personalization."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 2 for an error the user can act on, in one line."""
    return run_main(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    try:
        result = dovetail.main(args=argv, prog_name="dovetail", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.ctx.get_help() if error.ctx else error.message)
        return 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "dovetail"
        raise ConfigError(f"{error.format_message().rstrip('.')}; see {command} --help") from None
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
