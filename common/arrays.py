"""Integer arrays in an npz file, read without trust.

numpy's own reader allocates what a header claims before it looks at the data, and may unpickle;
this one compares the claim with the bytes that are there, and knows integers only.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.errors import BundleInvalid

MAX_FILE_BYTES: Final = 16 * 2**20
"""Of the file, and of all its arrays together."""

_HEADER: Final = re.compile(
    rb"\x93NUMPY\x01\x00.{2}"
    rb"\{'descr': '(?P<dtype>[<>|][iu][1248])', 'fortran_order': False, "
    rb"'shape': \((?P<shape>[0-9, ]{0,99})\), \} *\n",
    re.DOTALL,
)
# RuntimeError: an encrypted member. NotImplementedError: an unknown compression.
_FAULTS: Final = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_integers(path: Path, arrays: Mapping[str, NDArray[np.integer[Any]]]) -> None:
    """Write the arrays, compressed; the same numpy writes the same bytes for the same arrays."""
    with path.open("wb") as file:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        np.savez_compressed(file, allow_pickle=False, **contiguous)


def load_integers(path: Path, allowed: frozenset[str]) -> dict[str, NDArray[np.integer[Any]]]:
    """Read all arrays of a file; BundleInvalid if it is broken, too big or holds anything else."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BundleInvalid(f"{path.name} is larger than {MAX_FILE_BYTES} bytes")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MAX_FILE_BYTES:
                raise BundleInvalid(f"{path.name} unpacks to over {MAX_FILE_BYTES} bytes")
            names = [member.filename.removesuffix(".npy") for member in members]
            if len(set(names)) != len(names) or not allowed.issuperset(names):
                raise BundleInvalid(f"{path.name} holds other arrays than it should")
            contents = [archive.read(member) for member in members]
        arrays = {name: _parse(data) for name, data in zip(names, contents, strict=True)}
    except _FAULTS as error:
        raise BundleInvalid(f"{path.name} is no file of integer arrays: {error}") from error
    return arrays


def _parse(data: bytes) -> NDArray[np.integer[Any]]:
    """One array in npy format 1.0 as numpy writes it; ValueError if it is anything else."""
    header = _HEADER.match(data)
    if header is None:
        raise ValueError("not a plain array of integers")
    dtype = np.dtype(header["dtype"].decode())
    shape = tuple(int(size) for size in header["shape"].split(b",") if size.strip())
    if math.prod(shape) * dtype.itemsize != len(data) - header.end():
        raise ValueError(f"{len(data) - header.end()} bytes of {dtype} with shape {shape}")
    return np.frombuffer(data, dtype, offset=header.end()).reshape(shape)
