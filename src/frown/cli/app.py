"""The command line: one file a command, which imports what it needs when it runs. No help page imports torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError

import frown
from frown.cli.compare import compare
from frown.cli.config import config
from frown.cli.doctor import doctor
from frown.cli.eval import evaluate
from frown.cli.export import export
from frown.cli.grade import grade
from frown.cli.import_ import import_
from frown.cli.layers import layers
from frown.cli.look import look
from frown.cli.methods import methods
from frown.cli.names import renamed_flag
from frown.cli.probe import probe
from frown.cli.read import read
from frown.cli.report import report
from frown.cli.train import train
from frown.errors import Elsewhere, FrownError, whole
from frown.runtime.threads import wait_asleep

VERBOSE = "--verbose"

app = App(
    name="frown",
    help="Emotion-augmented self-distillation: post-train a language model on what it was unsure about.",
    help_epilogue="Every command takes --verbose: what libraries say of an error is then given whole.",
    version=frown.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says where things stand
)

COMMANDS: dict[str, Callable[..., object]] = {
    "train": train,
    "compare": compare,
    "eval": evaluate,
    "probe": probe,
    "read": read,
    "layers": layers,
    "look": look,
    "report": report,
    "grade": grade,
    "import": import_,
    "export": export,
    "methods": methods,
    "config": config,
    "doctor": doctor,
}
"""Every command in the order of the help page, but for `recipe`: it imports what other packages bring, and is imported
when it is asked for."""

for _place, (_name, _command) in enumerate(COMMANDS.items()):
    app.command(_command, name=_name, sort_key=_place)
app.command("frown.cli.recipe:recipe", name="recipe", help="Run the experiments of a recipe.", sort_key=len(COMMANDS))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. A mistake is one line on standard error and status 2; Ctrl-C is status 130.

    With `--verbose`, anywhere on the line, what the libraries underneath said stands before it, whole.
    """
    wait_asleep()
    words, verbose = _without_verbose(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(" ".join(str(error).split()) + renamed_flag(error))
    except Elsewhere:
        sys.exit(2)
    except FrownError as error:
        if verbose:
            print(whole(error), file=sys.stderr)
        _fail(str(error))
    except KeyboardInterrupt:
        print(
            "frown: stopped; what was reached is in the run directory, where there is one. To go on, give the same "
            "command, with --resume if it trains one model",
            file=sys.stderr,
        )
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _without_verbose(words: Sequence[str]) -> tuple[list[str], bool]:
    """The words without --verbose, and whether it was among them; what stands behind "--" is left alone."""
    words = list(words)
    end = words.index("--") if "--" in words else len(words)
    return [*(w for w in words[:end] if w != VERBOSE), *words[end:]], VERBOSE in words[:end]


def _fail(message: str) -> None:
    print(f"frown: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
