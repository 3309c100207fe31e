"""Options that several verbs take."""

import click

from keras_rdanet.tasks import registry

trust_model = click.option(
    "--trust-model",
    is_flag=True,
    help="Open an exported file whatever operations it holds; only for files of people you trust, "
    "as it is a program.",
)


class TaskName(click.Choice):
    """The identifier of a task; names of version 0.1.0 are understood, too."""

    def __init__(self):
        super().__init__(list(registry.TASKS))

    def convert(self, value, param, ctx):
        """Return the identifier."""
        return super().convert(registry.FORMER_NAMES.get(value, value), param, ctx)
