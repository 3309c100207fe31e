"""The promises of docs/architecture.md: what is packaged and which way imports point."""

import ast
import configparser
import graphlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {  # folder -> package
    "keras_rdanet": "keras_rdanet",
    "training": "keras_rdanet.training",
    "export": "keras_rdanet.export",
}
SCRIPTS = ("acceptance", "benchmarks", "examples", "tools")
# Folders are in several places of the order where their modules are: the longest name counts.
ORDER = [
    {"files", "hdf5", "image", "ownership", "profiling", "progress"},
    {"layers", "losses", "metrics", "keras_metrics", "weights.origin"}
    | {
        f"inference.{name}" for name in ("image_function", "tiling", "self_ensemble", "noise_level")
    },
    {"tasks", "runtimes", "weights", "degradations"},
    {"models", "data", "config"},
    {"inference"},
    {"evaluation"},
    {"training", "export"},
    {"api", "cli", "registration", "__main__"},
]
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}


def modules():
    """Every module of the package, dotted name -> file."""
    found = {}
    for folder, package in SOURCES.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            inner = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *inner]).removesuffix(".__init__")] = file
    return found


def imported(source):
    """Absolute names of all that `source` imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def part_of(name):
    """`keras_rdanet.cli.main` -> `cli`; None outside the parts, such as `__version__`."""
    names = name.split(".")
    if names[0] != "keras_rdanet":
        return None
    return next((p for p in (".".join(names[1:3]), *names[1:2]) if p in RANK), None)


def edges():
    """Pairs of parts (importing, imported), with the module that does it."""
    for module, file in modules().items():
        for name in imported(file.read_text(encoding="utf-8")):
            source, target = part_of(module), part_of(name)
            if source and target and source != target:
                yield source, target, module


def run(code, *, blocked=()):
    """What `code` leaves in `sys.modules` in a fresh interpreter without the `blocked`."""
    lines = ["import json, sys", f"sys.modules.update(dict.fromkeys({list(blocked)!r}))", code]
    lines.append("print(json.dumps(sorted(k for k, v in sys.modules.items() if v)))")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_packages_in_setup_cfg_are_the_folders_on_disk():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    on_disk = {
        ".".join([package, *file.parent.relative_to(ROOT / folder).parts])
        for folder, package in SOURCES.items()
        for file in (ROOT / folder).rglob("*.py")
    }
    assert listed == sorted(on_disk)


def test_every_package_folder_has_an_init():
    for name, file in modules().items():
        assert (file.parent / "__init__.py").is_file(), name


def test_every_module_belongs_to_a_part():
    unknown = [name for name in modules() if name != "keras_rdanet" and part_of(name) is None]
    assert unknown == [], "add the part to ORDER here and to docs/architecture.md"


def test_imports_point_one_way():
    wrong = [f"{module} imports {b}" for a, b, module in edges() if RANK[b] > RANK[a]]
    assert wrong == []


def test_no_part_on_the_right_is_named_as_text():
    """Such as `import_module("keras_rdanet.cli.main")`, which no scan of imports would see."""
    name = re.compile(r"keras_rdanet(?:\.\w+)+(?::\w+)?")
    texts = [
        (module, node.value.partition(":")[0])
        for module, file in modules().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if part_of(module) and name.fullmatch(node.value)
    ]
    assert any(module == "keras_rdanet.models.registry" for module, _ in texts)
    known = [(module, text, part_of(text)) for module, text in texts if part_of(text)]
    assert [m for m, _, part in known if RANK[part] > RANK[part_of(m)]] == []


def test_parts_of_one_rank_form_no_cycle():
    graph: dict[str, set[str]] = {}
    for source, target, _ in edges():
        graph.setdefault(source, set()).add(target)
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the parts


def test_training_and_export_never_meet():
    assert [m for a, b, m in edges() if {a, b} == {"training", "export"}] == []


@pytest.mark.parametrize(
    "folder", [*SOURCES, "tests", "acceptance", "tools", "benchmarks", "examples"]
)
def test_imports_are_absolute_and_make_no_second_copy(folder):
    for file in (ROOT / folder).rglob("*.py"):
        for name in imported(file.read_text(encoding="utf-8")):
            assert name.split(".")[0] not in {"", "training", "export"}, f"{file} imports {name}"


def test_the_scan_sees_imports_inside_functions_and_of_packages():
    source = "def f():\n    from keras_rdanet import cli\n    import keras_rdanet.data.pipeline\n"
    assert {part_of(name) for name in imported(source)} == {"cli", "data"}
    assert list(imported("from . import x\nfrom .y import z")) == ["..x", ".y.z"]


HEAVY = {"tensorflow", "keras", "jax", "torch", "cv2", "scipy", "skimage", "PIL", "numpy"}


def test_importing_the_package_is_light():
    assert run("import keras_rdanet") & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_asking_the_command_for_help_is_light(arguments):
    code = (
        f"sys.argv = ['keras-rdanet', *{arguments}]\n"
        "from keras_rdanet.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0"
    )
    assert run(code) & HEAVY == set()


def test_verbs_load_no_framework_until_they_run():
    names = [name for name in modules() if part_of(name) == "cli"]
    assert run("import " + ", ".join(names)) & {"tensorflow", "keras", "jax", "torch"} == set()


def test_pictures_and_inference_need_no_framework():
    names = [
        name
        for name in modules()
        if name.split(".")[1:2] in (["image"], ["inference"], ["config"], ["runtimes"], ["tasks"])
    ]
    run("import " + ", ".join(names), blocked=["tensorflow", "keras", "jax", "safetensors"])


def test_no_file_names_a_place_on_somebodys_machine():
    machine = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w")
    folders = [*SOURCES, *SCRIPTS, "configs", "docs"]
    suffixes = {".py", ".md", ".yaml", ".json", ".txt", ".cfg", ".toml"}
    files = [file for folder in folders for file in (ROOT / folder).rglob("*")]
    files += [file for file in ROOT.glob("*") if file.is_file()]
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in files
        if file.suffix in suffixes
        for line in file.read_text(encoding="utf-8").splitlines()
        if machine.search(line)
    ]
    assert found == []


# An entry of a docstring is a phrase with a noun: "height: Height of the image, in pixels."
NO_NOUN = re.compile(r"\s+[*\w, ]+: (?:Of |In pixels|The same\.|As in )")


@pytest.mark.parametrize("folder", [*SOURCES, *SCRIPTS])
def test_entries_of_docstrings_are_whole_phrases(folder):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [
        f"{file.name}: {line.strip()}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, documented)
        for line in (ast.get_docstring(node, clean=False) or "").splitlines()
        if NO_NOUN.match(line)
    ]
    assert found == []


# Former word -> the word for it, and the folders where it must not come back. Version 0.1.0 wrote
# "terms" and "audit" into files, which are still read; channels and positions have gates.
EVERYWHERE = (*SOURCES, *SCRIPTS, "configs")
FORMER_WORDS = {
    r"\bproves?\b|\bproven\b|\bproved\b": ("verify", EVERYWHERE),
    r"\bSubject\b": ("ExportJob", EVERYWHERE),
    r"\bMixture\b": ("MixedPrecision", EVERYWHERE),
    r"patholog": ("stress tests", EVERYWHERE),
    r"\bpatience\b": ("time_budget", EVERYWHERE),
    r"\bcompanions?\b": ("sidecars", EVERYWHERE),
    r"\bcoverage\b": ("percentile", ("export",)),
    r"\bobserved?\b": ("calibrate", ("export",)),
    r"\baudit\b": ("delegate support", ("export", "keras_rdanet")),
    r"\bterms\b": ("license", ("export", "training", "tools")),
    r"\bGATES\b|\bGate\b|\bits gates?\b": ("tolerance", EVERYWHERE),
    r"\b[Tt]he rates?\b|\blower rate\b|\brate=": ("learning rate", ("training", "configs")),
}


@pytest.mark.parametrize("pattern", FORMER_WORDS)
def test_former_words_do_not_come_back(pattern):
    word, folders = FORMER_WORDS[pattern]
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*"))
        if file.suffix in {".py", ".yaml"}
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(pattern, line)
    ]
    assert found == [], f"say {word}"
