"""The verbs of the `keras-rdanet` command."""
