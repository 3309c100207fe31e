"""Add trained weights to the package, and their cost and scores to its catalogue.

    python tools/catalogue.py add RUN --tag awgn --description TEXT --data TEXT --license TEXT
    keras-rdanet evaluate --model NAME --data FOLDER --sigma 25 --json scores.json
    python tools/catalogue.py score scores.json ...
    python tools/catalogue.py readme

RUN is a folder that `keras-rdanet train` has written. Adding weights again drops their
scores, because the file is another one.
"""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import click

from keras_rdanet.cli.models import markdown_table
from keras_rdanet.files import file_sha256, replacing
from keras_rdanet.models import registry
from keras_rdanet.weights import catalogue, store

README = Path(__file__).parents[1] / "README.md"

# Values of a protocol that differ between its measurements: the level, the number of images.
LEVELS = ("sigma", "quality")
MEASURED = {*LEVELS, "images", "images_converted", "degraded_sha256"}

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
target = click.option(
    "--catalogue",
    "folder",
    type=FOLDER,
    default=catalogue.FOLDER,
    help="Folder of catalogue.json and files/; the package's own by default.",
)


@click.group(help=__doc__.split("\n\n")[0])
def main():
    """Choose what to do."""


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--tag", required=True, help="Second part of the name, after the dot, such as awgn.")
@click.option("--description", required=True, help="What the weights are for, as a text.")
@click.option("--data", required=True, help="The training data, as a text.")
@click.option("--license", "license_", required=True, help="The conditions of use, as a text.")
@click.option("--config", required=True, type=FILE, help="The config of the run.")
@click.option("--earlier", type=FOLDER, multiple=True, help="A run that this one started from.")
@click.option("--best", is_flag=True, help="Take best.safetensors instead of the last weights.")
@click.option("--default", is_flag=True, help="The preset's name alone means these weights.")
@target
def add(run, tag, description, data, license_, config, earlier, best, default, folder):
    """Write the weights of a training RUN as float16 into the package, with an entry."""
    trained = run / ("best.safetensors" if best else "weights.safetensors")
    metadata = store.read_metadata(trained)
    name = f"{metadata['preset']}.{tag}"
    file = folder / "files" / f"{name}.safetensors"
    file.parent.mkdir(exist_ok=True)
    kept = {key: metadata[key] for key in ("preset", "overrides", "task")}
    kept |= {"description": description, "license": license_, "training_data": data}
    store.write_tensors(file, store.read_tensors(trained), kept, "float16")
    model = registry.load(file)
    entry = catalogue.Entry(
        preset=metadata["preset"],
        tag=tag,
        overrides=metadata["overrides"],
        task=metadata["task"],
        description=description,
        channels=model.channels,
        default=default,
        file=file.name,
        sha256=file_sha256(file),
        bytes=file.stat().st_size,
        parameters=model.count_params(),
        data=data,
        license=license_,
        config=config.as_posix(),
        cost=_cost([*earlier, run]),
        created=date.today().isoformat(),
    )
    catalogue.add(entry, folder)
    click.echo(f"{name}: {entry.parameters:,} parameters, {entry.bytes:,} bytes, {entry.sha256}")


@main.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@target
def score(files, folder):
    """Copy the scores in the JSON FILES of `keras-rdanet evaluate` into the catalogue.

    Whole images restored once in float32 count; others are left out and said so.
    """
    for file in files:
        measured = json.loads(file.read_text(encoding="utf-8"))
        for result in measured["results"]:
            entry = _scored(result, measured["data"], folder)
            if entry is None:
                click.echo(f"{file}: left out {result['method']}")
                continue
            catalogue.add(entry, folder)
            click.echo(f"{entry.name}: {entry.scores[-1]}")


@main.command()
def readme():
    """Write the table of the models into README.md."""
    text = README.read_text(encoding="utf-8")
    with replacing(README) as temporary:
        temporary.write_text(with_models(text), encoding="utf-8")


def with_models(text: str) -> str:
    """Return the text with the table of the catalogue between its two markers."""
    before, rest = text.split("<!-- models -->\n")
    after = rest[rest.index("<!-- /models -->") :]
    return f"{before}<!-- models -->\n\n{markdown_table(catalogue.list_models())}\n\n{after}"


def _scored(result, data, folder):
    """The entry with one more score; `None` if the result is no plain score of weights."""
    method, protocol = result["method"], result["protocol"]
    plain = (method["tile"], method["self_ensemble"], method["precision"])
    if "sha256" not in method or plain != ("off", False, "float32"):
        return None
    listed = catalogue.list_models(folder)
    entry = next((known for known in listed if known.sha256 == method["sha256"]), None)
    if entry is None:
        raise ValueError(f"The catalogue has no weights with SHA-256 {method['sha256']}.")
    shared = {key: value for key, value in protocol.items() if key not in MEASURED}
    if entry.scores and entry.protocol != shared:
        raise ValueError(f"{entry.name} has scores by another protocol: {entry.protocol}.")
    place = {"data": data, **{key: protocol[key] for key in LEVELS if key in protocol}}
    new = {
        **place,
        "images": protocol["images"],
        "psnr": round(result["mean"]["psnr"], 4),
        "ssim": round(result["mean"]["ssim"], 5),
    }
    kept = [old for old in entry.scores if any(old.get(key) != place[key] for key in place)]
    scores = sorted((*kept, new), key=lambda one: [one["data"], *(one.get(k, 0) for k in LEVELS)])
    return replace(entry, protocol=shared, scores=tuple(scores))


def _cost(runs):
    """Pixels and hours of all runs that led to the weights, and where they ran."""
    reports = [json.loads((run / "report.json").read_text(encoding="utf-8")) for run in runs]
    devices = {json.dumps(report["device"]): report["device"] for report in reports}
    return {
        "pixels": sum(report["pixels"] for report in reports),
        "hours": round(sum(report["hours"] for report in reports), 2),
        "devices": list(devices.values()),
    }


if __name__ == "__main__":
    main()
