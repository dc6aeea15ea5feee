"""One image file to pixels of the size asked for, or the reason why not.

Files come from strangers and by the million, so whatever is wrong with one is a `BadImage` with a reason of one clause,
never a crash; and a picture whose lower half is missing is refused, not filled with gray. What a file is follows from
its first bytes, not from its name.
"""

import contextlib
import dataclasses
import functools
import io
import math
import re
import struct
import warnings

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from gan.errors import printable

# Pillow holds a pixel in 4 bytes, some formats up to four times while they are decoded: 0.1 to 0.5 GB at this limit,
# and each core decodes another file. JPEG, which the largest photographs are, is decoded at a fraction of its size.
MAX_PIXELS = 1 << 25
_JPEG_FACTOR = 4
RESIZES = ("crop", "fit", "stretch")

# Files are given to Pillow's readers directly: `Image.open` says the same of a damaged file and of one of another kind,
# and its limit of pixels is a global that others may have changed. An MPO file starts as a JPEG file, with its first
# picture.
_READERS = (
    (rb"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (rb"BM", BmpImagePlugin.BmpImageFile),
    (rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    (rb"RIFF[\x00-\xff]{4}WEBP", WebPImagePlugin.WebPImageFile),
    (rb"P[1-6]\s", PpmImagePlugin.PpmImageFile),
    (rb"II[*+]\x00|MM\x00[*+]", TiffImagePlugin.TiffImageFile),
)
# Half of Lanczos' full width at the small size: the coarse averaging before it then changes pixels by 0.5 of 255 in the
# mean, takes a fifth of the time for a large photograph, and keeps the filter of a very long image from needing 2 GB.
_REDUCING_GAP = 3.0
# JPEG can be decoded at a half, a quarter or an eighth, in a third of the time. At just twice the size wanted that
# changes pixels by up to 1 of 255 in the mean, for faces from 350 to 50 pixels by 0.2; without a margin by up to 2.5.
_DRAFT_MARGIN = 2

_SIGNS_OF_AN_END = ("truncated", "not enough image data", "reached eof", "requires a buffer of")
_MOST_BYTES_OF_A_PIXEL = 8
_BLOCK = 1 << 18  # pixels of which a copy is made at once
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


class BadImage(Exception):
    """A file that gives no picture; the message is the reason, one clause without the file's name."""


@dataclasses.dataclass(frozen=True)
class Transform:
    """What is made of every picture.

    Attributes:
      height, width: in pixels.
      channels: 1 for gray, 3 for RGB.
      resize: "crop" keeps the largest part in the middle that has the shape wanted, "fit" keeps the whole picture, in
        the middle of black, "stretch" keeps the whole picture but not its proportions.

    Raises:
      ValueError: a value that is none of these.
    """

    height: int
    width: int
    channels: int
    resize: str = "crop"

    def __post_init__(self):
        if self.height < 1 or self.width < 1 or self.channels not in {1, 3} or self.resize not in RESIZES:
            raise ValueError(f"no such transform: {self}")

    @property
    def mode(self):
        """The name that Pillow has for the channels."""
        return "L" if self.channels == 1 else "RGB"

    @property
    def shape(self):
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def image_size(self):
        """Bytes in a finished picture."""
        return self.height * self.width * self.channels


def decode(data, transform):
    """Turns one encoded image file into pixels.

    Reads JPEG, PNG, BMP, GIF, WebP, PBM, PGM, PPM and TIFF; of several pictures in a file the first. The picture is
    turned upright as its EXIF data say, transparent parts show white, 16 bits become 8 by division by 257, CMYK becomes
    RGB by the plain formula (colour profiles are not applied), gray is the luma of ITU-R BT.601. Sizes change by
    Lanczos' filter, antialiased; a picture that has the size and the channels already is not changed at all.

    Args:
      data: the bytes of the file; what follows the picture is ignored.
      transform: a `Transform`.

    Returns:
      uint8 [height, width, channels].

    Raises:
      BadImage: the file is damaged, of another kind, has more than `MAX_PIXELS` pixels (JPEG four times as many), or
        pixels for which no white is defined (floating point, 32 bits) or no formula is known (Lab).
    """
    if not data:
        raise BadImage("is empty")
    with _quiet():
        try:
            return _decode(data, transform)
        except BadImage:
            raise
        except Image.DecompressionBombError as error:
            raise BadImage(f"has more than {MAX_PIXELS // 10**6} million pixels") from error
        except Exception as error:  # damaged files raise whatever the code that met the damage raises
            raise BadImage(_reason(error)) from error


@contextlib.contextmanager
def _quiet():
    """Keeps Pillow's warnings off the terminal.

    Filters belong to the process: where threads decode side by side one may be left behind, so it is for Pillow alone.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _decode(data, transform):
    image, area = _load(data, transform)
    turn = _turn(image)
    picture = _flatten(image, transform.mode)
    box, size = _geometry(area, _upright_size(transform, turn), transform.resize)
    if size != picture.size or box != (0, 0, *picture.size):
        picture = picture.resize(size, Image.Resampling.LANCZOS, box, _REDUCING_GAP)
    if turn is not None:  # only now, when there are few pixels left to move
        picture = picture.transpose(turn)
    return np.array(_on_black(picture, transform)).reshape(transform.shape)


def _load(data, transform):
    """Decodes the pixels, of a large JPEG file fewer than it has.

    Returns:
      (image, (width, height)), the part of the image that the picture covers: the last column and row of a JPEG that
      was decoded at a fraction may be partly empty.
    """
    image = _open(data)
    area = image.size
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        area = _draft(image, transform)
    # Pillow reads blocks until it has a row, and begins with the row anew at each block: hours for a very wide image.
    image.decodermaxblock = max(image.decodermaxblock, _MOST_BYTES_OF_A_PIXEL * image.width)
    image.load()
    if isinstance(image, JpegImagePlugin.JpegImageFile) and _ends_in_filling(image, data):
        raise BadImage("is truncated")
    return image, area


def _open(data):
    """Reads the header: returns Pillow's image, not yet loaded."""
    reader = next((reader for start, reader in _READERS if re.match(start, data)), None)
    if reader is None:
        raise BadImage("is no image of a known kind (JPEG, PNG, BMP, GIF, WebP, PGM, TIFF)")
    if _least_length(reader, data) > len(data):
        raise BadImage("is truncated")
    if reader is PngImagePlugin.PngImageFile:
        # The canvas of an animation is made as soon as the file is opened, so its size must be known before.
        name, *size = struct.unpack_from(">4sII", data, 12)
        if name != b"IHDR":
            raise BadImage("cannot be decoded (no IHDR chunk at the start)")
        _check_size(size)
    image = reader(io.BytesIO(data))
    _check_size(image.size, factor=_JPEG_FACTOR if reader is JpegImagePlugin.JpegImageFile else 1)
    if reader is TiffImagePlugin.TiffImageFile:  # a tile may be larger than the picture, and is decoded whole
        tile = [image.tag_v2.get(tag, 1) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
        _check_size(tile, "tiles of ")
    return image


def _least_length(reader, data):
    """Returns how long a file must be by its first bytes, for the kinds of which Pillow does not say that they end."""
    if reader is WebPImagePlugin.WebPImageFile:
        return 8 + int.from_bytes(data[4:8], "little")
    if reader is TiffImagePlugin.TiffImageFile:  # the list of what is where may be at the end, and is never empty
        place = data[8:16] if data[2:4].strip(b"\x00") == b"+" else data[4:8]
        return 1 + int.from_bytes(place, "little" if data.startswith(b"II") else "big")
    return 24 if reader is PngImagePlugin.PngImageFile else 0


def _check_size(size, what="", factor=1):
    (width, height), most = size, factor * MAX_PIXELS
    if width * height > most:
        raise BadImage(f"has {what}{width} x {height} pixels, more than {most // 10**6} million")


def _draft(image, transform):
    """Has a JPEG file decoded at the smallest fraction that is large enough; returns the (width, height) of that."""
    width, height = image.size
    box, (scaled_width, scaled_height) = _geometry(image.size, _upright_size(transform, _turn(image)), transform.resize)
    wanted_width = math.ceil(_DRAFT_MARGIN * width * scaled_width / (box[2] - box[0]))
    wanted_height = math.ceil(_DRAFT_MARGIN * height * scaled_height / (box[3] - box[1]))
    _, covered = image.draft(transform.mode, (wanted_width, wanted_height))
    return covered[2:]


def _geometry(area, size, resize):
    """Says which part of a picture is wanted and how large.

    Args:
      area, size: (width, height), of the picture and of what is to be made of it, lying the same way.
      resize: one of `RESIZES`.

    Returns:
      ((left, top, right, bottom), (width, height)): the part, and the size to scale it to.
    """
    ratios = [old / new for old, new in zip(area, size, strict=True)]
    if resize == "crop":
        left, top = (max(0.0, old - new * min(ratios)) / 2 for old, new in zip(area, size, strict=True))
        return (left, top, area[0] - left, area[1] - top), size
    if resize == "fit":
        size = tuple(max(1, round(old / max(ratios))) for old in area)
    return (0, 0, *area), size


def _upright_size(transform, turn):
    """The (width, height) that becomes the one wanted when the picture is turned."""
    size = transform.width, transform.height
    return size[::-1] if turn in _SIDEWAYS else size


def _turn(image):
    """Returns how to turn an image upright, or None: Pillow turns TIFF files itself as it loads them."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # noqa: BLE001 - a broken note about the picture is no reason to refuse the picture
        return None


def _ends_in_filling(image, data):
    """Whether the end of a JPEG's scan is missing although its end marker is there.

    What a scan lacks is mid-gray after decoding, and that Pillow does not say. But a picture may well end in mid-gray:
    so a last row of it is decoded again without the marker. Then the decoder waits for more and leaves rows that it
    has nothing for black. Scans of progressive files lack details, not rows.
    """
    if "progressive" in image.info or not _last_row_is_filling(image):
        return False
    marker = data.rfind(b"\xff\xd9")
    again = JpegImagePlugin.JpegImageFile(io.BytesIO(data[:marker] + bytes(16)))  # it always reads some bytes ahead
    with contextlib.suppress(OSError):
        again.load()
    again.tile = []  # there is nothing more to load
    return not _last_row_is_filling(again)


def _last_row_is_filling(image):
    values = image.crop((0, image.height - 1, image.width, image.height)).tobytes()
    return values.count(128) == len(values)


def _flatten(image, mode):
    """Returns an image as 8-bit gray or RGB without transparency."""
    if image.mode == "F":
        raise BadImage("has floating-point pixels, for which no white is defined")
    if image.mode == "LAB":
        raise BadImage("is in the Lab colour space, which is not read")
    if image.mode.startswith("I"):
        image = _to_8_bits(image)
    if image.has_transparency_data:
        return _on_white(image, mode)
    return image if image.mode == mode else image.convert(mode)


def _on_white(image, mode):
    """Lays an image with transparency over white, a strip at a time: a large one is not wanted in memory five times."""
    result = Image.new(mode, image.size, "white")
    rows = max(1, _BLOCK // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        result.paste(strip.convert(mode), (0, top), strip.getchannel("A"))
    return result


def _to_8_bits(image):
    """Returns a gray image of up to 16 bits as one of 8, transparent values as white."""
    levels = _levels(65535)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image.mode == "I":
            raise BadImage("has 32-bit or signed pixels, for which no white is defined")
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE)
        levels = _levels((1 << bits[0]) - 1)
        if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0) == 0:  # white is 0; Pillow sees to it for 8
            levels = levels[::-1]
    transparent = image.info.get("transparency")
    if transparent is not None:
        levels = np.where(np.arange(len(levels)) == transparent, 255, levels).astype(np.uint8)
    # Pillow's `convert` would clip at 255. In blocks, because indices take 8 bytes each.
    values = np.asarray(image).reshape(-1)
    blocks = np.array_split(values, 1 + len(values) // _BLOCK)
    return Image.fromarray(np.concatenate([levels[block] for block in blocks]).reshape(image.height, image.width))


@functools.cache
def _levels(white):
    """Returns for each value of 16 bits that of 8."""
    return np.rint(np.arange(1 << 16) * 255 / white).clip(max=255).astype(np.uint8)


def _on_black(picture, transform):
    if picture.size == (transform.width, transform.height):
        return picture
    canvas = Image.new(picture.mode, (transform.width, transform.height))
    canvas.paste(picture, ((transform.width - picture.width) // 2, (transform.height - picture.height) // 2))
    return canvas


def _reason(error):
    """Says in one clause what Pillow or zlib raised over a damaged file."""
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    text = printable(str(error), 100)
    if any(sign in text.lower() for sign in _SIGNS_OF_AN_END):
        return "is truncated"
    if text == "not identified by this driver":
        return "has no pixels, or pixels of an unknown kind"
    return f"cannot be decoded ({text})" if " " in text else "cannot be decoded"
