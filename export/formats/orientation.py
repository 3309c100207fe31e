"""Turning pictures upright with operations of a graph, as `restore` does when it reads a file."""

import tensorflow as tf

# Segments before the pixels of a JPEG, and chunks of a PNG, that are looked through for EXIF.
MAX_SEGMENTS = 256
UPRIGHT = 1
_ORIENTATION_TAG = 0x0112


def upright(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Apply the EXIF orientation of a file to its pixels.

    Args:
        image: `(H, W, C)`, as stored in the file.
        encoded: Scalar string, the bytes of the JPEG or PNG file.

    Returns:
        `(H, W, C)` or `(W, H, C)`, as the picture is to be looked at. A file
        without EXIF, or with EXIF that cannot be read, stays as it is.
    """
    channels = image.shape[-1]
    mode = orientation(encoded)

    def when(modes, change):
        nonlocal image
        chosen = tf.reduce_any(tf.equal(mode, modes))
        image = tf.cond(chosen, lambda: change(image), lambda: image)
        image.set_shape((None, None, channels))

    # Orientations 5 to 8 are stored with rows and columns exchanged.
    when([5, 6, 7, 8], lambda stored: tf.transpose(stored, [1, 0, 2]))
    when([2, 3, 6, 7], lambda stored: tf.reverse(stored, [1]))
    when([3, 4, 7, 8], lambda stored: tf.reverse(stored, [0]))
    return image


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Read the EXIF orientation of a JPEG or PNG file.

    Args:
        encoded: Scalar string.

    Returns:
        Scalar int32, 1 to 8; 1 where there is none.
    """
    content = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    # Zeros follow the end, so that no offset in a file points outside of them.
    content = tf.concat([content, tf.zeros(16, tf.int32)], axis=0)
    is_png = tf.equal(content[0], 0x89)
    return tf.cond(
        is_png,
        lambda: _of_tiff(content, _find_in_png(content)),
        lambda: _of_tiff(content, _find_in_jpeg(content)),
    )


def _find_in_jpeg(content):
    """Return where the TIFF header of the EXIF segment begins, 0 if there is none."""

    def next_segment(place, found):
        starts = tf.reduce_all(
            tf.equal(_bytes(content, place + 4, 6), [0x45, 0x78, 0x69, 0x66, 0, 0])  # Exif
        )
        is_exif = tf.logical_and(tf.equal(_bytes(content, place + 1, 1)[0], 0xE1), starts)
        length = _number(content, place + 2, 2, little=False)
        return place + 2 + tf.maximum(length, 2), tf.where(is_exif, place + 10, found)

    def goes_on(place, found):
        marker = _bytes(content, place, 2)
        is_segment = tf.logical_and(tf.equal(marker[0], 0xFF), tf.not_equal(marker[1], 0xDA))
        return tf.logical_and(is_segment, tf.equal(found, 0))

    _, found = tf.while_loop(goes_on, next_segment, (2, 0), maximum_iterations=MAX_SEGMENTS)
    return found


def _find_in_png(content):
    """Return where the TIFF header of the eXIf chunk begins, 0 if there is none."""

    def next_chunk(place, found):
        length = _number(content, place, 4, little=False)
        is_exif = tf.reduce_all(tf.equal(_bytes(content, place + 4, 4), [0x65, 0x58, 0x49, 0x66]))
        return place + 12 + tf.maximum(length, 0), tf.where(is_exif, place + 8, found)

    def goes_on(place, found):
        inside = tf.logical_and(place > 0, place < tf.size(content) - 16)
        return tf.logical_and(inside, tf.equal(found, 0))

    _, found = tf.while_loop(goes_on, next_chunk, (8, 0), maximum_iterations=MAX_SEGMENTS)
    return found


def _of_tiff(content, start):
    """Return the orientation in the first directory of a TIFF header, 1 where there is none."""
    little = tf.equal(_bytes(content, start, 1)[0], 0x49)
    directory = start + tf.clip_by_value(_number(content, start + 4, 4, little), 0, 2**24)
    entries = directory + 2 + 12 * tf.range(tf.minimum(_number(content, directory, 2, little), 512))
    tags = _numbers(content, entries, little)
    values = _numbers(content, entries + 8, little)
    candidates = tf.boolean_mask(values, tf.equal(tags, _ORIENTATION_TAG))
    value = tf.concat([candidates, [UPRIGHT]], axis=0)[0]
    known = tf.logical_and(start > 0, tf.logical_and(value >= 1, value <= 8))
    return tf.where(known, value, UPRIGHT)


def _bytes(content, place, count):
    places = tf.clip_by_value(place + tf.range(count), 0, tf.size(content) - 1)
    return tf.gather(content, places)


def _number(content, place, count, little):
    """Return an unsigned number of so many bytes; what is too large for int32 is negative."""
    found = _bytes(content, place, count)
    ordered = tf.where(little, tf.reverse(found, [0]), found)
    value = 0
    for index in range(count):
        value = value * 256 + ordered[index]
    return value


def _numbers(content, places, little):
    """Return the unsigned numbers of two bytes at many places."""
    last = tf.size(content) - 1
    first, second = (tf.gather(content, tf.clip_by_value(places + i, 0, last)) for i in (0, 1))
    return tf.where(little, first + 256 * second, 256 * first + second)
