import importlib
import sys

import pytest

from keras_rdanet.export.formats import tensorrt


def test_the_former_name_still_works_and_says_the_new_one():
    sys.modules.pop("keras_rdanet.export.tensorrt", None)
    with pytest.warns(DeprecationWarning, match=r"is now keras_rdanet\.export\.formats\.tensorrt"):
        former = importlib.import_module("keras_rdanet.export.tensorrt")
    assert former.write_tensorrt is tensorrt.write_tensorrt
    assert former.Profile is tensorrt.Profile
