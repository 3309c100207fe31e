"""Our counterparts of the reference results that belong to no network.

Each row of `FUNCTIONS`: a regular expression for the name of an array, the function
that makes ours from the arrays of the file and the groups of the expression, the
largest error and its unit. Images in these files are NCHW unless said otherwise.
"""

import math

import cv2
import keras
import numpy as np

from keras_rdanet.evaluation.published_tiling import four_tiles
from keras_rdanet.image.geometry import dihedral, undo_dihedral
from keras_rdanet.image.io import to_samples
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.self_ensemble import self_ensemble
from keras_rdanet.losses import RestorationLoss, charbonnier, laplacian
from keras_rdanet.metrics import psnr, ssim
from keras_rdanet.tasks.gaussian_noise import protocol_noise
from keras_rdanet.training.schedules import CosineWithWarmup

# Arrays that are inputs of the others.
INPUTS = r"target|pred_\d+|quantise_in|metric_\w+_[ab]|onesplit_\w+_in|x8_kernel|x8_in"


def _nhwc(array):
    return np.asarray(array, np.float32).transpose(0, 2, 3, 1)


def _nchw(array):
    return np.asarray(array).transpose(0, 3, 1, 2)


def _loss(pixel="charbonnier", edge_weight=0.0, clip=False, stages=()):
    """The sum of one of our losses over some predictions; `stages` or the group names them."""
    loss = RestorationLoss(pixel, edge_weight, clip)

    def total(arrays, *group):
        target = _nhwc(arrays["target"])
        return sum(loss(target, _nhwc(arrays[name])) for name in stages or group)

    return total


def _laplacian(arrays, name):
    return _nchw(keras.ops.convert_to_numpy(laplacian(_nhwc(arrays[name]))))


def _edge(arrays, name):
    both = _loss(edge_weight=1.0)(arrays, name)
    return both - _loss()(arrays, name)


def _charbonnier(arrays, epsilon_squared, name):
    epsilon = math.sqrt(float(epsilon_squared))
    target, restored = _nhwc(arrays["target"]), _nhwc(arrays[name])
    return keras.ops.mean(charbonnier(target, restored, epsilon))


def _cosine(extra):
    """The learning rate of each epoch; the cosine is `extra` epochs longer than the run."""

    def learning_rates(arrays, recipe):
        epochs = len(arrays[f"lr_per_epoch_{recipe}"])
        schedule = CosineWithWarmup(2.0e-4, 1.0e-6, warmup=3, period=epochs - 3 + extra)
        return schedule(np.arange(epochs))

    return learning_rates


def _noisy_gray_level(arrays, level, sigma, seed, color):
    shape = arrays[f"noisy{level}_sigma{sigma}_seed{seed}_{color}"].shape
    return np.float32(int(level) / 255) + protocol_noise(shape, float(sigma), int(seed))


def _metric(metric):
    def score(arrays, name, border):
        a, b = (arrays[f"metric_{name}_{side}"] for side in "ab")
        return metric(a, b, crop_border=int(border))

    return score


def _orientation(arrays, mode):
    image = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    turned = dihedral(image, int(mode))
    if not np.array_equal(undo_dihedral(turned, int(mode)), image):
        raise ValueError(f"undo_dihedral does not undo mode {mode}")
    return turned


def _four_tiles(arrays, name):
    images = _nhwc(arrays[f"onesplit_{name}_in"]) / np.float32(255)
    return _nchw(four_tiles(lambda tile: tile + tile.mean(), images, refield=64))


def _self_ensemble(arrays):
    kernel = arrays["x8_kernel"][0, 0].astype(np.float32)

    def stand_in(images):
        filtered = [
            cv2.filter2D(image[..., 0], cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
            for image in images
        ]
        return np.maximum(np.stack(filtered)[..., None], 0)

    function = self_ensemble(ImageFunction(stand_in, channels=1, name="stand-in"))
    return _nchw(function(_nhwc(arrays["x8_in"])))


FUNCTIONS = (
    (r"edge_laplacian_of_(pred_\d+)", _laplacian, 1e-5, "of range"),
    (r"charbonnier_(pred_\d+)_target", _loss("charbonnier"), 1e-5, "relative"),
    (r"charbonnier_eps([\d.e-]+)_unsquared_(pred_\d+)_target", _charbonnier, 1e-5, "relative"),
    (r"edge_(pred_\d+)_target", _edge, 1e-5, "relative"),
    (r"mse_(pred_\d+)_target", _loss("mse"), 1e-5, "relative"),
    (r"l1_(pred_\d+)_target", _loss("l1"), 1e-5, "relative"),
    ("tsp_gaussian_loss", _loss("mse", stages=("pred_0", "pred_1")), 1e-5, "relative"),
    (
        "tsp_real_loss",
        _loss("charbonnier", 0.1, clip=True, stages=("pred_0", "pred_1")),
        1e-5,
        "relative",
    ),
    (
        "mprnet_denoising_loss",
        _loss("charbonnier", clip=True, stages=("pred_0", "pred_1", "pred_2")),
        1e-5,
        "relative",
    ),
    (
        "mprnet_deblurring_deraining_loss",
        _loss("charbonnier", 0.05, stages=("pred_0", "pred_1", "pred_2")),
        1e-5,
        "relative",
    ),
    (r"lr_per_epoch_(tsp_real|mprnet_denoising)", _cosine(extra=40), 5e-4, "relative"),
    (r"lr_per_epoch_(mprnet_deraining|mprnet_deblurring)", _cosine(extra=0), 5e-4, "relative"),
    (r"noisy(\d+)_sigma(\d+)_seed(\d+)_(gray|color)", _noisy_gray_level, 1e-6, "absolute"),
    (r"quantise_out", lambda arrays: to_samples(arrays["quantise_in"], np.uint8), 0, "absolute"),
    (r"psnr_(\w+)_border(\d+)", _metric(psnr), 1e-4, "absolute"),
    (r"ssim_(\w+)_border(\d+)", _metric(ssim), 1e-5, "absolute"),
    (r"augment_mode([0-7])", _orientation, 0, "absolute"),
    (r"onesplit_(\w+)_out_first", _four_tiles, 1e-6, "of range"),
    (r"x8_out", _self_ensemble, 1e-6, "of range"),
)
