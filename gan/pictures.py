"""Images to PNG and GIF files."""

import io

import numpy as np
from etils import epy

from gan import spec, storage

with epy.lazy_imports():
    from PIL import Image, ImageDraw, ImageFont


def grid(images, shape, columns):
    """Lays images out row by row, without gaps.

    Args:
      images: float [N, height * width * channels] in [0, 1], values outside are clipped; or uint8.
      shape: (height, width, channels).
      columns: images in one row; a last row that is not full is filled with black.

    Returns:
      uint8 [rows * height, columns * width], with a last axis of 3 for RGB.
    """
    height, width, channels = shape
    rows = -(-len(images) // columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    pixels = images if images.dtype == np.uint8 else spec.to_8bit(images)
    cells[: len(images)] = pixels.reshape(-1, height, width, channels)
    table = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return squeeze_gray(table.reshape(rows * height, columns * width, channels))


def cells(picture, shape, columns, count):
    """Takes a grid apart: returns uint8 [count, height * width * channels]."""
    height, width, channels = shape
    table = picture.reshape(-1, height, columns, width, channels).swapaxes(1, 2)
    return table.reshape(-1, height * width * channels)[:count]


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


def verdict_sheet(images, truth, p, columns=10, side=100):
    """Draws images with D's belief under each, framed green where its verdict is right and red where it is wrong.

    Args:
      images: uint8 [N, height, width, channels].
      truth: 1 for each real image, 0 for each generated one.
      p: D's beliefs.

    Returns:
      uint8 [H, W, 3].
    """
    height, width = side, round(side * images.shape[2] / images.shape[1])
    frame, text, gap = 4, 34, 6
    cell_width, cell_height = width + 2 * frame + gap, height + 2 * frame + text + gap
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell_width + gap, rows * cell_height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for i, (pixels, real, belief) in enumerate(zip(images, truth, p, strict=True)):
        x, y = gap + i % columns * cell_width, gap + i // columns * cell_height
        colour = (31, 138, 76) if spec.is_real(belief) == bool(real) else (200, 40, 40)
        draw.rectangle((x, y, x + width + 2 * frame - 1, y + height + 2 * frame - 1), fill=colour)
        sheet.paste(_enlarged(pixels, width, height), (x + frame, y + frame))
        draw.text((x + frame, y + height + 2 * frame), "real" if real else "generated", "black", font)
        draw.text((x + frame, y + height + 2 * frame + 16), f"p = {belief:.2f}", colour, font)
    return np.asarray(sheet)


def neighbours_sheet(images, nearest, distances, close, columns=8, side=100):
    """Draws images above their nearest training images, with the distance; red where it counts as a copy.

    Args:
      images, nearest: uint8 [N, height, width, channels].
      distances: float [N].
      close: bool [N].

    Returns:
      uint8 [H, W, 3].
    """
    height, width = side, round(side * images.shape[2] / images.shape[1])
    gap, text = 6, 20
    cell_width, cell_height = width + gap, 2 * height + text + gap
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell_width + gap, rows * cell_height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for i, pair in enumerate(zip(images, nearest, strict=True)):
        x, y = gap + i % columns * cell_width, gap + i // columns * cell_height
        for row, pixels in enumerate(pair):
            sheet.paste(_enlarged(pixels, width, height), (x, y + row * height))
        colour = (200, 40, 40) if close[i] else "black"
        draw.text((x, y + 2 * height), f"{distances[i]:.2f}{' copy?' if close[i] else ''}", colour, font)
    return np.asarray(sheet)


def _enlarged(pixels, width, height):
    """uint8 [h, w, channels] as an RGB image of another size, with sharp pixels."""
    return Image.fromarray(squeeze_gray(pixels)).convert("RGB").resize((width, height), Image.Resampling.NEAREST)


def chart_png(figure):
    """Returns a `matplotlib.figure.Figure` as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
