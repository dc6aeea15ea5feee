"""Messages between the organiser and a worker: a line of JSON, and an array's bytes after it.

    8 bytes: length of the header, length of the array's bytes (two unsigned 32-bit numbers, big-endian)
    header:  JSON object; "dtype" and "shape" describe the array
    array:   C order

Nothing that arrives is trusted: whoever reads checks lengths, types and sizes (`lengths`, `unpack`).
"""

import json
import math
import struct

import numpy as np

LENGTHS = struct.Struct(">II")
MAX_HEADER_BYTES = 1 << 16
MAX_ARRAY_BYTES = 1 << 28
_DTYPES = {"<f2", "<f4", "<f8", "|i1", "|u1", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8", "|b1"}


class WireError(Exception):
    """The other side does not keep to the format."""


def pack(header, array=None):
    """Returns a message as bytes.

    Raises:
      WireError: the array is of a type or size that is not sent.
    """
    body = b""
    if array is not None:
        header = {**header, "dtype": array.dtype.str, "shape": list(array.shape)}
        if array.dtype.str not in _DTYPES:
            raise WireError(f"an array of type {array.dtype}, not of real numbers")
        if array.nbytes > MAX_ARRAY_BYTES:
            raise WireError(f"an array of shape {list(array.shape)} ({array.nbytes} bytes)")
        body = np.ascontiguousarray(array).tobytes()
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


def lengths(prefix):
    """Returns (bytes of the header, bytes of the array).

    Raises:
      WireError: one of them is larger than allowed.
    """
    header, body = LENGTHS.unpack(prefix)
    if header > MAX_HEADER_BYTES or body > MAX_ARRAY_BYTES:
        raise WireError(f"a message of {header} + {body} bytes")
    return header, body


def unpack(text, body):
    """Returns (header, array or None).

    Raises:
      WireError: the header is no JSON object, or does not describe the bytes.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("a header that is not JSON") from None
    if not isinstance(header, dict):
        raise WireError("a header that is no object")
    if "dtype" not in header:
        if body:
            raise WireError("bytes without a description")
        return header, None
    dtype, shape = header["dtype"], header.get("shape")
    sizes_fit = isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and 0 <= n < 1 << 32 for n in shape)
    if not isinstance(dtype, str) or dtype not in _DTYPES or not sizes_fit:
        raise WireError("an array of no known type or shape")
    if math.prod(shape) * np.dtype(dtype).itemsize != len(body):
        raise WireError("an array whose shape and bytes differ")
    try:
        return header, np.frombuffer(body, dtype).reshape(shape)
    except ValueError:  # an empty array, one side of which is 0 and the others together beyond all memory
        raise WireError("an array of no known type or shape") from None
