"""TFLite files: for phones, browsers, and machines without TensorFlow.

Everything is made from one file in float32, converted from a SavedModel:
`TFLiteConverter.from_concrete_functions` loses the weights of a Keras 3 model.
"""

import dataclasses
import json
import re
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer

from keras_rdanet.export.graph import INPUT, OUTPUT, restore_function
from keras_rdanet.export.job import ExportJob
from keras_rdanet.export.quantization import ranges, search
from keras_rdanet.export.quantization import tflite as quantization
from keras_rdanet.export.quantization.calibration import CalibrationTiles
from keras_rdanet.export.verification.delegates import delegate_support, operations
from keras_rdanet.files import replacing
from keras_rdanet.runtimes import metadata as meta

# Name of the metadata buffer about the quantization of a file, beside `meta.FILE_NAME`.
QUANTIZATION_NAME = "keras_rdanet_quantization.json"

# Number of tiles to compare files on for networks that compare all positions: in int8 each takes
# seconds.
COMPARED_NONLOCAL = 8

# The shape that a resizable file states; without one the interpreter fails before it can be
# resized.
DEFAULT_SIDE = 256


class TFLiteExporter:
    """Writes the variants of one network at one size, sharing the work between them.

    Args:
        model: A `RestorationModel` in float32.
        metadata: Metadata of the files; the exporter fills in the variant and the size.
        size: Height and width of the input in pixels; `None` leaves them free,
            which accelerators do not take.
        calibration: Tiles on which int8 and int16x8 measure their ranges.

    Raises:
        ValueError: if the network does not take that size.
    """

    def __init__(
        self,
        model,
        metadata: meta.ExportMetadata,
        *,
        size: int | None = DEFAULT_SIDE,
        calibration: CalibrationTiles | None = None,
    ):
        if size is not None and (size < model.min_size or size % model.multiple):
            raise ValueError(
                f"{metadata.name} takes sides from {model.min_size} that are multiples of "
                f"{model.multiple}, not `size` {size}."
            )
        self.model = model
        self.metadata = metadata
        self.size = size
        self._calibration = calibration

    @cached_property
    def content(self) -> bytes:
        """The file in float32."""
        return convert(self.model, self.size)

    @cached_property
    def calibration(self) -> CalibrationTiles:
        """The tiles on which ranges are measured.

        Raises:
            ValueError: if there are none.
        """
        if self._calibration is None:
            raise ValueError(
                "int8 and int16x8 measure their ranges on pictures; give `calibration`."
            )
        return self._calibration

    @cached_property
    def _calibrated(self) -> tuple[bytes, ranges.Extremes]:
        """The same graph for inputs of the size of a calibration tile, and its extremes."""
        content, side = self.content, self.calibration.degraded.shape[1]
        if self.size not in (None, side):
            content = convert(self.model, side)
        extremes = ranges.calibrate(content, self.calibration.degraded)
        unseen = _computed(self.content) - extremes.keys()
        if unseen:
            raise ValueError(
                f"Tiles of {side} pixels do not calibrate all that the network computes for "
                f"{self.size} pixels ({min(unseen)}, say); cut calibration tiles of that size."
            )
        return content, extremes

    @cached_property
    def _percentile(self) -> tuple[int, dict[int, float]]:
        return search.choose_percentile(*self._calibrated, self.calibration, self._compared)

    @cached_property
    def _ranges(self) -> ranges.Ranges:
        return ranges.ranges_of(*self._calibrated, self._percentile[0])

    @cached_property
    def _mixed_precision(self) -> tuple[quantization.MixedPrecision, list[dict]]:
        return search.choose_mixed_precision(
            self._calibrated[0], self._ranges, self.calibration, count=self._compared
        )

    @property
    def _compared(self) -> int:
        return COMPARED_NONLOCAL if self.model.support == "nonlocal" else search.COMPARED

    def write(self, path: str | Path, variant: str = "fp32") -> Path:
        """Write one variant, whole or not at all.

        Args:
            path: Path of the file, ending in `.tflite`.
            variant: Name of the variant, a key of `metadata.VARIANTS`. All take and give
                float32, except `"int8_uint8"`, in which nothing is computed in float.

        Raises:
            ValueError: if the variant is unknown, calibration is missing, or
                the network needs operations that TFLite does not have.
            OSError: if the file cannot be written.
        """
        if variant not in meta.VARIANTS:
            raise ValueError(f"`variant` must be one of {list(meta.VARIANTS)}, got {variant!r}.")
        content, report = self._variant(variant)
        shape = None if self.size is None else (self.size, self.size)
        described = dataclasses.replace(self.metadata, variant=variant, tile_shape=shape)
        texts = {meta.FILE_NAME: described.to_json()}
        if report:
            texts[QUANTIZATION_NAME] = json.dumps(report)
        with replacing(path) as temporary:
            temporary.write_bytes(with_texts(content, texts))
        return Path(path)

    def _variant(self, variant) -> tuple[bytes, dict]:
        """A file without metadata, and a report of its quantization."""
        content = self.content
        if variant == "fp32":
            return content, {}
        if variant == "fp16":
            return quantization.to_fp16(content), {}
        if variant == "dynamic":
            return quantization.to_dynamic(content), {}
        report = {"calibration": self.calibration.describe()}
        if variant == "int16x8":
            whole = ranges.ranges_of(*self._calibrated, percentile=100)
            return quantization.to_int16x8(content, whole), report
        percentile, losses = self._percentile
        report |= {"percentile": percentile, "loss dB of percentiles": losses}
        if variant == "int8_uint8":
            return with_uint8_samples(quantization.to_full_int8(content, self._ranges)), report
        mixed, tried = self._mixed_precision
        return quantization.to_int8(content, self._ranges, mixed), {**report, "tried": tried}


def write(job: ExportJob, path: Path, variant: str) -> None:
    """Write a variant of the network of a job; all variants share most of the work."""
    exporter = TFLiteExporter(job.model, job.metadata, size=job.size, calibration=job.calibration)
    job.shared.setdefault("tflite", exporter).write(path, variant)


def inspect(path: Path) -> dict[str, Any]:
    """Return the content of a TFLite file and the targets that support it, for reports."""
    return {"operations": operations(path), "delegate_support": delegate_support(path)}


def export_tflite(
    model,
    path: str | Path,
    metadata: meta.ExportMetadata,
    *,
    variant: str = "fp32",
    size: int | None = DEFAULT_SIDE,
    calibration: CalibrationTiles | None = None,
) -> Path:
    """Write a network as one TFLite file; for several use `TFLiteExporter`, which shares work."""
    return TFLiteExporter(model, metadata, size=size, calibration=calibration).write(path, variant)


def convert(model, size: int | None) -> bytes:
    """Return a network as a TFLite file in float32 with batch 1, built-in operations only.

    Args:
        model: A `RestorationModel` in float32.
        size: Height and width of the input; `None` leaves them free.

    Raises:
        ValueError: if it needs operations that TFLite does not have; names them.
    """
    specification = tf.TensorSpec((1, size, size, model.channels), tf.float32, INPUT)
    restore = restore_function(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", lambda x: {OUTPUT: restore(x)}, [specification])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            content = converter.convert()
        except Exception as error:  # the converter's own class is private
            missing = sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error))))
            raise ValueError(
                f"{model.name} cannot become a TFLite file: "
                + (f"TFLite has no {', '.join(missing)}." if missing else str(error)[:300])
            ) from error
    return _with_default_shape(content) if size is None else content


def with_texts(content: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a TFLite file with texts in metadata buffers; those of the same names are replaced."""
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    model.metadata = [entry for entry in model.metadata or [] if entry.name.decode() not in texts]
    for name, text in texts.items():
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(text.encode(), np.uint8)
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers) - 1
        model.metadata.append(entry)
    return _packed(model)


def with_uint8_samples(content: bytes) -> bytes:
    """Return an int8 TFLite file that takes and gives the uint8 samples of pictures."""
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    model.operatorCodes.append(code)
    inner_input, inner_output = graph.inputs[0], graph.outputs[0]
    source = _add_uint8_tensor(graph, inner_input, f"{INPUT}_uint8")
    made = _add_uint8_tensor(graph, inner_output, f"{OUTPUT}_uint8")
    index = len(model.operatorCodes) - 1
    graph.operators.insert(0, _quantize(index, source, inner_input))
    graph.operators.append(_quantize(index, inner_output, made))
    graph.inputs, graph.outputs = [source], [made]
    signature = model.signatureDefs[0]
    signature.inputs[0].tensorIndex, signature.outputs[0].tensorIndex = source, made
    return _packed(model)


def _add_uint8_tensor(graph, like, name):
    tensor = schema.TensorT()
    tensor.name = name
    tensor.type = schema.TensorType.UINT8
    tensor.shape = graph.tensors[like].shape
    tensor.shapeSignature = graph.tensors[like].shapeSignature
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = [1 / 255]
    tensor.quantization.zeroPoint = [0]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _quantize(code, source, target):
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = [source], [target]
    operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    operator.builtinOptions = schema.QuantizeOptionsT()
    return operator


def _with_default_shape(content: bytes) -> bytes:
    """State a usable shape for an input of free size; it stays free."""
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    tensor = graph.tensors[graph.inputs[0]]
    tensor.shape = np.array([1, DEFAULT_SIDE, DEFAULT_SIDE, tensor.shape[-1]], np.int32)
    return _packed(model)


def _computed(content: bytes) -> set[str]:
    """The names of the float32 tensors that a file computes."""
    graph = flatbuffer.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    made = [i for operator in graph.operators for i in operator.outputs]
    return {
        graph.tensors[i].name.decode()
        for i in made
        if graph.tensors[i].type == schema.TensorType.FLOAT32
    }


def _packed(model) -> bytes:
    return bytes(flatbuffer.convert_object_to_bytearray(model))
