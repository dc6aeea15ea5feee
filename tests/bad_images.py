"""Files that are no pictures, each made by code: `BAD_IMAGES` maps a file name to (bytes, words of the reason)."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

TYPES = {"B": 1, "H": 3, "I": 4, "f": 11}  # struct's letters to TIFF's numbers


def sample(height=40, width=56):
    """Returns an RGB picture without symmetry, smooth and of many colours: uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [0.5 + 0.5 * np.cos(a * x + b * y + c) for a, b, c in ((7, 2, 0), (3, 9, 1), (5, -6, 2))]
    return np.rint(np.stack(waves, axis=-1) * 255).astype(np.uint8)


def encoded(pixels, kind, mode=None, **options):
    """Returns pixels, or a Pillow image, as a file of a kind; `mode` is one to convert to first."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, *chunks, colour=0, data=b""):
    """Returns a PNG file of 8-bit channels whose chunks need not fit its size; `data` are rows before compression."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body


def tiff(width, height, pixels, order="<", **changes):
    """Returns an uncompressed gray TIFF file of one strip.

    Args:
      width, height: written as they are.
      pixels: bytes.
      order: "<" or ">".
      changes: tags to add or to set, as t258=("H", 16) or t258=("H", 8, 8, 8); None leaves one out.
    """
    tags = {256: ("I", width), 257: ("I", height), 258: ("H", 8), 259: ("H", 1), 262: ("H", 1), 273: ("I", 8)}
    tags |= {277: ("H", 1), 278: ("I", height), 279: ("I", len(pixels))}
    tags |= {int(name[1:]): value for name, value in changes.items()}
    tags = {number: value for number, value in sorted(tags.items()) if value is not None}
    start = 8 + len(pixels) + len(pixels) % 2
    further, after = b"", start + 2 + 12 * len(tags) + 4
    entries = struct.pack(order + "H", len(tags))
    for number, (letter, *values) in tags.items():
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            place, further = struct.pack(order + "I", after + len(further)), further + packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", number, TYPES[letter], len(values)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + pixels.ljust(start - 8, b"\0") + entries + bytes(4) + further


def bmp_rle(indices, palette):
    """Returns a run-length encoded BMP file of palette indices, uint8 [height, width], and colours [256, 3]."""
    height, width = indices.shape
    runs = b"".join(b"".join(bytes([1, index]) for index in row) + b"\0\0" for row in indices[::-1]) + b"\0\1"
    colours = np.pad(palette[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    offset = 14 + 40 + len(colours)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(runs), 0, 0, offset) + info + colours + runs


def gif(width, height, *blocks):
    """Returns a GIF file of blocks that need not fit its size."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"".join(blocks) + b";"


def half(data):
    return data[: len(data) // 2]


def without_end_of_scan(jpeg):
    """Takes half of a JPEG's scan out but leaves the end marker."""
    scan = jpeg.rfind(b"\xff\xda") + 14
    return jpeg[: scan + (len(jpeg) - scan) // 2] + b"\xff\xd9"


def with_noise(data, start, count):
    """Replaces bytes by others that mean nothing."""
    return data[:start] + np.random.default_rng(5).bytes(count) + data[start + count :]


def _animated_bomb():
    control = struct.pack(">IIIIIHHBB", 0, 100_000, 100_000, 0, 0, 1, 1, 1, 0)
    return png(100_000, 100_000, png_chunk(b"acTL", struct.pack(">II", 2, 0)), png_chunk(b"fcTL", control))


def _gif_bomb():
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x08\x01\x00\x00"
    return gif(65_535, 65_535, b"!\xf9\x04\x08\0\0\0\0", frame)


def _jpeg_of_size(width, height):
    """A JPEG file whose header claims another size."""
    data = encoded(sample(), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def _bmp_of(width, height, compression=0):
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + info + bytes(4)


def _tile_bomb():
    """A small picture in the corner of a large tile."""
    tile = {"t322": ("I", 100_000), "t323": ("I", 100_000), "t324": ("I", 8), "t325": ("I", 99)}
    return tiff(3, 4, zlib.compress(bytes(99)), t259=("H", 8), t273=None, t278=None, t279=None, **tile)


def _text_bomb():
    text = b"Comment\0\0" + zlib.compress(bytes(64 << 20), 9)
    return png(1, 1, png_chunk(b"zTXt", text), data=bytes(2))


def _corpus():
    picture = sample()
    page = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>No such picture.</body></html>"
    flat = bytes(12)
    jpeg, lossless = encoded(picture, "JPEG"), encoded(picture, "PNG")
    indexed = Image.fromarray(picture).quantize(64)
    palette = np.pad(np.reshape(indexed.getpalette(), (-1, 3)), ((0, 192), (0, 0)))
    return {
        "empty.jpg": (b"", "is empty"),
        "zeros.jpg": (bytes(4096), "no image of a known kind"),
        "page.jpg": (page, "no image of a known kind"),
        "notes.png": (b"P is for picture\n", "no image of a known kind"),
        "vector.png": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "no image of a known kind"),
        "paper.jpg": (b"%PDF-1.7\n", "no image of a known kind"),
        "floats.pfm": (b"Pf\n3 4\n-1.0\n" + bytes(48), "no image of a known kind"),
        "photoshop.psd": (b"8BPS\0\1" + bytes(200), "no image of a known kind"),
        "signature.png": (b"\x89PNG\r\n\x1a\n", "truncated"),
        "signature.jpg": (b"\xff\xd8\xff", "truncated"),
        "truncated.jpg": (half(jpeg), "truncated"),
        "truncated_progressive.jpg": (half(encoded(picture, "JPEG", progressive=True)), "truncated"),
        "truncated.png": (half(lossless), "truncated"),
        "truncated.bmp": (half(encoded(picture, "BMP")), "truncated"),
        "truncated_runs.bmp": (bmp_rle(np.asarray(indexed), palette)[:3000], "truncated"),
        "truncated.gif": (half(encoded(indexed, "GIF")), "truncated"),
        "truncated.webp": (half(encoded(picture, "WEBP")), "truncated"),
        "truncated.ppm": (half(encoded(picture, "PPM")), "truncated"),
        "truncated_text.pgm": (b"P2 3 4 255 " + b"7 " * 11, "truncated"),
        "truncated.tiff": (half(encoded(picture, "TIFF")), "truncated"),
        "truncated_strip.tiff": (tiff(3, 4, flat, t273=("I", 130)), "truncated"),
        "ends_early.jpg": (without_end_of_scan(jpeg), "truncated"),
        "ends_early_gray.jpg": (without_end_of_scan(encoded(picture, "JPEG", "L")), "truncated"),
        "noise_in_tables.jpg": (with_noise(jpeg, jpeg.index(b"\xff\xc4") + 5, 16), "cannot be decoded"),
        "noise_in_pixels.png": (with_noise(lossless, len(lossless) // 2, 40), "cannot be decoded"),
        "noise_in_header.png": (with_noise(lossless, 24, 4), "cannot be decoded"),
        "noise_in_pixels.tiff": (with_noise(encoded(picture, "TIFF", compression="tiff_deflate"), 200, 90), "decode"),
        "noise.webp": (with_noise(encoded(picture, "WEBP"), 30, 400), "cannot be decoded"),
        "no_header.png": (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IDAT", bytes(20)), "cannot be decoded (no IHDR"),
        "no_frame.gif": (gif(3, 4), "cannot be decoded"),
        "unknown_compression.bmp": (_bmp_of(3, 4, compression=77), "cannot be decoded"),
        "bomb.png": (png(100_000, 100_000, colour=2), "100000 x 100000 pixels, more than 33 million"),
        "animated_bomb.png": (_animated_bomb(), "100000 x 100000 pixels, more than 33 million"),
        "text_bomb.png": (_text_bomb(), "cannot be decoded"),
        "bomb.jpg": (_jpeg_of_size(65_500, 65_500), "65500 x 65500 pixels, more than 134 million"),
        "bomb.bmp": (_bmp_of(100_000, 100_000), "100000 x 100000 pixels, more than 33 million"),
        "bomb.gif": (_gif_bomb(), "more than 33 million"),
        "bomb.pgm": (b"P5 100000 100000 255\n", "100000 x 100000 pixels, more than 33 million"),
        "bomb.tiff": (tiff(100_000, 100_000, flat), "100000 x 100000 pixels, more than 33 million"),
        "tile_bomb.tiff": (_tile_bomb(), "tiles of 100000 x 100000 pixels, more than 33 million"),
        "just_too_large.png": (png(1 << 13, (1 << 12) + 1), "8192 x 4097 pixels, more than 33 million"),
        "no_width.png": (png(0, 4), "has no pixels"),
        "no_height.jpg": (_jpeg_of_size(56, 0), "has no pixels"),
        "no_width.gif": (gif(0, 0, b"," + bytes(9) + b"\x08\x01\x00\x00"), "has no pixels"),
        "no_height.pgm": (b"P5 3 0 255\n", "has no pixels"),
        "negative.pgm": (b"P5 -3 -4 255\n" + flat, "has no pixels"),
        "no_width.bmp": (_bmp_of(0, 4), "has no pixels"),
        "unknown_colours.png": (png(3, 4, colour=5), "has no pixels, or pixels of an unknown kind"),
        "samples.tiff": (tiff(3, 4, flat, t277=("I", 1 << 31)), "cannot be decoded"),
        "bits.tiff": (tiff(3, 4, flat, t258=("H", 7)), "cannot be decoded"),
        "no_size.tiff": (tiff(3, 4, flat, t256=None), "cannot be decoded"),
        "strip_far_away.tiff": (tiff(3, 4, flat, t273=("I", 4_000_000_000)), "truncated"),
        "list_far_away.tiff": (b"II*\0" + struct.pack("<I", 4_000_000_000), "truncated"),
        "list_in_itself.tiff": (b"II*\0" + struct.pack("<I", 4) + bytes(8), "cannot be decoded"),
        "float.tiff": (tiff(3, 1, bytes(12), t258=("H", 32), t339=("H", 3)), "floating-point"),
        "32_bits.tiff": (tiff(3, 1, bytes(12), t258=("H", 32)), "32-bit or signed"),
        "signed.tiff": (tiff(3, 2, bytes(12), t258=("H", 16), t339=("H", 2)), "32-bit or signed"),
        "lab.tiff": (tiff(2, 2, flat, t258=("H", 8, 8, 8), t262=("H", 8), t277=("H", 3)), "Lab colour space"),
    }


BAD_IMAGES = _corpus()
