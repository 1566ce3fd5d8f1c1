"""The table of commands. Nothing of a command is imported before it is called.

A failure that a person can act on is one line on stderr and an exit code: 1 failed, 2 usage, 130 and 143 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType

import click

from indexer.errors import SearchEngineError
from searchengine import __version__

COMMANDS = {  # name: where it lives, its line in --help
    "index": ("searchengine.commands.index:index", "Create or update the index of PATHS."),
    "query": ("searchengine.commands.query:query", "Search the index for TEXT."),
    "status": ("searchengine.commands.status:status", "Say what the index holds."),
    "verify": ("searchengine.commands.verify:verify", "Check every file of the index."),
    "optimize": ("searchengine.commands.optimize:optimize", "Merge segments and write the postings anew."),
    "backup": ("searchengine.commands.backup:backup", "Copy the index to DEST while it may be in use."),
    "serve": ("searchengine.commands.serve:serve", "Serve the index: HTTP, a web page, MCP."),
    "doctor": ("searchengine.commands.doctor:doctor", "Say what this machine has, and what is chosen for it."),
    "train": ("trainer.cli:train", "Train an encoder by RECIPE: a shipped one, or a .toml file."),
    "adapt": ("trainer.cli:adapt", "Train a better encoder for text that nobody has judged."),
    "mine": ("trainer.cli:mine", "Mine hard negatives for BEIR_DIR's training queries."),
    "tune": ("trainer.cli:tune", "Learn the index's fusion weights from judged queries."),
    "bench": ("benchmarks.cli:bench", "Evaluate retrieval on BEIR_DIRS."),
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        """List the table's names in its order."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import the command that was called."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[name][0]} is no command")
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="searchengine")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.pass_context
def commands(context: click.Context, debug: bool) -> None:
    """Search folders and collections by meaning and by words; train the encoder on your own text."""
    context.obj = {"debug": debug}


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a run as Ctrl-C does, at its last commit."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _ignore_signals() -> None:
    """Leave the exit code to what was done: the work is over, and Python unwinds for some tenths of a second more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    debug = "--debug" in sys.argv[1:2]
    try:
        code = commands.main(standalone_mode=False)
        sys.stdout.flush()
        _ignore_signals()
        sys.exit(code if isinstance(code, int) else 0)
    except SearchEngineError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except click.UsageError as error:
        hint = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
        _fail(error.format_message().rstrip(".") + hint, 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:  # click makes an Abort of both signals' exceptions
        _interrupted(error.__cause__ or error)
    except ImportError as error:
        if (cause := _interruption(error)) is None:
            raise
        _interrupted(cause)
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """Find the Ctrl-C or SIGTERM that fell into a library's own start, which turns it into an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def _interrupted(error: BaseException) -> None:
    word, code = ("terminated", 143) if isinstance(error, Terminated) else ("interrupted", 130)
    _fail(f"{word}: everything committed so far is kept; run the same command again to go on", code)


def _fail(message: str, code: int) -> None:
    from searchengine.render import clean

    print(f"searchengine: {clean(message)}", file=sys.stderr)
    _ignore_signals()
    sys.exit(code)


if __name__ == "__main__":
    main()
