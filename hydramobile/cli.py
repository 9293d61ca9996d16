"""How every command ends: a verdict line, and one of five exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from hydramobile.errors import ExitCode, HydraError

if TYPE_CHECKING:
    import typer


def run(app: typer.Typer) -> NoReturn:
    """Run a typer application and exit with a code of `ExitCode`.

    The last line printed is `verdict: <code> <reason>`; with `--json` it goes to stderr, so that stdout is JSON
    alone. A command may return a string (the reason of its pass) or None. Unexpected exceptions exit 3, with
    their traceback unless they are the system's (OSError).
    """
    code, reason = ExitCode.PASSED, "passed"
    try:
        result = app(standalone_mode=False)
        if isinstance(result, str):
            reason = result
        elif isinstance(result, int) and result:
            # click returns the code of a typer.Exit (--help is 0) instead of raising it.
            code, reason = ExitCode(result), "stopped"
    except HydraError as error:
        code, reason = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, reason = ExitCode.STAGE, "interrupted"
    except OSError as error:
        # A folder that cannot be written, a full disk: the system's own words and the path say it all.
        code, reason = ExitCode.STAGE, f"{type(error).__name__}: {error.strerror or error}: {error.filename or ''}"
    except Exception as error:  # noqa: BLE001  the outermost frame: everything unexpected becomes exit code 3, never 1
        shown = getattr(error, "format_message", None)
        if shown is not None:
            code, reason = ExitCode.USAGE, str(shown())
        elif type(error).__name__ == "Abort":
            code, reason = ExitCode.STAGE, "interrupted"
        else:
            traceback.print_exc()
            code, reason = ExitCode.STAGE, f"unexpected {type(error).__name__}: {error}"
    stream = sys.stderr if "--json" in sys.argv else sys.stdout
    try:
        sys.stdout.flush()
        print(f"verdict: {int(code)} {' '.join(reason.split())}", file=stream, flush=True)
    except BrokenPipeError:
        # The reader (head, less) has gone: nobody is left to tell. Keep the interpreter from trying again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(int(code))
