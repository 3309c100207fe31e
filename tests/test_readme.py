import re
from pathlib import Path

from benchmarks.catalogue import with_models
from keras_rdanet.cli.main import VERBS, command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_table_of_models_is_that_of_the_catalogue():
    assert with_models(README) == README  # else: python benchmarks/catalogue.py readme


def test_commands_have_verbs_and_options_that_exist():
    lines = re.findall(r"^(?:    )?(?:keras-rdanet .*|    --.*)$", README, re.MULTILINE)
    assert len(lines) > 8
    pages = README + (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s+", "", pages)
    for verb, arguments in re.findall(r"^keras-rdanet (\S+) ?([^#\n]*)", joined, re.MULTILINE):
        assert verb in VERBS
        entry = command.get_command(None, verb)
        if hasattr(entry, "commands"):
            entry = entry.get_command(None, arguments.split()[0])
        known = {option for parameter in entry.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", arguments)) <= known


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
