"""The `keras-rdanet` command: one verb per task, each loaded when it is used."""

import importlib
import io
import sys

import click

from keras_rdanet import __version__
from keras_rdanet.files import one_line

# verb -> (module, function, one line for --help); a literal table, so that
# --help imports no verb.
VERBS = {
    "restore": ("keras_rdanet.cli.restore", "restore", "Restore a picture or a folder."),
    "train": ("keras_rdanet.cli.train", "train", "Train a network from a config."),
    "evaluate": ("keras_rdanet.cli.evaluate", "evaluate", "Score a model on a test set."),
    "submit": ("keras_rdanet.cli.submit", "submit", "Write files for benchmark servers."),
    "data": ("keras_rdanet.cli.data", "data", "Check and pack training images."),
    "export": ("keras_rdanet.cli.export", "export", "Write files for servers and phones."),
    "convert": ("keras_rdanet.cli.convert", "convert", "Convert weights of PyTorch code."),
    "models": ("keras_rdanet.cli.models", "models", "List the shipped weights and their licenses."),
}


class _Verbs(click.Group):
    def list_commands(self, ctx):
        return list(VERBS)

    def get_command(self, ctx, name):
        if name not in VERBS:
            return None
        module, function, _ = VERBS[name]
        return getattr(importlib.import_module(module), function)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nkeras-rdanet: stopped", err=True)
            ctx.exit(130)

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in VERBS.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def command():
    """Restore pictures with Keras 3 networks; train, measure and export them."""


def main():
    """Run the command: exit 0 when done, 1 when a run failed, 2 on bad usage, 130 on Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not suit the terminal
            stream.reconfigure(errors="backslashreplace")
    try:
        command(prog_name="keras-rdanet")
    except ModuleNotFoundError as error:
        _fail(f'{error.name} is not installed; pip install "keras-rdanet[train]" brings it')
    except (ValueError, ImportError, OSError) as error:
        _fail(_in_words(error))
    except MemoryError:
        _fail("out of memory; close other programs, or take smaller tiles or a smaller model")


def _in_words(error):
    """The error as text; for a failing system call, the file and the reason without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _fail(reason):
    # One line on stderr: users get the reason, not our stack.
    click.echo(f"keras-rdanet: {one_line(reason)}", err=True)
    sys.exit(1)
