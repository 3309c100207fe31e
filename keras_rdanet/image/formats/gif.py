"""GIF: its first frame, through Pillow; it is not written."""

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from PIL import GifImagePlugin

from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import Extra, Format, PictureError, Source

_IMAGE, _EXTENSION, _END = 0x2C, 0x21, 0x3B
_COMMENT, _APPLICATION = 0xFE, 0xFF
_MAX_BLOCKS = 100_000
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def open_gif(stream: BinaryIO) -> Source:
    """Read the blocks of a GIF up to its second frame, but not its pixels.

    Raises:
        PictureError: if it is cut short or damaged.
    """
    frames, names = 0, dict[str, None]()
    for kind in _blocks(stream):
        if kind == "frame":
            frames += 1
            if frames == 2:
                break
        else:
            names[kind] = None
    if not frames:
        raise PictureError("damaged: there is no picture in the GIF")
    source = pillow.source(pillow.opened(GifImagePlugin.GifImageFile, stream))
    metadata = source.metadata()
    kept = replace(metadata, extras=tuple(map(Extra, names)))
    remark = "an animation; its first frame is read" if frames > 1 else ""
    return replace(source, metadata=lambda: kept, remark=remark)


def _blocks(stream: BinaryIO) -> Iterator[str]:
    """Yield `"frame"`, or what a warning calls the metadata of a block."""
    stream.seek(10)
    _skip_colors(stream, _byte(stream), 2)
    for _ in range(_MAX_BLOCKS):
        kind = _byte(stream)
        if kind == _END:
            return
        if kind == _IMAGE:
            stream.seek(8, 1)
            _skip_colors(stream, _byte(stream), 1)  # and the size of the first code
            _skip_data(stream)
            yield "frame"
        elif kind == _EXTENSION:
            label = _byte(stream)
            first = _skip_data(stream)
            if label == _COMMENT:
                yield "comment"
            elif label == _APPLICATION and first not in _LOOPS and first != b"XMP DataXMP":
                yield "data of " + "".join(c for c in first.decode("latin-1") if c.isprintable())
        else:
            raise PictureError("damaged: there is no block where one should be")
    raise PictureError(f"damaged: it has more than {_MAX_BLOCKS} blocks")


def _skip_colors(stream: BinaryIO, flags: int, more: int) -> None:
    stream.seek((3 << (flags & 7) + 1 if flags & 0x80 else 0) + more, 1)


def _skip_data(stream: BinaryIO) -> bytes:
    """Skip the parts of a block; return the first one."""
    length = _byte(stream)
    first = stream.read(length)
    while length:
        length = _byte(stream)
        stream.seek(length, 1)
    return first


def _byte(stream: BinaryIO) -> int:
    byte = stream.read(1)
    if not byte:
        raise PictureError("cut short: the end of the GIF is missing")
    return byte[0]


FORMAT = Format(
    "GIF",
    (".gif",),
    matches=lambda start: start[:6] in (b"GIF87a", b"GIF89a"),
    open=open_gif,
)
