"""What a data file holds: its bytes, unpacked where they are compressed, and its text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from frown.errors import FrownError, first_line

COMPRESSED = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4")
"""Endings behind the one that says what a file is, as in rows.jsonl.gz."""

SOURCES = (
    "a JSONL, JSON, Parquet or CSV file, compressed or not, a folder of shards or one saved by datasets, a pattern "
    "(FOLDER/train-*.parquet), or a hub name (org/name:config@split)"
)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked; whether it is compressed is seen in its first bytes, whatever it is called.

    gzip, zstd, bzip2, xz and lz4. Raises FrownError for a file that is missing, unreadable, cut short or no data.
    """
    raw = _raw(path)
    packing = _packing(raw)
    if packing is None:
        return _refuse_foreign(path, raw)
    try:
        unpacked = _UNPACK[packing](raw)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as e:
        raise FrownError(
            f"data {path} cannot be unpacked: its {packing} data are cut short or damaged ({first_line(e)}); make or "
            "download it again"
        ) from None
    if _packing(unpacked) is not None:
        raise FrownError(f"data {path} is compressed twice; unpack it once")
    return _refuse_foreign(path, unpacked)


def decoded(path: Path, raw: bytes) -> str:
    """The text of a file with these bytes: UTF-8, or what its byte-order mark says."""
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as e:
        line = e.object.count(b"\n", 0, e.start) + 1
        raise FrownError(f"data {path}, line {line} is not UTF-8 text; save the file as UTF-8") from None


def kind_ending(path: Path) -> str:
    """The ending that says what a file is, in small letters: ".jsonl" of rows.JSONL.gz; "" where there is none."""
    name = Path(path.name)
    if name.suffix.lower() in COMPRESSED:
        name = name.with_suffix("")
    return name.suffix.lower()


_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks; that of UTF-32 begins like that of UTF-16 and goes before it."""


def _raw(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FrownError(f"data {path} does not exist; give {SOURCES}") from None
    except OSError as e:
        raise FrownError(f"data {path} cannot be read: {e.strerror or e}") from None
    except ValueError as e:  # a null character in the name
        raise FrownError(f"data {path} cannot be read: {e}") from None


def _packing(raw: bytes) -> str | None:
    if raw[:2] == b"\x1f\x8b":
        return "gzip"
    if raw[:4] == b"\x28\xb5\x2f\xfd" or (raw[1:4] == b"\x2a\x4d\x18" and 0x50 <= raw[0] <= 0x5F):
        return "zstd"  # the second: a frame to be skipped, with which parallel writers begin
    if raw[:3] == b"BZh" and raw[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return "bzip2"
    if raw[:6] == b"\xfd7zXZ\x00":
        return "xz"
    return "lz4" if raw[:4] == b"\x04\x22\x4d\x18" else None


def _arrow(codec: str) -> Callable[[bytes], bytes]:
    def unpack(raw: bytes) -> bytes:
        import pyarrow as pa

        return bytes(pa.CompressedInputStream(pa.BufferReader(raw), codec).read())

    return unpack


_UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": _arrow("zstd"),
    "lz4": _arrow("lz4"),
}


def _refuse_foreign(path: Path, raw: bytes) -> bytes:
    """The bytes, unless they show that the file is no data at all, and what to do then."""
    what = ""
    if raw[:4] == b"PK\x03\x04":
        sheet = path.suffix.lower() in (".xlsx", ".xlsm", ".ods")
        what = "a spreadsheet; save it as CSV" if sheet else "a zip archive; unpack it and give what is in it"
    elif raw[257:262] == b"ustar":
        what = "a tar archive; unpack it and give the folder"
    elif raw[:6] == b"ARROW1":
        what = "an Arrow file; save it as Parquet, or give the folder that datasets saved"
    elif raw.startswith(b"version https://git-lfs.github.com/spec/"):
        what = "a Git LFS pointer and not the data; fetch them with git lfs pull"
    elif raw[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        what = "a web page; download the file itself"
    if what:
        raise FrownError(f"data {path} is {what}")
    return raw
