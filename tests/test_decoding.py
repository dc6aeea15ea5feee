"""Files of every kind to pixels, and broken ones to reasons."""

import concurrent.futures
import io
import json
import pickle
import struct
import subprocess
import sys
import warnings

import bad_images
import numpy as np
import pytest
from bad_images import encoded, sample
from conftest import ROOT
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, JpegImagePlugin

from gan.data import decoding
from gan.data.decoding import BadImage, Transform, decode

HEIGHT, WIDTH = 40, 56
PICTURE = sample(HEIGHT, WIDTH)
GRAY = np.asarray(Image.fromarray(PICTURE).convert("L"))
ALPHA = np.tile(np.repeat([0, 100, 200, 255], WIDTH // 4), (HEIGHT, 1)).astype(np.uint8)
SEE_THROUGH = Image.fromarray(np.dstack([PICTURE, ALPHA]))
BLACK_WHITE = Image.fromarray(GRAY).convert("1")
INDEXED = Image.fromarray(PICTURE).quantize(64)
INDICES = np.asarray(INDEXED)
PALETTE = np.pad(np.reshape(INDEXED.getpalette(), (-1, 3)), ((0, 192), (0, 0)))
ORIENTATION = ExifTags.Base.Orientation


def whole(data, channels=3):
    """Decodes without a change of size."""
    return decode(data, Transform(HEIGHT, WIDTH, channels))


def on_white(pixels, alpha):
    alpha = alpha[..., None] / 255
    return np.rint(pixels * alpha + 255 * (1 - alpha))


def as_rgb(gray):
    return np.repeat(np.asarray(gray)[..., None], 3, axis=2)


def luma(pixels):
    return np.rint(pixels @ [0.299, 0.587, 0.114])[..., None]


def text_of(kind, values, most=""):
    """A Netpbm file in words; with a comment."""
    words = " ".join(map(str, values.reshape(-1).tolist()))
    return f"{kind}\n# made by hand\n{values.shape[1]} {values.shape[0]} {most}\n{words}\n".encode()


def lab_image():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(Image.fromarray(PICTURE), *profiles, outputMode="LAB")


# What loses nothing.


def animation(kind, **options):
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def lossless():
    """Yields (name, file, expected uint8 [HEIGHT, WIDTH, 3])."""
    bits = np.asarray(BLACK_WHITE)
    yield "png", encoded(PICTURE, "PNG"), PICTURE
    yield "png gray", encoded(GRAY, "PNG"), as_rgb(GRAY)
    yield "png of 1 bit", encoded(BLACK_WHITE, "PNG"), as_rgb(bits * 255)
    yield "png palette", encoded(INDEXED, "PNG"), PALETTE[INDICES]
    yield "animated png", animation("PNG"), PICTURE
    yield "animated png, cleared", animation("PNG", disposal=1, default_image=True), PICTURE
    yield "bmp", encoded(PICTURE, "BMP"), PICTURE
    yield "bmp gray", encoded(GRAY, "BMP"), as_rgb(GRAY)
    yield "bmp of 1 bit", encoded(BLACK_WHITE, "BMP"), as_rgb(bits * 255)
    yield "bmp of 32 bits without alpha", encoded(SEE_THROUGH, "BMP"), PICTURE
    yield "bmp palette", encoded(INDEXED, "BMP"), PALETTE[INDICES]
    yield "bmp in runs", bad_images.bmp_rle(INDICES, PALETTE), PALETTE[INDICES]
    yield "gif", encoded(INDEXED, "GIF"), PALETTE[INDICES]
    yield "gif gray", encoded(GRAY, "GIF"), as_rgb(GRAY)
    yield "animated gif", encoded(INDEXED, "GIF", save_all=True, append_images=[BLACK_WHITE]), PALETTE[INDICES]
    yield "webp", encoded(PICTURE, "WEBP", lossless=True), PICTURE
    yield "animated webp", animation("WEBP", lossless=True), PICTURE
    yield "p6", encoded(PICTURE, "PPM"), PICTURE
    yield "p5", encoded(GRAY, "PPM"), as_rgb(GRAY)
    yield "p4", encoded(BLACK_WHITE, "PPM"), as_rgb(bits * 255)
    yield "p3", text_of("P3", PICTURE, 255), PICTURE
    yield "p2", text_of("P2", GRAY, 255), as_rgb(GRAY)
    yield "p1", text_of("P1", 1 - bits), as_rgb(bits * 255)
    yield "tiff of several pages", animation("TIFF"), PICTURE
    yield "big tiff", encoded(PICTURE, "TIFF", big_tiff=True), PICTURE
    yield "tiff, big end first", bad_images.tiff(WIDTH, HEIGHT, GRAY.tobytes(), ">"), as_rgb(GRAY)
    tiles = {"t322": ("I", 64), "t323": ("I", 48), "t324": ("I", 8), "t325": ("I", 64 * 48)}
    tiled = np.pad(GRAY, ((0, 48 - HEIGHT), (0, 64 - WIDTH))).tobytes()
    yield "tiff tile", bad_images.tiff(WIDTH, HEIGHT, tiled, t273=None, t278=None, t279=None, **tiles), as_rgb(GRAY)
    yield "tiff, white is 0", bad_images.tiff(WIDTH, HEIGHT, GRAY.tobytes(), t262=("H", 0)), as_rgb(255 - GRAY)
    for packing in (None, "tiff_lzw", "tiff_deflate", "packbits"):
        yield f"tiff {packing}", encoded(PICTURE, "TIFF", compression=packing), PICTURE
        yield f"tiff gray {packing}", encoded(GRAY, "TIFF", compression=packing), as_rgb(GRAY)
        yield f"tiff palette {packing}", encoded(INDEXED, "TIFF", compression=packing), PALETTE[INDICES]
    yield "tiff fax", encoded(BLACK_WHITE, "TIFF", compression="group4"), as_rgb(bits * 255)


LOSSLESS = {name: (data, expected) for name, data, expected in lossless()}


@pytest.mark.parametrize("name", LOSSLESS)
def test_what_loses_nothing_keeps_every_pixel(name):
    data, expected = LOSSLESS[name]
    pixels = whole(data)
    assert pixels.dtype == np.uint8 and pixels.shape == (HEIGHT, WIDTH, 3) and pixels.flags.writeable
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_allclose(whole(data, 1), luma(expected), atol=1)


def bmp_with_alpha(pixels):
    """Returns a BMP file whose header says that the fourth byte is alpha, of uint8 [height, width, 4]."""
    masks = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    height, width, _ = pixels.shape
    info = struct.pack("<IiiHHIIiiII4I", 56, width, -height, 1, 32, 3, pixels.size, 2835, 2835, 0, 0, *masks)
    return b"BM" + struct.pack("<IHHI", 70 + pixels.size, 0, 0, 70) + info + pixels.tobytes()


def transparent():
    """Yields (name, file, expected uint8 [HEIGHT, WIDTH, 3])."""
    rgb, gray = on_white(PICTURE, ALPHA), on_white(as_rgb(GRAY), ALPHA)
    yield "png", encoded(SEE_THROUGH, "PNG"), rgb
    yield "png gray", encoded(SEE_THROUGH, "PNG", "LA"), gray
    key = tuple(map(int, PICTURE[3, 4]))
    at_key = (np.abs(PICTURE - np.array(key)) == 0).all(axis=2)[..., None]
    yield "png, one colour", encoded(PICTURE, "PNG", transparency=key), np.where(at_key, 255, PICTURE)
    yield "png, one gray", encoded(GRAY, "PNG", transparency=90), as_rgb(np.where(GRAY == 90, 255, GRAY))
    yield "png, black of 1 bit", encoded(BLACK_WHITE, "PNG", transparency=0), np.full_like(PICTURE, 255)
    at_index = (INDICES == 5)[..., None]
    yield "png, one index", encoded(INDEXED, "PNG", transparency=5), np.where(at_index, 255, PALETTE[INDICES])
    alphas = np.arange(64) * 4
    shaded = encoded(INDEXED, "PNG", transparency=bytes(alphas.tolist()))
    yield "png, palette", shaded, on_white(PALETTE[INDICES], alphas[INDICES])
    yield "gif", encoded(INDEXED, "GIF", transparency=5), np.where(at_index, 255, PALETTE[INDICES])
    yield "bmp", bmp_with_alpha(np.asarray(SEE_THROUGH)), rgb
    yield "webp", encoded(SEE_THROUGH, "WEBP", lossless=True, exact=True), rgb
    yield "tiff", encoded(SEE_THROUGH, "TIFF"), rgb
    yield "tiff gray", encoded(SEE_THROUGH, "TIFF", "LA"), gray
    colours = ("H", *(PALETTE.T.reshape(-1) * 257).tolist())
    tags = {"t258": ("H", 8, 8), "t262": ("H", 3), "t277": ("H", 2), "t320": colours, "t338": ("H", 2)}
    pairs = np.dstack([INDICES, ALPHA]).tobytes()
    yield "tiff, palette", bad_images.tiff(WIDTH, HEIGHT, pairs, **tags), on_white(PALETTE[INDICES], ALPHA)


TRANSPARENT = {name: (data, expected) for name, data, expected in transparent()}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_parts_show_white(name):
    data, expected = TRANSPARENT[name]
    np.testing.assert_allclose(whole(data), expected, atol=1)
    np.testing.assert_allclose(whole(data, 1), luma(expected), atol=1)


def test_a_large_transparent_picture_is_laid_on_white_whole():
    height, width = 700, 900  # more than one strip
    pixels = np.tile(sample(70, 90), (10, 10, 1))
    alpha = np.tile(np.arange(width) % 256, (height, 1)).astype(np.uint8)
    data = encoded(np.dstack([pixels, alpha]), "PNG")
    np.testing.assert_allclose(decode(data, Transform(height, width, 3)), on_white(pixels, alpha), atol=1)


# What loses something: JPEG and CMYK.


def adobe(pixels, transform):
    """Returns a JPEG file with inverted CMYK as Adobe writes it: transform 0 plain, 2 as YCC and K."""
    image = Image.fromarray(255 - pixels)
    inks = [*image.split(), Image.new("L", image.size, 0)]
    if transform:
        inks[:3] = [band.point(lambda value: 255 - value) for band in image.convert("YCbCr").split()]
    data = encoded(Image.merge("CMYK", inks), "JPEG", quality=98, subsampling=0)
    place = data.index(b"Adobe") + 11
    return data[:place] + bytes([transform]) + data[place + 1 :]


JPEGS = {
    "plain": encoded(PICTURE, "JPEG", quality=95),
    "4:4:4": encoded(PICTURE, "JPEG", quality=95, subsampling=0),
    "progressive": encoded(PICTURE, "JPEG", quality=95, progressive=True),
    "with restarts": encoded(PICTURE, "JPEG", quality=95, restart_marker_blocks=2),
    "rgb": encoded(PICTURE, "JPEG", quality=95, keep_rgb=True),
    "of several pictures": animation("MPO", quality=95),
    "cmyk": adobe(PICTURE, 0),
    "ycck": adobe(PICTURE, 2),
    "webp": encoded(PICTURE, "WEBP", quality=95),
    "in tiff": encoded(PICTURE, "TIFF", compression="jpeg", quality=95),
    "cmyk in tiff": encoded(PICTURE, "TIFF", "CMYK"),
}


@pytest.mark.parametrize("name", JPEGS)
def test_what_loses_something_keeps_its_colours(name):
    difference = np.abs(whole(JPEGS[name]).astype(int) - PICTURE)
    assert difference.mean() < 5 and np.quantile(difference, 0.99) < 20
    assert np.abs(whole(JPEGS[name], 1) - luma(PICTURE)).mean() < 2


def test_a_gray_jpeg_is_not_touched():
    data = encoded(GRAY, "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(whole(data, 1)[..., 0], expected)
    np.testing.assert_array_equal(whole(data), as_rgb(expected))


# 16 bits.

WIDE = np.array([[0, 1, 128, 129, 257, 300], [4095, 32_767, 32_768, 65_278, 65_407, 65_535]], np.uint16)
NARROW = np.array([[0, 0, 0, 1, 1, 1], [16, 127, 128, 254, 255, 255]])


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF", "TIFF tiff_lzw", "TIFF tiff_deflate"])
def test_16_bits_are_divided_by_257(kind):
    kind, *compression = kind.split()
    data = encoded(WIDE, kind, **({"compression": compression[0]} if compression else {}))
    np.testing.assert_array_equal(decode(data, Transform(2, 6, 1))[..., 0], NARROW)
    np.testing.assert_array_equal(decode(data, Transform(2, 6, 3)), as_rgb(NARROW))


def test_every_16_bit_value_is_rounded():
    values = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    pixels = decode(encoded(values, "PNG"), Transform(256, 256, 1))[..., 0]
    np.testing.assert_array_equal(pixels, np.rint(values / 257))


def test_16_bits_of_tiff_in_either_order_and_with_white_at_0():
    sixteen, white_is_0 = ("H", 16), ("H", 0)
    for order in "<>":
        data = bad_images.tiff(6, 2, WIDE.astype(order + "u2").tobytes(), order, t258=sixteen)
        np.testing.assert_array_equal(decode(data, Transform(2, 6, 1))[..., 0], NARROW)
    data = bad_images.tiff(6, 2, WIDE.tobytes(), t258=sixteen, t262=white_is_0)
    np.testing.assert_array_equal(decode(data, Transform(2, 6, 1))[..., 0], 255 - NARROW)


def test_white_is_what_the_file_says_not_the_brightest_pixel():
    values = np.array([[0, 1, 8, 9, 2048, 4095]], np.uint16)
    expected = [[0, 0, 0, 1, 128, 255]]
    packed = bytes(b for x, y in values.reshape(-1, 2).tolist() for b in (x >> 4, (x & 15) << 4 | y >> 8, y & 255))
    twelve = bad_images.tiff(6, 1, packed, t258=("H", 12))
    np.testing.assert_array_equal(decode(twelve, Transform(1, 6, 1))[..., 0], expected)
    for data in (b"P5 6 1 4095\n" + values.astype(">u2").tobytes(), text_of("P2", values, 4095)):
        np.testing.assert_allclose(decode(data, Transform(1, 6, 1))[..., 0], expected, atol=1)
    in_sixteen = encoded(values, "PNG")
    assert decode(in_sixteen, Transform(1, 6, 1)).max() == 16


def test_a_transparent_16_bit_value_shows_white():
    data = encoded(WIDE, "PNG")
    key = bad_images.png_chunk(b"tRNS", struct.pack(">H", 300))
    place = data.index(b"IDAT") - 4
    pixels = decode(data[:place] + key + data[place:], Transform(2, 6, 1))[..., 0]
    np.testing.assert_array_equal(pixels, np.where(WIDE == 300, 255, NARROW))


def test_colours_of_16_bits_are_read():
    wide = PICTURE.astype(np.uint16) * 257
    data = b"P6 56 40 65535\n" + wide.astype(">u2").tobytes()
    np.testing.assert_array_equal(whole(data), PICTURE)
    bits, samples, rgb = ("H", 16, 16, 16), ("H", 3), ("H", 2)
    data = bad_images.tiff(WIDTH, HEIGHT, wide.tobytes(), t258=bits, t262=rgb, t277=samples)
    np.testing.assert_array_equal(whole(data), PICTURE)


# Orientation.

TURNS = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


def with_orientation(pixels, kind, value, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return encoded(pixels, kind, exif=exif.tobytes() if kind == "WEBP" else exif, **options)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_stand_upright(orientation, kind):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = with_orientation(PICTURE, kind, orientation, **options)
    expected = TURNS[orientation](PICTURE)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert turned.size == expected.shape[1::-1]
    pixels = decode(data, Transform(*expected.shape[:2], 3))
    np.testing.assert_allclose(pixels.astype(int), expected, atol=6 if kind == "JPEG" else 0)
    np.testing.assert_array_equal(pixels, np.asarray(turned))
    for resize in decoding.RESIZES:  # and what is cut off and added is so where it is upright
        transform = Transform(17, 12, 3, resize)
        upright = decode(encoded(np.ascontiguousarray(expected), "PNG"), transform)
        difference = np.abs(decode(data, transform).astype(int) - upright)
        assert difference.max() <= (6 if kind == "JPEG" else 1)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_says_nothing_is_passed_over(value):
    np.testing.assert_array_equal(whole(with_orientation(PICTURE, "PNG", value)), PICTURE)


def test_broken_exif_data_are_passed_over():
    good = with_orientation(PICTURE, "PNG", 6)
    start = good.index(b"eXIf") + 4
    length = struct.unpack(">I", good[start - 8 : start - 4])[0]
    for junk in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(50), b"\x80" * 64):
        data = good[: start - 8] + bad_images.png_chunk(b"eXIf", junk) + good[start + length + 4 :]
        np.testing.assert_array_equal(whole(data), PICTURE)
        segment = b"Exif\0\0" + junk
        plain = JPEGS["plain"]
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + plain[2:]
        np.testing.assert_array_equal(whole(data), whole(plain))


# Sizes.

RED, GREEN, BLUE = (250, 10, 20), (30, 240, 40), (50, 60, 230)
FLAG = np.repeat(np.array([[RED, GREEN, BLUE]], np.uint8), 20, axis=1).repeat(20, axis=0)  # 60 wide, 20 high


def test_crop_keeps_the_middle():
    for flag in (FLAG, np.ascontiguousarray(FLAG.swapaxes(0, 1))):
        pixels = decode(encoded(flag, "PNG"), Transform(20, 20, 3))
        np.testing.assert_array_equal(pixels, np.broadcast_to(GREEN, (20, 20, 3)))
        for size in (10, 5, 47):
            assert np.all(decode(encoded(flag, "PNG"), Transform(size, size, 3)).argmax(axis=2) == 1)


def test_crop_keeps_what_the_shape_allows():
    wide = decode(encoded(FLAG, "PNG"), Transform(20, 40, 3))
    np.testing.assert_array_equal(wide, FLAG[:, 10:50])


def test_fit_keeps_the_whole_on_black():
    pixels = decode(encoded(FLAG, "PNG"), Transform(60, 60, 3, "fit"))
    np.testing.assert_array_equal(pixels[20:40], FLAG)
    assert not pixels[:20].any() and not pixels[40:].any()
    small = decode(encoded(FLAG, "PNG"), Transform(30, 30, 3, "fit"))
    assert not small[:10].any() and not small[20:].any()
    for place, colour in ((5, RED), (15, GREEN), (25, BLUE)):
        np.testing.assert_array_equal(small[10:20, place], np.broadcast_to(colour, (10, 3)))


def test_stretch_keeps_the_whole_without_its_proportions():
    pixels = decode(encoded(FLAG, "PNG"), Transform(30, 30, 3, "stretch"))
    for place, colour in ((5, RED), (15, GREEN), (25, BLUE)):
        np.testing.assert_array_equal(pixels[:, place], np.broadcast_to(colour, (30, 3)))


def padded(image, size, method):
    """Pillow's operation, but what cannot be halved is so that the larger half comes after."""
    return ImageOps.pad(image, size, method, centering=(0.499, 0.499))


def test_sizes_are_those_of_pillows_own_operations():
    rng = np.random.default_rng(0)
    size = (16, 24)
    for _ in range(30):
        picture = sample(*map(int, rng.integers(4, 60, 2)))
        image = Image.fromarray(picture)
        for resize, operation in (
            ("crop", ImageOps.fit(image, size, Image.Resampling.LANCZOS)),
            ("fit", padded(image, size, Image.Resampling.LANCZOS)),
            ("stretch", image.resize(size, Image.Resampling.LANCZOS)),
        ):
            pixels = decode(encoded(picture, "PNG"), Transform(24, 16, 3, resize))
            np.testing.assert_allclose(pixels.astype(int), np.asarray(operation), atol=1)


def test_shrinking_averages():
    board = ((np.indices((400, 600)).sum(axis=0) % 2) * 255).astype(np.uint8)
    pixels = decode(encoded(board, "PNG"), Transform(50, 50, 1))
    assert np.abs(pixels.astype(int) - 127).max() <= 2


def test_the_smallest_picture_is_a_picture():
    for resize in decoding.RESIZES:
        pixels = decode(encoded(np.full((1, 1, 3), RED, np.uint8), "PNG"), Transform(8, 8, 3, resize))
        np.testing.assert_array_equal(pixels, np.broadcast_to(RED, (8, 8, 3)))


@pytest.mark.parametrize("shape", [(1, 20_000_001), (300_001, 1), (3, 1_000_000)])
def test_very_long_pictures_are_pictures(shape):
    values = np.full(shape, 90, np.uint8)
    values[:, shape[1] // 3 : -(shape[1] // 3) or None] = 160
    data = b"P5 %d %d 255\n" % shape[::-1] + values.tobytes()
    assert np.all(decode(data, Transform(20, 20, 1)) == 160)
    assert np.count_nonzero(decode(data, Transform(21, 21, 1, "fit"))) == 21
    assert decode(data, Transform(20, 20, 1, "stretch")).min() >= 80  # but for some ringing, 90


def photograph(height, width):
    """Noise with the spectrum of photographs, and like there with little colour."""
    rng = np.random.default_rng(height)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) + 1 / max(height, width)
    layers = np.fft.ifft2(np.fft.fft2(rng.normal(size=(4, height, width))) / frequency**1.3).real
    pixels = layers[3] + 0.3 * layers[:3]
    return np.clip(np.rint(pixels / pixels.std() * 50 + 128), 0, 255).astype(np.uint8).transpose(1, 2, 0)


LARGE = photograph(611, 1003)
# Neither side can be divided by 8: were the last, partly empty blocks taken for whole, a slope would be off by 4.
SLOPE = np.rint(np.stack(np.broadcast_arrays(*np.ogrid[0:255:601j, 0:255:1001j], 128), axis=-1)).astype(np.uint8)


def slowly(data, transform):
    """The same by Pillow's operations, all at full size."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(transform.mode)
    operation = {"crop": ImageOps.fit, "fit": padded, "stretch": Image.Image.resize}[transform.resize]
    pixels = operation(image, (transform.width, transform.height), Image.Resampling.LANCZOS)
    return np.asarray(pixels).reshape(transform.shape).astype(int)


@pytest.mark.parametrize("resize", decoding.RESIZES)
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_jpeg_files_are_decoded_smaller_and_look_the_same(channels, orientation, resize, monkeypatch):
    loaded = []
    load = JpegImagePlugin.JpegImageFile.load
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", lambda image: (loaded.append(image.size), load(image)))
    transform = Transform(60, 40, channels, resize)
    large = with_orientation(LARGE, "JPEG", orientation, quality=90)
    slope = with_orientation(SLOPE, "JPEG", orientation, quality=100, subsampling=0)
    pixels, slope_pixels = decode(large, transform), decode(slope, transform)
    assert loaded[0] == ((126, 77) if resize == "fit" else (251, 153))
    monkeypatch.undo()
    assert np.abs(pixels - slowly(large, transform)).mean() < 1
    assert np.abs(slope_pixels - slowly(slope, transform)).max() <= 2


@pytest.mark.parametrize("resize", decoding.RESIZES)
def test_large_pictures_are_shrunk_in_two_steps_and_look_the_same(resize):
    transform = Transform(30, 20, 3, resize)
    data = encoded(LARGE, "PNG", compress_level=1)
    assert np.abs(decode(data, transform) - slowly(data, transform)).mean() < 1


# Broken files.


@pytest.mark.parametrize("name", bad_images.BAD_IMAGES)
def test_a_broken_file_has_a_reason(name):
    data, words = bad_images.BAD_IMAGES[name]
    for transform in (Transform(20, 20, 1), Transform(9, 30, 3, "fit")):
        with pytest.raises(BadImage) as caught:
            decode(data, transform)
        reason = str(caught.value)
        assert words in reason
        assert reason.isprintable() and len(reason) < 150 and name not in reason


def test_the_limit_of_pixels_is_a_limit(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", HEIGHT * WIDTH)
    np.testing.assert_array_equal(whole(encoded(PICTURE, "PNG")), PICTURE)
    for kind in ("PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF"):
        with pytest.raises(BadImage, match="has 56 x 41 pixels, more than"):
            whole(encoded(sample(HEIGHT + 1, WIDTH), kind))
    whole(encoded(sample(4 * HEIGHT, WIDTH), "JPEG"))
    with pytest.raises(BadImage, match="has 56 x 161 pixels, more than"):
        whole(encoded(sample(4 * HEIGHT + 1, WIDTH), "JPEG"))


def test_broken_files_cost_little_memory_and_say_nothing_themselves():
    """Bombs, in a process of its own that must not grow."""
    program = """
import json, resource, sys, warnings
import bad_images
from gan.data import decoding
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, (data, _) in bad_images.BAD_IMAGES.items():
    try:
        decoding.decode(data, decoding.Transform(20, 20, 1))
    except decoding.BadImage:
        pass
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"megabytes": grown / 1024, "tensorflow": "tensorflow" in sys.modules}))
"""
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    assert told["megabytes"] < 100 and not told["tensorflow"]
    assert "Warning" not in ran.stderr and "Traceback" not in ran.stderr


def test_an_error_at_any_step_is_a_reason(monkeypatch):
    """Of some damaged files Pillow loads pixels of another mode than it says, and only resizing meets that."""

    def fail(*_):
        raise ValueError("image has wrong mode")

    monkeypatch.setattr(Image.Image, "resize", fail)
    with pytest.raises(BadImage, match=r"cannot be decoded \(image has wrong mode\)"):
        decode(encoded(PICTURE, "PNG"), Transform(9, 9, 1))
    monkeypatch.setattr(Image.Image, "resize", lambda *_: bytearray(1 << 60))
    with pytest.raises(BadImage, match="needs more memory than there is"):
        decode(encoded(PICTURE, "PNG"), Transform(9, 9, 1))


def test_a_reason_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(BadImage("is truncated")))
    assert type(error) is BadImage and str(error) == "is truncated"


def test_pillow_is_left_as_it_was():
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    for name in ("truncated.jpg", "bomb.png", "bomb.gif"):
        with pytest.raises(BadImage):
            whole(bad_images.BAD_IMAGES[name][0])
    whole(encoded(PICTURE, "TIFF"))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


def test_what_pillow_warns_of_is_no_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)  # too many for Pillow, but not twice as many
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(whole(encoded(PICTURE, "TIFF")), PICTURE)


def test_threads_may_decode_side_by_side():
    files = [data for data, _ in (*LOSSLESS.values(), *TRANSPARENT.values())]
    expected = [whole(data) for data in files]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(whole, files), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("wrong", [(0, 5, 1), (5, 0, 1), (5, 5, 2), (5, 5, 3, "squeeze")])
def test_a_transform_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="no such transform"):
        Transform(*wrong)


def test_what_follows_a_picture_is_passed_over():
    for name, (data, expected) in LOSSLESS.items():
        if name not in {"p1", "p2", "p3"}:  # there it could be more numbers
            np.testing.assert_array_equal(whole(data + b"\n<!-- cached -->\xff\xd8\xff\xd9"), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [33, 40, 64])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"progressive": True}])
def test_a_picture_may_end_in_mid_gray_but_not_because_it_ends_early(options, height, channels):
    picture = sample(height, WIDTH)[..., :channels].squeeze()
    for data in (bad_images.without_end_of_scan(encoded(picture, "JPEG", quality=q, **options)) for q in (60, 95)):
        if "progressive" not in options:
            with pytest.raises(BadImage, match="is truncated"):
                decode(data, Transform(8, 8, channels))
    picture = picture.copy()
    picture[height // 2 :] = 128
    pixels = decode(encoded(picture, "JPEG", **options), Transform(height, WIDTH, channels))
    assert np.all(pixels[-1] == 128)


SOURCES = {name: data for name, (data, _) in (*LOSSLESS.items(), *TRANSPARENT.items())} | {
    f"jpeg {name}": data for name, data in JPEGS.items()
}
SOURCES["tiff lzma"] = encoded(PICTURE, "TIFF", compression="lzma")
SOURCES["tiff exif"] = with_orientation(PICTURE, "TIFF", 6)
SOURCES["jpeg exif"] = with_orientation(PICTURE, "JPEG", 6)
SOURCES["webp exif"] = with_orientation(PICTURE, "WEBP", 6)
SOURCES["wide png"], SOURCES["wide tiff"] = encoded(WIDE, "PNG"), encoded(WIDE, "TIFF")
SOURCES["lab tiff"] = encoded(lab_image(), "TIFF", compression="tiff_lzw")


def check_truncated(name, most):
    """Takes bytes off the end of a file: the picture is whole or refused, never partly there."""
    data = SOURCES[name]
    try:
        expected = whole(data)
    except BadImage:
        return
    last_number = 2 if data[:2] in {b"P1", b"P2", b"P3"} else 0  # that one cannot be known to go on
    places = {len(data) - last_number - 1 - i for i in range(20)}
    places |= set(np.linspace(0, len(data) - last_number - 1, most).astype(int).tolist())
    for place in places:
        try:
            pixels = whole(data[: max(0, place)])
        except BadImage:
            continue
        np.testing.assert_array_equal(pixels, expected)


def check_damaged(name, most):
    """Changes bytes at random: there are pixels or there is a reason."""
    rng = np.random.default_rng(len(name))
    data, transforms = SOURCES[name], [Transform(9, 8, 1), Transform(20, 30, 3, "fit"), Transform(40, 56, 3)]
    for number in range(most):
        transform = transforms[number % len(transforms)]
        try:
            pixels = decode(damaged(data, rng), transform)
        except BadImage as error:
            assert str(error).isprintable() and " object at " not in str(error)
        else:
            assert pixels.dtype == np.uint8 and pixels.shape == transform.shape


def damaged(data, rng):
    """Returns a file with a few changes; half of them near its start or its end, where what it says of itself is."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        near = min(len(changed), 200)
        place = int(rng.choice([rng.integers(near), len(changed) - 1 - rng.integers(near), rng.integers(len(changed))]))
        kind = rng.integers(5)
        if kind == 0:
            changed[place] ^= 1 << rng.integers(8)
        elif kind == 1:
            changed[place] = rng.choice([0, 127, 128, 255])
        elif kind == 2:
            changed[place : place + 4] = struct.pack(
                "<I", rng.choice([0, 65_535, 1 << 24, (1 << 31) - 1, (1 << 32) - 1])
            )
        elif kind == 3 and len(changed) > 20:
            del changed[place : place + rng.integers(1, 9)]
        else:
            changed[place:place] = rng.bytes(rng.integers(1, 9))
    return bytes(changed)


@pytest.mark.parametrize("name", SOURCES)
def test_a_truncated_file_is_refused(name):
    check_truncated(name, 15)


@pytest.mark.parametrize("name", SOURCES)
def test_a_damaged_file_is_read_or_refused(name):
    check_damaged(name, 15)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SOURCES)
def test_a_file_truncated_anywhere_is_refused(name):
    check_truncated(name, 1500)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SOURCES)
def test_a_file_damaged_in_a_thousand_ways_is_read_or_refused(name):
    check_damaged(name, 1500)
