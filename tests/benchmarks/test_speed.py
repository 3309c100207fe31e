from pathlib import Path

import pytest

from keras_rdanet.models import registry

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import speed

    return speed


def test_every_network_is_timed_with_arguments_it_has(speed):
    modules = {registry.network(preset).__module__ for preset in registry.PRESETS}
    assert {registry.network(case.preset).__module__ for case in speed.CASES} == modules
    for case in speed.CASES:
        assert case.overrides.keys() <= registry.network(case.preset).PRESETS[case.preset].keys()
        module = case.torch.split(":")[0]
        assert (BENCHMARKS / "torch_networks" / f"{module}.py").is_file()


def test_the_least_of_all_turns_counts_and_the_first_does_not(speed):
    turns = iter([(0.1, 0.1), (3.0, 7.0), (4.0, 5.0)])
    assert speed.turns(lambda: next(turns), 2) == [3.0, 5.0]
