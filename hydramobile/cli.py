"""Run a command so that it ends with a verdict line and one of five exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from hydramobile import interrupts
from hydramobile.errors import ExitCode, HydraError
from hydramobile.hints import hints

if TYPE_CHECKING:
    import typer


# Set by the shell that asks for completions (typer's scripts), for the program `hydra-mobile`.
COMPLETE = "_HYDRA_MOBILE_COMPLETE"
# The program's name in help texts: "hydra-mobile" where its console script started this command.
PROGRAM = "HYDRA_MOBILE_PROGRAM"
# The exit code of a command that SIGPIPE ended, as shells have it.
READER_GONE = 128 + signal.SIGPIPE


def run(app: typer.Typer) -> NoReturn:
    """Run a typer application and exit with a code of `ExitCode`.

    The last line printed is `verdict: <code> <reason>`. With `--json` it goes to stderr, so that stdout holds nothing
    but JSON. A command returns a string, the reason of its pass, or None. An unexpected exception exits with 3 and
    prints its traceback, unless it is an OSError. Ctrl-C and SIGTERM exit with 130 and 143 (hydramobile/interrupts.py).
    """
    interrupts.install()
    code: int = ExitCode.PASSED
    reason = "passed"
    try:
        if COMPLETE in os.environ:
            from typer.completion import get_completion_inspect_parameters

            get_completion_inspect_parameters()  # registers typer's shells, whose scripts ask
        result = app(standalone_mode=False, prog_name=os.environ.get(PROGRAM), complete_var=COMPLETE)
        if isinstance(result, str):
            reason = result
        elif isinstance(result, int) and result:
            # click returns the code of a typer.Exit (--help is 0) instead of raising it.
            code, reason = result, "interrupted" if interrupts.STATE.number else "stopped"
    except HydraError as error:
        code, reason = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, reason = interrupts.exit_code(), "interrupted"
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, BrokenPipeError):
            raise
        # click exits with 1 where the reader of stdout has gone (head, less); here 1 means a broken budget.
        code, reason = READER_GONE, "the reader of the output has gone"
    except OSError as error:
        # A folder that cannot be written, a full disk: the system's message and the path say enough.
        code, reason = ExitCode.STAGE, f"{type(error).__name__}: {error.strerror or error}: {error.filename or ''}"
    except Exception as error:  # noqa: BLE001  the outermost frame: everything unexpected becomes exit code 3, never 1
        shown = getattr(error, "format_message", None)
        if shown is not None:
            code, reason = ExitCode.USAGE, str(shown())
        elif type(error).__name__ == "Abort":
            code, reason = interrupts.exit_code(), "interrupted"
        else:
            traceback.print_exc()
            code, reason = ExitCode.STAGE, f"unexpected {type(error).__name__}: {error}"
    if reason == "interrupted":
        code = interrupts.exit_code()
    stream = sys.stderr if "--json" in sys.argv else sys.stdout
    try:
        sys.stdout.flush()
        print(f"verdict: {int(code)} {hints(' '.join(reason.split()))}", file=stream, flush=True)
    except BrokenPipeError:
        # The reader of the pipe (head, less) has gone. Keep the interpreter from flushing to it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(int(code))
