"""Images to PNG and GIF files."""

import io

import numpy as np
from etils import epy

from gan import spec, storage

with epy.lazy_imports():
    from PIL import Image


def grid(images, shape, columns):
    """Lays images out row by row, without gaps.

    Args:
      images: float [N, height * width * channels] in [0, 1]; values outside are clipped.
      shape: (height, width, channels).
      columns: images in one row; a last row that is not full is filled with black.

    Returns:
      uint8 [rows * height, columns * width], with a last axis of 3 for RGB.
    """
    height, width, channels = shape
    rows = -(-len(images) // columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[: len(images)] = spec.to_8bit(images).reshape(-1, height, width, channels)
    table = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return squeeze_gray(table.reshape(rows * height, columns * width, channels))


def squeeze_gray(picture):
    """[H, W, 1] becomes [H, W]; RGB stays as it is."""
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def save_png(target, picture):
    """Writes uint8 [H, W] or [H, W, 3] as a PNG file."""
    storage.write_bytes(target, encode(picture, "PNG"))


def encode(picture, kind):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()


def decode(data):
    """Returns the pixels of an encoded picture as uint8 [H, W] or [H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(data)))


def save_gif(target, files, milliseconds=150, last_milliseconds=2000):
    """Writes picture files as the frames of an endless animated GIF that rests on its last frame."""
    frames = [Image.open(io.BytesIO(file.read_bytes())) for file in files]
    durations = [milliseconds] * (len(frames) - 1) + [last_milliseconds]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    storage.write_bytes(target, buffer.getvalue())
