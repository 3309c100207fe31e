"""The library in one page: restore, train, save, convert, score, export.

Run it in a folder with a noisy photo `noisy.png`, clean pictures in `photos/` and
`set12/`, and `original.pth`, weights of the original PANet code.
"""

import argparse

import keras_rdanet as kr

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--checkpoint", default="original.pth", help="weights of the original code")
parser.add_argument("--patch-size", type=int, default=96, help="side of a patch in pixels")
parser.add_argument("--steps", type=int, default=500, help="steps in an epoch")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--size", type=int, default=256, help="side of exported files in pixels")
parser.add_argument("--force", action="store_true", help="publish int8 files of any quality")
args = parser.parse_args()

# Depth, alpha channel and metadata are kept, as by the command.
kr.restore_file("noisy.png", "clean.png")

model = kr.create_model("tsp_rdanet_tiny_rgb")  # trained; weights=None makes a fresh one
fresh = kr.create_model("rdn_rgb", weights=None, num_blocks=4)

noise = kr.tasks.GaussianNoise(sigma=(0, 50))
data = kr.dataset("photos/", model, noise, patch_size=args.patch_size, batch_size=8)
# One loss serves all stages of a network, and metrics watch the last one.
model.compile("adam", loss=kr.losses.Charbonnier(), metrics=[kr.metrics.PSNR()])
model.fit(data, steps_per_epoch=args.steps, epochs=args.epochs)
kr.save_weights(model, "mine.safetensors")

kr.convert(args.checkpoint, "panet.safetensors", preset="panet_rgb", task="gaussian_noise")

result = kr.evaluate(kr.create_model("mine.safetensors"), "set12/", task="gaussian_noise", sigma=25)
print(result.mean("psnr"))

reports = kr.export(
    model,
    "out/",
    formats=["onnx", "tflite"],
    variants=["fp32", "int8"],
    calibration="photos/",
    size=args.size,
    force=args.force,
)
restore = kr.Restorer("out/model_int8.tflite")
