import os

# Workers run at the same time: without a limit each of them takes every core.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    # Before any fixture: networks with random weights are the same in every run.
    keras.utils.set_random_seed(0)
