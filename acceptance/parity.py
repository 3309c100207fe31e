"""Compare our networks and functions with reference outputs of the original code.

    python acceptance/parity.py FOLDER [--record] [--strict]

FOLDER holds `.npz` files. One with a `config` (JSON with `model` and `kwargs`) is a
network or an operator (see `parity_operators.py`): its parameters are
`param/<PyTorch name>`, then come `input`, `output_0`, ... and intermediates
`mid/<name>`, all NCHW. One without holds results of losses, schedules and metrics,
known by their names (see `parity_functions.py`).

Outputs without a counterpart of ours are listed as `unknown`. They fail with `--strict` only,
so that goldens of networks still to be written may lie in the same folder.
"""

import importlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import keras
import numpy as np
from parity_functions import FUNCTIONS, INPUTS
from parity_operators import OPERATORS, attention_arguments, nhwc, parameters

from keras_rdanet.image.geometry import crop, pad_to_multiple
from keras_rdanet.weights.from_torch import from_torch

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-4  # as a share of the range of the reference output


@dataclass(frozen=True)
class Check:
    """One comparison, or the reason why there is none.

    Args:
        file: Name of the golden file.
        output: Name of the array in the file.
        status: `"ok"`, `"failed"` or `"unknown"`.
        error: The largest difference, in `unit`.
        tolerance: The largest error that passes.
        unit: `"of range"` (largest minus smallest reference value),
            `"relative"`, or `"absolute"`.
        note: Why there is no error.
    """

    file: str
    output: str
    status: str
    error: float | None = None
    tolerance: float | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Network:
    """The correspondence of a network of ours with one of the original code.

    Args:
        class_path: `"module:Class"`.
        arguments: Function that turns the `kwargs` of the original into the arguments of our
            constructor.
        stages: Our outputs, in the order of `output_0`, ...; `""` for the one
            of a network without stages, or the path of a layer.
        intermediates: Regular expressions for `mid/` names, and the path of
            the layer whose output it is; the group `call` says at which of
            its calls, counted from 1.
        overrides: Our constructor's arguments for outputs that the original
            made in another way, by the name of the output.
        unused: A regular expression for parameters that the original holds
            but never uses.
        white: The value of white in the original's images, from its `kwargs`;
            ours have 1.
    """

    class_path: str
    arguments: Callable[[dict], dict]
    stages: tuple[str, ...]
    intermediates: tuple[tuple[str, str], ...] = ()
    overrides: dict[str, dict] = field(default_factory=dict)
    unused: str = ""
    white: Callable[[dict], float] = lambda kwargs: 1


def _tsp_rdanet_arguments(kwargs):
    kwargs = {"nc": 64, "bias": True, **kwargs}  # the defaults of the original
    if kwargs["in_nc"] != kwargs["out_nc"]:
        raise ValueError("our TSP-RDANet has as many channels going out as coming in")
    return {
        "filters": kwargs["nc"],
        "channels": kwargs["in_nc"],
        "use_bias": kwargs["bias"],
        "image_residual": False,
    }


def _panet_arguments(kwargs):
    if kwargs["attention"]["channel"] != kwargs["n_feats"]:
        raise ValueError("the attention of our PANet is as wide as its trunk")
    return {
        **attention_arguments(kwargs["attention"]),
        "filters": kwargs["n_feats"],
        "num_blocks": kwargs["n_resblocks"] // 2 * 2,  # the original has half on each side
        "reduction": kwargs["attention"]["reduction"],
        "res_scale": kwargs["res_scale"],
        "resize_mode": "scale_factor",
    }


def _pa_edsr_arguments(kwargs):
    if kwargs["n_colors"] != 3:
        raise ValueError("our PA-EDSR takes RGB images only")
    if kwargs["attention"]["res_scale"] != kwargs["res_scale"]:
        raise ValueError("our PA-EDSR scales blocks and attention alike")
    return {
        **_panet_arguments(kwargs),
        "scale": kwargs["scale"],
        "rgb_range": kwargs["rgb_range"],
    }


def _rdn_arguments(kwargs):
    return {
        "channels": kwargs["num_channels"],
        "filters": kwargs["num_features"],
        "growth_rate": kwargs["growth_rate"],
        "num_blocks": kwargs["num_blocks"],
        "num_layers": kwargs["num_layers"],
        "kernel_size": kwargs.get("kernel_size", 3),  # the default of the original
        "scale": 1,
        "predicts_noise": False,  # the original leaves the subtraction to its caller
    }


def _mprnet_arguments(kwargs):
    # The defaults of the denoising network of the original.
    kwargs = {
        "in_c": 3,
        "out_c": 3,
        "n_feat": 80,
        "scale_unetfeats": 48,
        "scale_orsnetfeats": 32,
        "num_cab": 8,
        "kernel_size": 3,
        "reduction": 4,
        "bias": False,
        **kwargs,
    }
    if kwargs["in_c"] != kwargs["out_c"]:
        raise ValueError("our MPRNet has as many channels going out as coming in")
    return {
        "channels": kwargs["in_c"],
        "filters": kwargs["n_feat"],
        "unet_growth": kwargs["scale_unetfeats"],
        "orsnet_growth": kwargs["scale_orsnetfeats"],
        "num_blocks": kwargs["num_cab"],
        "kernel_size": kwargs["kernel_size"],
        "reduction": kwargs["reduction"],
        "use_bias": kwargs["bias"],
    }


def _mprnet_levels():
    """Intermediates that are lists: ours count the levels from 1, the original from 0."""
    for level in (1, 2, 3):
        yield f"s1_enc_lefttop_{level - 1}", f"stage1_encoder_level{level}_cab1"
        yield f"s2_enc_top_{level - 1}", f"stage2_encoder_level{level}"
        yield rf"s([12])_decin(?:_top)?_{level - 1}", rf"stage\1_join{level}"
        yield rf"s([12])_dec(?:_top)?_{level - 1}", rf"stage\1_decoder_level{level}_cab1"


def _danet_arguments(kwargs):
    return {
        "filters": kwargs["widths"],
        "encoder_blocks": kwargs["enc_depth"],
        "middle_blocks": kwargs["mid_depth"],
        "decoder_blocks": kwargs["dec_depth"],
        "channels": kwargs["in_channels"],
        "state": kwargs["state"],
        "num_convs": kwargs["n_convs"],
        "reduction": kwargs["reduction"],
        "encoder": "adeb",
        "decoder": "adeb",
        "use_arob": True,
        "use_wavelet": True,
    }


NETWORKS = {
    "tsp_rdanet": Network(
        "keras_rdanet.models.tsp_rdanet:TSPRDANet",
        _tsp_rdanet_arguments,
        ("stage1", "stage2"),
        (
            (r"head", "conv_head"),
            (r"head_(sab|cab)", r"\1"),
            (r"head_sab_logit", "sab/conv"),
            (r"head_cab_gate", "cab/excite"),
            (r"(rdab|hdrdab|down)_(?P<call>\d)", r"\1"),
            (r"up_(?P<call>\d)", "pad_to"),
            (r"(rdab|hdrdab)_(?P<call>\d)_dense(\d)", r"\1/conv\3"),
            (r"rdab_(?P<call>\d)_sab_logit", "rdab/sab/conv"),
            (r"hdrdab_(?P<call>\d)_cab_gate", "hdrdab/cab/excite"),
        ),
    ),
    "rdn": Network(
        "keras_rdanet.models.rdn:RDN",
        _rdn_arguments,
        ("",),
        (
            (r"sfe1", "outer_shallow_features"),
            (r"sfe2", "inner_shallow_features"),
            *((f"rdb_{i + 1}", f"residual_dense_blocks_{i}") for i in range(16)),
            (r"gff_1x1", "global_feature_fusion_0"),
            (r"gff", "global_feature_fusion_1"),
        ),
    ),
    "mprnet": Network(
        "keras_rdanet.models.mprnet:MPRNet",
        _mprnet_arguments,
        ("stage3", "stage2", "stage1"),
        (
            (r"s([123])_shallow(?:_lefttop|_top)?", r"shallow_feat\1_1_cab"),
            (r"s2_fused_top", "concat12"),
            (r"s3_fused", "concat23"),
            (r"(sam\d\d)(?:_top)?_0", r"\1"),
            (r"(sam\d\d)(?:_top)?_1", r"\1_image"),
            (r"s3_(orb\d)", r"stage3_orsnet_\1"),
            (r"s3_orsnet", "stage3_orsnet_3"),
            (r"s3_tail", "tail"),
            *_mprnet_levels(),
        ),
    ),
    "panet": Network(
        "keras_rdanet.models.panet:PANet",
        lambda kwargs: {
            **_panet_arguments(kwargs),
            "channels": kwargs["n_colors"],
            "shared_prelu": True,
        },
        ("", "attention", ""),
        overrides={"output_2": {"resize_mode": "size_ratio"}},
        unused=r"(sub|add)_mean\..*",
    ),
    "paedsr": Network(
        "keras_rdanet.models.panet:PAEDSR",
        _pa_edsr_arguments,
        ("", "attention", ""),
        overrides={"output_2": {"resize_mode": "size_ratio"}},
        white=lambda kwargs: kwargs["rgb_range"],
    ),
    "danet": Network("keras_rdanet.models.danet:DANet", _danet_arguments, ("",)),
}


def check_folder(folder: Path) -> Iterator[Check]:
    """Check every `.npz` file of a folder; a damaged one fails, and the rest goes on."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise click.UsageError(f"{folder} holds no .npz files.")
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as golden:
                yield from check_file(file.name, dict(golden))
        except Exception as error:  # any error counts as the failure of this file
            yield Check(file.name, "", "failed", note=f"{type(error).__name__}: {error}")


def check_file(name: str, golden: dict[str, np.ndarray]) -> Iterator[Check]:
    """Check one golden file, given as its arrays."""
    if "config" not in golden:
        yield from _check_functions(name, golden)
        return
    config = json.loads(str(golden["config"]))
    if "output_0" not in golden:
        raise ValueError("holds no outputs")
    if config["model"] in NETWORKS:
        yield from _check_network(name, golden, config, NETWORKS[config["model"]])
    elif config["model"] in OPERATORS:
        yield from _check_operator(name, golden, config)
    else:
        yield Check(name, "", "unknown", note=f"model {config['model']!r}")


def _check_network(name, golden, config, network) -> Iterator[Check]:
    multiple = _multiple(config.get("preprocess", "none"))
    arguments = network.arguments(config["kwargs"])
    white = network.white(config["kwargs"])
    outputs, calls = _run(network, arguments, golden, multiple, white)
    for key in sorted(golden, key=_natural):
        if match := re.fullmatch(r"output_(\d+)", key):
            stage = network.stages[int(match[1])]
            if key in network.overrides:
                changed = arguments | network.overrides[key]
                ours = _run(network, changed, golden, multiple, white)[0][stage]
            else:
                ours = outputs[stage] if stage in outputs else calls[stage][0]
        elif key.startswith("mid/"):
            ours = _intermediate(key.removeprefix("mid/"), network, calls)
            if ours is not None:  # of patches along the batch the first is the reference
                ours = ours[: len(golden[key])]
        else:
            continue
        if ours is None:
            yield Check(name, key, "unknown", note="intermediate")
        else:
            yield compare(name, key, ours, nhwc(golden[key]))


def _multiple(preprocess):
    """The number that the original's input was padded to a multiple of."""
    rule = r"reflect-pad bottom/right to a multiple of (\d+), run, crop back"
    if match := re.fullmatch(rule, preprocess):
        return int(match[1])
    if preprocess != "none":
        raise ValueError(f"no rule for preprocess {preprocess!r}")
    return 1


def _run(network, arguments, golden, multiple, white):
    """The outputs of our network by stage, and what each of its layers returned."""
    module, class_name = network.class_path.split(":")
    model = getattr(importlib.import_module(module), class_name)(**arguments)
    tensors = parameters(golden)
    from_torch(model, {n: t for n, t in tensors.items() if not re.fullmatch(network.unused, n)})
    images, size = pad_to_multiple(nhwc(golden["input"]) / white, multiple)
    outputs, calls = run_and_record(model, images)
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    outputs = {stage: white * images for stage, images in outputs.items()}
    if multiple > 1:
        outputs = {stage: crop(images, size) for stage, images in outputs.items()}
    return outputs, calls


def _check_operator(name, golden, config) -> Iterator[Check]:
    outputs = OPERATORS[config["model"]](golden, config["kwargs"])
    ours = {f"output_{i}": output for i, output in enumerate(outputs)}
    for key in golden:
        if key in ours:
            yield compare(name, key, ours[key], nhwc(golden[key]))
        elif key.startswith("output_"):
            yield Check(name, key, "unknown", note="output")


def run_and_record(model, images):
    """Run a model and note what each of its layers returns, call after call.

    Returns:
        The outputs of the model, and layer path -> list of outputs. Shared
        layers have several, inner layers of a block are included.
    """
    calls = defaultdict(list)

    def recorded(layer):
        call = layer.call

        def recording(*args, **kwargs):
            output = call(*args, **kwargs)
            calls[layer.path].append(output)
            return output

        return recording

    for layer in model._flatten_layers(include_self=False):
        layer.call = recorded(layer)
    return model(images), calls


def _intermediate(name, network, calls):
    for pattern, layer in network.intermediates:
        if match := re.fullmatch(pattern, name):
            call = int(match.groupdict().get("call") or 1) - 1
            return calls[match.expand(layer)][call]
    return None


def _check_functions(name, golden) -> Iterator[Check]:
    for key in golden:
        if re.fullmatch(INPUTS, key):
            continue
        for pattern, function, tolerance, unit in FUNCTIONS:
            if match := re.fullmatch(pattern, key):
                yield compare(
                    name, key, function(golden, *match.groups()), golden[key], tolerance, unit
                )
                break
        else:
            yield Check(name, key, "unknown", note="no function of ours by this name")


def compare(name, output, ours, golden, tolerance=TOLERANCE, unit="of range") -> Check:
    """Compare two arrays; a NaN or another shape fails."""
    ours = np.asarray(keras.ops.convert_to_numpy(ours), np.float64)
    golden = np.asarray(golden, np.float64)
    if ours.shape != golden.shape:
        note = f"shape {ours.shape} instead of {golden.shape}"
        return Check(name, output, "failed", note=note)
    with np.errstate(invalid="ignore"):
        difference = np.where(ours == golden, 0.0, np.abs(ours - golden))  # inf equals inf
    if unit == "of range":
        difference = difference / (np.ptp(golden) or 1.0)
    elif unit == "relative":
        difference = difference / np.abs(golden)
    error = float(difference.max())
    return Check(name, output, "ok" if error <= tolerance else "failed", error, tolerance, unit)


def _natural(key):
    """Sorts `dense8` before `dense10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def _use_exact_float32():
    """Switch off the shortened mantissas that GPUs use for float32 convolutions."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")


def _line(check):
    error = "" if check.error is None else f"{check.error:.1e} {check.unit}"
    return f"{check.status:8} {check.file:45} {check.output:45} {error}{check.note}"


def _record(checks):
    from keras_rdanet.evaluation.report import write_results

    write_results(
        "parity",
        [asdict(check) for check in checks],
        title="Agreement with the original code",
        command="python acceptance/parity.py FOLDER --record",
        settings={"backend": keras.backend.backend()},
        folder=RESULTS,
        notes="`error` is the largest difference from the reference, in `unit`; `of range` "
        "divides it by the largest minus the smallest reference value.",
    )


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--record", is_flag=True, help="Write acceptance/results/parity.{json,md}.")
@click.option("--strict", is_flag=True, help="Fail on unknown models and outputs, too.")
def main(folder, record, strict):
    """Print one line a comparison; exit 1 if any failed."""
    _use_exact_float32()
    checks = []
    for check in check_folder(folder):
        click.echo(_line(check))
        checks.append(check)
    if record:
        _record(checks)
    count = {s: sum(c.status == s for c in checks) for s in ("ok", "failed", "unknown")}
    click.echo(f"{count['ok']} ok, {count['failed']} failed, {count['unknown']} unknown")
    sys.exit(int(bool(count["failed"] or (strict and count["unknown"]))))


if __name__ == "__main__":
    main()
