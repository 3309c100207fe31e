"""PIL images as pictures, and back."""

import numpy as np
from PIL import Image

from keras_rdanet.image.io import Picture

# Mode -> the mode of the samples that are restored, with alpha as the last channel.
_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "I;16": "I;16",
    "P": "RGB",
    "RGB": "RGB",
    "RGBA": "RGBA",
}


def from_pillow(image: Image.Image) -> Picture:
    """Take the samples and the alpha channel of a PIL image.

    Raises:
        ValueError: if the image is of a mode that is neither gray nor RGB.
    """
    if image.mode not in _MODES:
        raise ValueError(
            f"PIL images must be of mode {', '.join(_MODES)}, got {image.mode}; "
            "`image.convert('RGB')` makes one of RGB."
        )
    mode = _MODES[image.mode]
    if mode == "RGB" and image.has_transparency_data:
        mode = "RGBA"
    samples = np.asarray(image.convert(mode))
    samples = samples if samples.ndim == 3 else samples[..., None]
    if mode in ("LA", "RGBA"):
        return Picture(samples[..., :-1], samples[..., -1])
    return Picture(samples)


def to_pillow(picture: Picture, like: Image.Image) -> Image.Image:
    """Make a PIL image of a picture, with the EXIF and ICC profile that `like` has."""
    samples = picture.samples
    if picture.alpha is not None:
        samples = np.concatenate([samples, picture.alpha[..., None]], axis=-1)
    image = Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples)
    kept = {"exif", "icc_profile", "dpi"} & like.info.keys()
    image.info = {key: like.info[key] for key in kept}
    return image
