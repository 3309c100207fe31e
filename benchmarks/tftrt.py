"""Parity and speed of TF-TRT against the SavedModel it was made from, on a machine with a GPU.

Runs where TF-TRT runs (see `docker/tftrt.Dockerfile`), so it needs TensorFlow and NumPy only:

    python benchmarks/tftrt.py SAVED_MODEL --data IMAGES --sigma 25
"""

import argparse
import importlib.util
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def load_tftrt():
    """`export/tftrt.py` by its path: the package is not installed where TF-TRT runs."""
    specification = importlib.util.spec_from_file_location("tftrt", ROOT / "export" / "tftrt.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def read_tiles(folder: Path, side: int, channels: int, sigma: float) -> tuple:
    """The middle of every PNG and JPEG as `(N, side, side, C)`: noisy, and clean.

    Raises:
        ValueError: if no picture is large enough.
    """
    import tensorflow as tf

    clean = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in {".png", ".jpg", ".jpeg"}:
            image = tf.io.decode_image(tf.io.read_file(str(file)), channels).numpy()
            top, left = ((size - side) // 2 for size in image.shape[:2])
            if min(top, left) >= 0:
                clean.append(image[top : top + side, left : left + side] / np.float32(255))
    if not clean:
        raise ValueError(f"{folder} has no PNG or JPEG of at least {side}x{side} pixels.")
    target = np.stack(clean)
    noise = np.random.default_rng(0).normal(0, sigma / 255, target.shape)
    return (target + noise).astype(np.float32), target


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB of images in `[0, 1]`."""
    return float(-10 * np.log10(np.mean((np.clip(a, 0, 1) - b) ** 2)))


def measure(folder: Path, tiles: np.ndarray, repeats: int) -> tuple[np.ndarray, float]:
    """Restore tiles one by one with a SavedModel; the results, and the median seconds of a tile."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures["serving_default"]
    inputs = [tf.constant(tile[None]) for tile in tiles]
    restored = np.concatenate([serve(degraded=tile)["restored"].numpy() for tile in inputs])
    times = []
    for i in range(repeats):
        started = time.perf_counter()
        serve(degraded=inputs[i % len(inputs)])["restored"].numpy()
        times.append(time.perf_counter() - started)
    return restored, float(np.median(times))


def benchmark(options: argparse.Namespace) -> list[dict]:
    """One row for TensorFlow, and one for each precision of TF-TRT.

    Raises:
        ImportError: if TF-TRT cannot run here.
        ValueError: if the data or the sizes do not suit the network.
    """
    tftrt = load_tftrt()
    reason = tftrt.missing()
    if reason:
        raise ImportError(reason)
    channels = tftrt.read_network(options.saved_model)["channels"]
    noisy, clean = read_tiles(options.data, options.tile, channels, options.sigma)
    size = (1, options.tile, options.tile)
    profile = tftrt.Profile(size, size, size)
    reference, seconds = measure(options.saved_model, noisy, options.repeats)
    rows = [row("TensorFlow", reference, reference, clean, seconds, seconds)]
    for precision in tftrt.PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "converted"
            found = tftrt.convert(
                options.saved_model,
                output,
                precision=precision,
                profile=profile,
                calibration=noisy[:, None] if precision == "INT8" else None,
            )
            restored, own = measure(output, noisy, options.repeats)
        counts = {"engines": found["engines"], "share": round(found["share"], 4)}
        rows.append(row(f"TF-TRT {precision}", restored, reference, clean, own, seconds) | counts)
    return rows


def row(name, restored, reference, clean, seconds, baseline) -> dict:
    """A line of the table; the speed is relative to TensorFlow in the same run."""
    same = np.array_equal(restored, reference)
    return {
        "what": name,
        "PSNR in dB": round(psnr(restored, clean), 3),
        "largest difference": float(np.abs(restored - reference).max()),
        "PSNR to TensorFlow": None if same else round(psnr(restored, np.clip(reference, 0, 1)), 2),
        "milliseconds": round(1000 * seconds, 2),
        "speed": round(baseline / seconds, 2),
    }


def write(rows: list[dict], options: argparse.Namespace, folder: Path) -> None:
    """Write `tftrt.json` and `tftrt.md`."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    device = {
        "gpus": [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus],
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) for key, value in vars(options).items()}
    content = {"device": device, "settings": settings, "rows": rows}
    (folder / "tftrt.json").write_text(json.dumps(content, indent=1) + "\n")
    names = list(rows[-1])
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(str(line.get(name, "")) for name in names) for line in rows]
    table = "\n".join(f"| {line} |" for line in lines)
    text = f"# TF-TRT beside TensorFlow\n\n{table}\n\nOn {device}, with {settings}.\n"
    (folder / "tftrt.md").write_text(text)


def main() -> None:
    """Measure and write; where TF-TRT is missing, say so in one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("saved_model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of clean pictures")
    parser.add_argument(
        "--sigma", type=float, default=25, help="noise level, in gray levels of 255"
    )
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    try:
        rows = benchmark(options)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"tftrt: {error}")
    write(rows, options, options.output)
    print((options.output / "tftrt.md").read_text())


if __name__ == "__main__":
    main()
