"""`python -m keras_rdanet` is the `keras-rdanet` command."""

from keras_rdanet.cli.main import main

main()
