import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
from keras_rdanet.cli.startup import quiet

with quiet():
    os.write(2, b"chatter\\n")
    {failure}
os.write(2, b"after\\n")
"""


def stderr_of(failure, **environment):
    command = [sys.executable, "-c", SCRIPT.format(failure=failure)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment).stderr


def test_chatter_of_a_good_start_is_hidden():
    assert stderr_of("pass") == "after\n"


def test_chatter_is_shown_on_request():
    assert stderr_of("pass", TF_CPP_MIN_LOG_LEVEL="0") == "chatter\nafter\n"


@pytest.mark.parametrize(("error", "shown"), [("SystemError", True), ("ValueError", False)])
def test_chatter_is_shown_when_the_start_breaks_down(error, shown):
    assert ("chatter" in stderr_of(f"raise {error}('broken')")) == shown
