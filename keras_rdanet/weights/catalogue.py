"""The weights that ship with the package: where they came from and what they reach.

`catalogue.json` beside this file is written by `tools/catalogue.py`
from the training config and the output of `keras-rdanet evaluate`.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path, PurePosixPath, PureWindowsPath

from keras_rdanet.files import file_sha256, read_json, reading, write_text
from keras_rdanet.weights import store
from keras_rdanet.weights.origin import Origin

FOLDER = Path(str(resources.files("keras_rdanet.weights")))

# The default model: the family whose gray or RGB network restores if none is named.
DEFAULT = "tsp_rdanet_tiny"


@dataclass(frozen=True)
class Entry:
    """One set of trained weights.

    Args:
        preset: Name of the network's configuration.
        tag: Name of the training task and data in short, `"awgn"` for example.
        task: Task of the weights, an identifier of `keras_rdanet.tasks.registry`.
        description: Description of the weights in words, with their range.
        channels: Number of channels, `1` for gray, `3` for RGB.
        default: Whether the preset's name alone means these weights.
        file: Name of the file in the folder `files`.
        sha256, bytes: Hash of the file, in hexadecimal, and its size in bytes.
        parameters: Number of values that the file holds.
        data: Training data, in words.
        license: Conditions under which the weights may be used; they follow the data.
        config: The training config, relative to the source tree.
        cost: Cost of the training: pixels seen, hours, devices.
        overrides: Constructor arguments that differ from the preset.
        protocol: Description of how the scores were measured.
        scores: Scores, one dict for each test set and level: `"data"`, `"sigma"` or `"quality"` if
            the task has levels, `"images"`, `"psnr"` in dB and `"ssim"`.
        created: Date of the entry, `YYYY-MM-DD`.
    """

    preset: str
    tag: str
    task: str | None
    description: str
    channels: int
    default: bool
    file: str
    sha256: str
    bytes: int
    parameters: int
    data: str
    license: str
    config: str
    created: str
    cost: dict = field(default_factory=dict)
    overrides: dict = field(default_factory=dict)
    protocol: dict = field(default_factory=dict)
    scores: tuple[dict, ...] = ()

    @property
    def name(self) -> str:
        """`PRESET.TAG`, which never changes its meaning."""
        return f"{self.preset}.{self.tag}"

    @property
    def origin(self) -> Origin:
        """The origin of a model with these weights."""
        return Origin(
            preset=self.preset,
            overrides=self.overrides,
            weights=self.name,
            sha256=self.sha256,
            task=self.task,
            description=self.description,
            license=self.license,
            training_data=self.data,
        )


def list_models(folder: Path = FOLDER) -> list[Entry]:
    """All sets of weights that ship with the package, in the order of the catalogue.

    Args:
        folder: Folder of `catalogue.json` and `files`.

    Raises:
        ValueError: if the catalogue is damaged.
        OSError: if it cannot be read.
    """
    file = folder / "catalogue.json"
    with reading(file, "a catalogue of this version"):
        listed = read_json(file)["weights"]
        return [
            Entry(**{**_current(fields), "scores": tuple(fields["scores"])}) for fields in listed
        ]


def _current(fields: dict) -> dict:
    """The fields of an entry under the names of this version."""
    fields = dict(fields)
    if "terms" in fields:
        fields["license"] = fields.pop("terms")
    return {**fields, **store.told_apart(fields["task"], fields.get("description"))}


def resolve(name: str, folder: Path = FOLDER) -> Entry:
    """The weights called `name`; a name without tag means the preset's default weights.

    Raises:
        ValueError: if there are none; lists the known names.
    """
    entry = find(name, folder)
    if entry is None:
        known = ", ".join(one.name for one in list_models(folder)) or "none in this version"
        raise ValueError(f"No weights called {name!r} ship with the package; known: {known}.")
    return entry


def find(name: str, folder: Path = FOLDER) -> Entry | None:
    """As `resolve`, but `None` if there are no such weights."""
    for entry in list_models(folder):
        if name == entry.name or (name == entry.preset and entry.default):
            return entry
    return None


def path(entry: Entry, folder: Path = FOLDER) -> Path:
    """The path of the weights file of an entry.

    Raises:
        ValueError: if that would be outside the folder `files`.
    """
    plain = PurePosixPath(entry.file).name == PureWindowsPath(entry.file).name == entry.file
    if not plain or ":" in entry.file or not entry.file.endswith(".safetensors"):
        raise ValueError(f"The catalogue names {entry.file!r}, which is not a file in its folder.")
    return folder / "files" / entry.file


def load_weights(model, entry: Entry, folder: Path = FOLDER) -> None:
    """Set the weights of a network that an entry is of, and its `origin`.

    Raises:
        ValueError: if the file was changed, or does not fit the network.
        OSError: if it cannot be read.
    """
    store.load_weights(model, path(entry, folder), sha256=entry.sha256)
    model.origin = entry.origin


def origin_of(file: str | Path) -> Origin:
    """The origin of a `.safetensors` file; for a copy of a shipped file, that of the catalogue.

    Raises:
        ValueError: if the file was not written by `store.save_weights`.
        OSError: if it cannot be read.
    """
    metadata = store.read_metadata(file)
    name, sha256 = Path(file).name, file_sha256(file)
    for entry in list_models():
        if entry.sha256 == sha256:
            return replace(entry.origin, weights=name)
    return Origin(
        preset=metadata["preset"],
        overrides=metadata["overrides"],
        weights=name,
        sha256=sha256,
        task=metadata["task"],
        description=metadata["description"],
        license=metadata.get("license"),
        training_data=metadata.get("training_data"),
    )


def verify(entry: Entry, folder: Path = FOLDER) -> None:
    """Check the file of an entry against its recorded hash.

    Raises:
        ValueError: if the file was changed.
        OSError: if it cannot be read.
    """
    found = file_sha256(path(entry, folder))
    if found != entry.sha256:
        raise ValueError(
            f"{path(entry, folder)} is damaged: its SHA-256 is {found}, expected {entry.sha256}. "
            "Install the package again."
        )


def add(entry: Entry, folder: Path = FOLDER) -> None:
    """Write an entry into the catalogue, in place of one of the same name.

    Raises:
        ValueError: if the file does not have the hash of the entry, or another
            set of weights is already the preset's default.
    """
    verify(entry, folder)
    others = [known for known in list_models(folder) if known.name != entry.name]
    rivals = [known.name for known in others if known.preset == entry.preset and known.default]
    if entry.default and rivals:
        raise ValueError(f"{rivals[0]} is already the default of {entry.preset}.")
    entries = sorted([*others, entry], key=lambda known: known.name)
    text = json.dumps({"weights": [asdict(known) for known in entries]}, indent=2)
    write_text(folder / "catalogue.json", f"{text}\n")
