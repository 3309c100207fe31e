"""Classical denoisers, which are given the true noise level where it is known.

Their settings follow from sigma by rules that were fitted once, on images
that no test set holds; `benchmarks/tune_baselines.py` does it again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from keras_rdanet.image.io import to_samples
from keras_rdanet.inference.image_function import ImageFunction

# Strength as a multiple of sigma, (gray, RGB), of the best mean PSNR on
# training images at sigma 15, 25 and 50.
NLM_H = (0.85, 0.55)
TV_WEIGHT = (0.8, 0.8)
WAVELET = "db2"
# OpenCV's own default strength, for noise of unknown level.
NLM_DEFAULT_H = 3


@dataclass(frozen=True)
class Baseline:
    """A classical denoiser for one noise level.

    Args:
        function: Restores one image after the other; not clipped unless the
            method itself does.
        parameters: Arguments of the method, for the report.
    """

    function: ImageFunction
    parameters: dict


def baselines(sigma: float | None, channels: int) -> tuple[list[Baseline], list[str]]:
    """Return the denoisers that are installed, and a line for each that is not.

    Args:
        sigma: The true noise level, in gray levels of 0-255; `None` where it
            is not known, and only OpenCV has a default to offer.
        channels: `1` for gray, `3` for RGB.
    """
    if sigma is None:
        return [non_local_means(0, channels, NLM_DEFAULT_H)], []
    found, missing = [], []
    for make in (non_local_means, wavelet, total_variation, bm3d):
        try:
            found.append(make(sigma, channels))
        except ImportError as error:
            missing.append(f"{make.__name__} left out: {error}")
    return found, missing


def non_local_means(sigma: float, channels: int, h: float | None = None) -> Baseline:
    """OpenCV's non-local means, which takes 8-bit images: clipped and rounded before.

    Args:
        sigma: Standard deviation of the noise, in gray levels of 0-255.
        channels: Number of channels, `1` or `3`.
        h: Filter strength; the rule `NLM_H * sigma` when not given.
    """
    h = NLM_H[channels == 3] * sigma if h is None else h

    def denoise(image):
        rounded = to_samples(image, np.uint8)
        if channels == 1:
            return cv2.fastNlMeansDenoising(rounded[..., 0], None, h, 7, 21)[..., None] / 255
        bgr = np.ascontiguousarray(rounded[..., ::-1])
        return cv2.fastNlMeansDenoisingColored(bgr, None, h, h, 7, 21)[..., ::-1] / 255

    name = "fastNlMeansDenoising" if channels == 1 else "fastNlMeansDenoisingColored"
    parameters = {"function": f"cv2.{name}", "h": h, "template": 7, "search": 21}
    return _baseline("OpenCV non-local means", denoise, channels, parameters)


def wavelet(sigma: float, channels: int, name: str = WAVELET) -> Baseline:
    """scikit-image's BayesShrink on a wavelet transform; colours in YCbCr.

    Args:
        sigma: Standard deviation of the noise, in gray levels of 0-255.
        channels: Number of channels, `1` or `3`.
        name: Name of the wavelet.

    Raises:
        ImportError: without scikit-image or PyWavelets.
    """
    import pywt  # noqa: F401 - scikit-image only notices when it is called
    from skimage.restoration import denoise_wavelet

    settings = {
        "sigma": sigma / 255,
        "wavelet": name,
        "method": "BayesShrink",
        "mode": "soft",
        "rescale_sigma": True,
        "convert2ycbcr": channels == 3,
    }

    def denoise(image):
        if channels == 1:
            return denoise_wavelet(image[..., 0], **settings)[..., None]
        return denoise_wavelet(image, channel_axis=-1, **settings)

    parameters = {"function": "skimage.restoration.denoise_wavelet", **settings}
    return _baseline("scikit-image wavelet", denoise, channels, parameters)


def total_variation(sigma: float, channels: int, weight: float | None = None) -> Baseline:
    """scikit-image's total variation (Chambolle).

    Args:
        sigma: Standard deviation of the noise, in gray levels of 0-255.
        channels: Number of channels, `1` or `3`.
        weight: Weight of the smoothing; by default `TV_WEIGHT * sigma / 255`.

    Raises:
        ImportError: without scikit-image.
    """
    from skimage.restoration import denoise_tv_chambolle

    weight = TV_WEIGHT[channels == 3] * sigma / 255 if weight is None else weight

    # The default `eps` stops long before the minimum when the noise is strong.
    settings = {"weight": weight, "eps": 1e-5, "max_num_iter": 200}

    def denoise(image):
        return denoise_tv_chambolle(image, channel_axis=-1, **settings)

    parameters = {"function": "skimage.restoration.denoise_tv_chambolle", **settings}
    return _baseline("scikit-image total variation", denoise, channels, parameters)


def bm3d(sigma: float, channels: int) -> Baseline:
    """BM3D by its authors, normal profile; colours in the opponent space (CBM3D).

    Raises:
        ImportError: without the package `bm3d`.
    """
    import bm3d as package

    def denoise(image):
        if channels == 1:
            return np.reshape(package.bm3d(image[..., 0], sigma / 255), image.shape)
        return package.bm3d_rgb(image, sigma / 255)

    name = "bm3d" if channels == 1 else "bm3d_rgb"
    parameters = {"function": f"bm3d.{name}", "sigma_psd": sigma / 255, "profile": "np"}
    return _baseline("BM3D", denoise, channels, parameters)


def _baseline(
    name: str,
    denoise: Callable[[np.ndarray], np.ndarray],
    channels: int,
    parameters: dict,
) -> Baseline:
    def function(images):
        return np.stack([np.asarray(denoise(image), np.float32) for image in images])

    return Baseline(ImageFunction(function, channels, name, support="global_pool"), parameters)
