"""Write docs/networks.md: whether every network trains, resumes, scores and restores on its tasks.

    python acceptance/networks.py TRAIN HELD_OUT [--golden FOLDER] [--only networks/task]...

TRAIN and HELD_OUT are folders of clean color images, none in both. Every config under
configs/ is run for a few steps with a small network: killed after its first checkpoint,
resumed, scored on crops of HELD_OUT and used on a photo of odd size. What is done is kept in
runs/networks and not done again. Writes results/networks.json too; exits 1 if a cell is red.
"""

import contextlib
import csv
import functools
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import yaml
from tqdm import tqdm

from keras_rdanet.config import load_config
from keras_rdanet.evaluation.report import describe_environment, markdown_table, write_results
from keras_rdanet.files import write_json, write_text
from keras_rdanet.image.io import Picture, probe_size, read_picture, to_samples, write_picture
from keras_rdanet.profiling import environment

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = Path(__file__).parent / "results"
RUNS = ROOT / "runs" / "networks"
CHECKS = ("config", "parameters", "train", "resume", "evaluate", "restore", "tiling")
CROP, TILE, PHOTO = 96, 64, (133, 107)

# Parameters of the published code or paper; the other presets have no published count.
PARAMETERS = {
    "tsp_rdanet_gray": 2_845_924,
    "tsp_rdanet_rgb": 2_848_228,
    "rdn_cifar": 114_883,
    "rdn_gray": 21_973_377,
    "rdn_rgb": 21_975_683,
    "mprnet_denoise": 15_741_025,
    "mprnet_deblur": 20_127_073,
    "mprnet_derain": 3_637_249,
    "panet_gray": 5_954_949,
    "panet_rgb": 5_957_255,
    "pa_edsr_x2": 40_811_846,
    "pa_edsr_x3": 43_762_246,
    "pa_edsr_x4": 43_172_166,
}
# The paper of DANet rounds to thousands, and does not state some widths, which are ours.
ABOUT = {"danet_gray": 23_481_000, "danet_s_gray": 15_940_000}
# Network -> beginnings of the names of its golden files and those of its operators.
GOLDEN = {
    "tsp_rdanet": ("tsp_rdanet",),
    "rdn": ("rdn",),
    "mprnet": ("mprnet",),
    "danet": ("danet", "adeb", "arob", "deform_conv2d", "haar"),
    "panet": ("panet", "paedsr", "pyramid_attention", "bicubic_resize", "chop"),
}
NOTES = f"""\
Every row is a real run of `keras-rdanet train` on the row's config, made short: the network is the
small one of its class, and the last two columns say how network and run are reduced. Apart from
that, only the learning rate, the folders and the decay of averaged weights are changed. Sets of
pairs (SIDD, GoPro, RealSR, Rain13k) are stand-ins made here, in the folders of the public set.

- **parity**: golden files of the original code that the network and its operators reproduce within
  1e-4 of the range, and the largest error.
- **parameters**: the count of the whole preset, equal to the published count where there is one;
  DANet is within 2 % of its paper.
- **train**: the mean loss of the first and the last part of the run, which goes down.
- **resume**: the run is killed with `kill -9` after its first checkpoint and resumed to its end.
- **evaluate**: `keras-rdanet evaluate` on held-out crops of {CROP}x{CROP}: degraded (of
  super-resolution: bicubic) and restored in dB; the network has to be better.
- **restore**: `keras-rdanet restore --tile {TILE}` of a photo of {PHOTO[1]}x{PHOTO[0]} pixels.
- **tiling**: a `local` network states the radius of its receptive field; for the reduced network
  it equals what the gradient shows. The gradient of `global_pool` and `nonlocal` networks reaches
  the whole tile: only these give other results tile by tile."""


@dataclass(frozen=True)
class Short:
    """The size of a shortened run.

    Args:
        steps: Number of steps of the run.
        patch_size: Height and width of the degraded patches.
        batch_size: Number of patches in a step.
        peak: Highest learning rate.
    """

    steps: int = 240
    patch_size: int = 24
    batch_size: int = 8
    peak: float = 2.0e-3


# The first key that a config's `network/task` begins with is used.
SHORT = {
    "tsp_rdanet/tiny_photo": Short(batch_size=16),
    "tsp_rdanet/": Short(),
    "rdn/jpeg": Short(1200),
    "rdn/x2": Short(4800),
    "rdn/x3": Short(3200),
    "rdn/x": Short(1600),
    "rdn/": Short(400),
    "mprnet/deblur": Short(4000, 64, 2),
    "mprnet/": Short(320, 32, 4),
    "danet/": Short(),
    "panet/x": Short(1600, 16),
    "panet/jpeg": Short(1200, 16),
    "panet/": Short(400, 16),
}
# Arguments of a network that the task of its config decides.
OF_THE_TASK = ("channels", "scale", "predicts_noise")


def short_for(name):
    """The size of the shortened run of a config."""
    return next(short for prefix, short in SHORT.items() if name.startswith(prefix))


def small_overrides(preset):
    """The arguments in which the small network of a preset differs from it."""
    from keras_rdanet.models import registry

    network = registry.network(preset)
    published = network.PRESETS[preset]
    return {
        name: value
        for name, value in network.SMALL.items()
        if name not in OF_THE_TASK and value != published[name]
    }


class Red(Exception):
    """The reason why a check failed."""


def prepare(train, held_out, folder):
    """Write clean crops, stand-ins for sets of pairs, and photos."""
    done = folder / "ready"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for split, source, count, side in (
        ("train", train, 24, 160),
        ("test", held_out, 4, CROP),
    ):
        for i, path in enumerate(sorted(source.iterdir())[:count]):
            samples = read_picture(path).samples
            top, left = ((length - side) // 2 for length in samples.shape[:2])
            write_picture(
                _made(folder / "clean" / split / f"{i:02}.png"),
                Picture(samples[top : top + side, left : left + side]),
            )
        _write_pairs(folder, split)
    photo = read_picture(sorted(held_out.iterdir())[4]).samples[: PHOTO[0], : PHOTO[1]]
    write_picture(folder / "photo3.png", Picture(photo))
    write_picture(folder / "photo1.png", Picture(photo[..., 1:2]))
    rows, columns = np.indices(PHOTO) % 2
    mosaic = np.take_along_axis(photo, (rows + columns)[..., None], axis=2)  # RGGB: 0 1 / 1 2
    write_picture(folder / "mosaic.png", Picture(mosaic))
    done.touch()


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_pairs(folder, split):
    """Degrade the clean crops of a split and write them as the public sets are arranged."""
    from keras_rdanet.data import sources
    from keras_rdanet.tasks import registry as tasks

    clean = sources.folder(folder / "clean" / split)

    def pairs(task, scale=1):
        (protocol,) = tasks.protocols(task, scale)
        for i, sample in enumerate(protocol.samples(clean, 3)):
            yield i, to_samples(sample.enlarged, np.uint8), sample.target

    layouts = (
        ("camera_noise", 1, "sidd/{s}/Data/{i:04}/{n}_SRGB_010.PNG", ("NOISY", "GT")),
        ("camera_noise", 1, "pairs/{s}/{n}/{i:02}.png", ("noisy", "clean")),
        ("motion_blur", 1, "gopro/{s}/GOPR{i:04}/{n}/000001.png", ("blur", "sharp")),
        ("rain", 1, "rain13k/{s}/{n}/{i}.png", ("input", "target")),
        ("super_resolution", 2, "realsr/{s}/Canon_{i:03}_{n}.png", ("LR2", "HR")),
    )
    for task, scale, pattern, names in layouts:
        for i, *images in pairs(task, scale):
            for name, image in zip(names, images, strict=True):
                path = folder / "sets" / pattern.format(s=split, i=i, n=name)
                write_picture(_made(path), Picture(image))


def settings(config, short, folder, scale):
    """The `--set` arguments that shorten the run of a config and use the folders of `prepare`."""
    data, validation = folder / "clean", config.validation
    images = {"data.train": data / "train"}
    held_out = {"validation.data": data / "test"}
    for options, place, split in ((config.data, images, "train"), (validation, held_out, "test")):
        if options is not None and options.layout:
            name = options.layout.removesuffix("_x2")
            place[next(iter(place))] = folder / "sets" / name / split
    pairs = folder / "sets" / "pairs"
    if config.data.target:
        images = {"data.train": pairs / "train/noisy", "data.target": pairs / "train/clean"}
    if validation is not None and validation.target:
        held_out = {
            "validation.data": pairs / "test/noisy",
            "validation.target": pairs / "test/clean",
        }
    cosine = {"name": "cosine", "peak": short.peak, "minimum": 0.0, "warmup": 20}
    size = short.patch_size * scale
    phase = {"steps": short.steps, "patch_size": size, "batch_size": short.batch_size}
    changes = {
        **images,
        "model.overrides": {**config.model.overrides, **small_overrides(config.model.preset)},
        "data.phases": [phase],
        "data.crops_per_image": 4,
        "schedule": cosine,
        "checkpoint_steps": short.steps // 4,
        "precision": "float32",
        # A decay for a whole run would keep the first weights of a short one in the average.
        "optimizer.ema": min(config.optimizer.ema, 0.9),
    }
    changes |= {f"mix.{i}.train": data / "train" for i in range(len(config.mix))}
    if config.model.teacher:
        changes["model.teacher"] = None
    if config.model.weights or config.model.widen:
        changes["model.weights"] = changes["model.widen"] = None
    if validation is not None:
        changes |= {**held_out, "validation.crop": CROP // 2, "validation.limit": 2}
    return [f"{key}={json.dumps(value, default=str)}" for key, value in changes.items()]


def history(run):
    """Steps and losses so far."""
    path = run / "history.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def cli(*arguments):
    """Run the command in this process; what it prints is returned."""
    from keras_rdanet.cli.main import command

    with contextlib.redirect_stdout(io.StringIO()) as said:
        command([str(argument) for argument in arguments], standalone_mode=False)
    return said.getvalue()


class Row:
    """The checks of one config; each returns the text of a green cell or raises `Red`."""

    def __init__(self, path, folder, run):
        from keras_rdanet.models import registry

        self.path, self.folder, self.run = path, folder, run
        self.name = f"{path.parent.name}/{path.stem}"
        self.short = short_for(self.name)
        self.options = load_config(path)
        self.preset = self.options.model.preset
        network = registry.network(self.preset)
        self.scale = network.PRESETS[self.preset].get("scale", 1)
        changes = settings(self.options, self.short, folder, self.scale)
        self.set = [part for change in changes for part in ("--set", change)]
        self.task = self.options.degradation.name if self.options.degradation else None

    def config(self):
        """The config is valid, unchanged and shortened."""
        load_config(self.path, self.set[1::2])
        return f"{self.options.steps:,} steps"

    @functools.cached_property
    def full(self):
        """The network of the config, not reduced."""
        from keras_rdanet.models import registry

        return registry.build(self.preset, **self.options.model.overrides)

    def parameters(self):
        """The parameters of the preset equal the published count."""
        count = self.full.count_params()
        expected = PARAMETERS.get(self.preset, count)
        about = ABOUT.get(self.preset, count)
        if count != expected or abs(count / about - 1) > 0.02:
            raise Red(f"{count:,} instead of {expected if count != expected else about:,}")
        return f"{count:,}"

    def train(self):
        """Start, kill after the first checkpoint; the loss is judged at the end."""
        shutil.rmtree(self.run, ignore_errors=True)
        line = [sys.executable, "-m", "keras_rdanet", "train", self.path, "-o", self.run, *self.set]
        self.run.parent.mkdir(parents=True, exist_ok=True)
        log = self.run.with_suffix(".log")
        with log.open("w") as errors, subprocess.Popen(line, stderr=errors, text=True) as process:
            while not history(self.run):
                if process.poll() is not None:
                    last = [x for x in log.read_text().splitlines() if "keras-rdanet:" in x][-1:]
                    raise Red(f"ended with {process.returncode}: {' '.join(last)}")
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
        self.killed_at = history(self.run)[-1][0]
        if self.killed_at >= self.short.steps:
            raise Red("ended before it could be killed")
        cli("train", self.path, "-o", self.run, "--resume", *self.set)
        losses = [loss for _, loss in history(self.run)]
        if not (np.isfinite(losses).all() and losses[-1] < losses[0]):
            raise Red(f"loss {losses[0]:.4g} → {losses[-1]:.4g}")
        return f"{losses[0]:.4g} → {losses[-1]:.4g}"

    def resume(self):
        """The killed run has every part once."""
        steps = [step for step, _ in history(self.run)]
        part = self.short.steps // 4
        if steps != [part, 2 * part, 3 * part, 4 * part]:
            raise Red(f"checkpoints at {steps}")
        return f"killed at {self.killed_at} of {self.short.steps}"

    def evaluate(self):
        """Restored beats degraded on held-out crops."""
        scores = self.run / "scores.json"
        options = self.options
        line = ["evaluate", "--model", self.run / "weights.safetensors", "--json", scores]
        if options.data.layout:
            name = options.data.layout.removesuffix("_x2")
            line += [
                "--layout",
                options.data.layout,
                "--data",
                self.folder / "sets" / name / "test",
            ]
        elif options.data.target:
            pairs = self.folder / "sets" / "pairs" / "test"
            line += ["--pairs", pairs / "noisy", pairs / "clean"]
        else:
            line += ["--data", self.folder / "clean" / "test", "--task", self.task, *self._level()]
        cli(*line)
        (result,) = json.loads(scores.read_text())["results"]
        before, after = result["mean"]["psnr_degraded"], result["mean"]["psnr"]
        text = f"{before:.2f} → {after:.2f} dB"
        if not after > before:
            raise Red(text)
        return text

    def _level(self):
        """The level of the degradation of the evaluation."""
        line = []
        for option in ("sigma", "mean", "quality"):
            level = getattr(self.options.degradation, option, None)
            if level is not None:
                level = 25 if isinstance(level, tuple) and option == "sigma" else level
                line += [f"--{option}", level[0] if isinstance(level, tuple) else level]
        return line

    def restore(self):
        """A photo of odd size, by tiles."""
        mosaic = self.task == "bayer_mosaic"
        source = self.folder / ("mosaic.png" if mosaic else f"photo{self.full.channels}.png")
        target = self.run / "restored.png"
        model = self.run / "weights.safetensors"
        pattern = ["--mosaic", "rggb"] if mosaic else []
        start = time.perf_counter()
        cli("restore", source, target, "--model", model, "--tile", TILE, *pattern)
        header = probe_size(target)
        size = (header.height, header.width)
        if size != tuple(self.scale * side for side in PHOTO):
            raise Red(f"the result has {size[1]}x{size[0]} pixels")
        return f"{size[1]}x{size[0]} in {time.perf_counter() - start:.1f} s"

    def tiling(self):
        """The receptive field, by the gradient of one pixel of the result."""
        from keras_rdanet.models import registry

        reduced = registry.load(self.run / "weights.safetensors")
        if self.full.support != "local":
            rows, columns = reach(reduced, 48)
            if not (rows.all() and columns.all()):
                raise Red(f"{self.full.support}, but the gradient does not reach all of 48x48")
            return f"{self.full.support}, reaches all of 48x48"
        side = 2 * (reduced.radius + 3) + 1
        rows, columns = reach(reduced, side)
        found = {abs(np.flatnonzero(line) - side // 2).max() for line in (rows, columns)}
        if found != {reduced.radius}:
            raise Red(f"radius {reduced.radius} stated, {sorted(map(int, found))} measured")
        return f"local, radius {self.full.radius} (small: {reduced.radius} measured)"


def reach(model, side):
    """Rows and columns of a random image that the middle of the result depends on.

    With super-resolution, the middle is all pixels that the middle pixel is enlarged to.
    """
    import tensorflow as tf

    random = np.random.default_rng(0)
    image = tf.constant(random.random((1, side, side, model.channels), np.float32))
    block = slice(side // 2 * model.scale, (side // 2 + 1) * model.scale)
    with tf.GradientTape() as tape:
        tape.watch(image)
        output = model(image)
        restored = output[model.stages[-1]] if model.stages else output
        middle = tf.reduce_sum(restored[:, block, block])
    felt = np.abs(tape.gradient(middle, image).numpy()[0]).sum(-1) > 0
    return felt.any(1), felt.any(0)


def check(path, folder, runs, cells):
    """The cells of one config: name -> whether green, and a text; green `cells` are kept."""
    import keras

    keras.backend.clear_session()
    cells = {name: cell for name, cell in cells.items() if cell[0]}
    if not {"train", "resume"} <= cells.keys():
        cells = {}
    try:
        row = Row(path, folder, runs / path.parent.name / path.stem)
    except ValueError as error:
        return {"config": (False, str(error))}
    for name in CHECKS:
        if name in cells:
            continue
        try:
            cells[name] = (True, getattr(row, name)())
        except Red as reason:
            cells[name] = (False, str(reason))
        except Exception as error:  # any failure belongs in the table
            cells[name] = (False, f"{type(error).__name__}: {error}".splitlines()[0][:200])
            if name == "train":
                break
    return cells


def parity(folder):
    """Network -> its cell, from the golden files of a folder."""
    from parity import check_folder

    checks = list(check_folder(folder))
    cells = {}
    for network, prefixes in GOLDEN.items():
        own = [check for check in checks if check.file.startswith(prefixes)]
        bad = sorted({check.file for check in own if check.status != "ok"})
        files = len({check.file for check in own})
        if bad or not own:
            cells[network] = (False, ", ".join(bad) or "no file")
        else:
            largest = max(check.error for check in own if check.unit == "of range")
            cells[network] = (True, f"{files} files, {largest:.0e}")
    return cells


def key(path, short, inputs):
    """Hash of everything that the result of a row depends on, apart from the code."""
    text = path.read_text(encoding="utf-8") + repr(short) + inputs
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def show(cells, name):
    """A cell of the table."""
    if name not in cells:
        return "🔴 not reached"
    green, text = cells[name]
    return f"{'🟢' if green else '🔴'} {text}"


@click.command()
@click.argument("train", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("held_out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--golden", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--only", multiple=True, help="Run this network/task only; keep the last results of the others."
)
@click.option("--fresh", is_flag=True, help="Run all checks again.")
@click.option("--retry", is_flag=True, help="Run the failed checks again.")
@click.option(
    "--table", is_flag=True, help="Run nothing; only write the table of the results so far."
)
def main(train, held_out, golden, only, fresh, retry, table):
    """Write docs/networks.md."""
    rows = []
    paths = sorted((ROOT / "configs").glob("*/*.yaml"))
    written = _written() if only else {}
    inputs = f"{train.name} {held_out.name}"
    if not table:
        prepare(train, held_out, RUNS / "data")
    for path in tqdm(paths, unit="config"):
        name = f"{path.parent.name}/{path.stem}"
        short = short_for(name)
        if only and name not in only:
            rows.append((path, short, written.get(name, {})))
            continue
        cache = RUNS / "cells" / f"{name.replace('/', '-')}-{key(path, short, inputs)}.json"
        cells = json.loads(cache.read_text()) if cache.exists() and not fresh else {}
        again = retry and not all(cells.get(check, [False])[0] for check in CHECKS)
        if not table and (not cells or again):
            cells = check(path, RUNS / "data", RUNS / "runs", cells)
            write_json(cache, cells)
            tqdm.write(f"{name}: " + "; ".join(show(cells, check) for check in CHECKS))
        rows.append((path, short, cells))
    matches = parity(golden) if golden else {}
    lines, results = [], []
    for path, short, cells in rows:
        preset = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["preset"]
        own = matches.get(path.parent.name)
        cells = {"parity": own, **cells} if own else cells
        checks = (("parity",) if golden or written else ()) + CHECKS
        overrides = " ".join(f"{k}={v}" for k, v in small_overrides(preset).items())
        reduced = f"{short.steps} steps of {short.batch_size} patches of {short.patch_size}²"
        lines.append(
            {
                "config": f"`{path.parent.name}/{path.name}`",
                "network": f"`{preset}`",
                **{check: show(cells, check) for check in checks if check != "config"},
                "valid": show(cells, "config"),
                "run": reduced,
                "small network": overrides,
            }
        )
        results.append({"row": f"{path.parent.name}/{path.stem}", **cells})
    red = [
        f"{row['row']}: {name}: {show(row, name)}"
        for row in results
        for name in ("parity", *CHECKS)
        if show(row, name).startswith("🔴") and (golden or written or name != "parity")
    ]
    click.echo("\n".join(red) or "all green")
    _write(lines, results)
    sys.exit(bool(red))


def _written():
    """Row -> its cells, as the results have them."""
    stored = json.loads((RESULTS / "networks.json").read_text(encoding="utf-8"))["rows"]
    return {row.pop("row"): row for row in stored}


def _write(lines, results):
    command = "python acceptance/networks.py TRAIN HELD_OUT --golden FOLDER"
    write_results(
        "networks",
        results,
        title="Networks and tasks",
        command=command,
        notes=NOTES,
        table=lines,
        folder=RESULTS,
    )
    paragraphs = [
        "# Networks and tasks",
        "Each config of this repository and the result of a short run: green cells have passed.",
        markdown_table(lines).rstrip(),
        NOTES,
        f"Written by `{command}`; {describe_environment(environment())}.",
    ]
    write_text(DOCS / "networks.md", "\n\n".join(paragraphs) + "\n")


if __name__ == "__main__":
    main()
