"""Compressed files are read by what they hold, whatever they are called; what is no data says what to do."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frown.errors import FrownError
from frown.tasks.data import read_tasks
from frown.tasks.rows import read_rows

ROWS = [{"question": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(40)]


def arrow(codec: str):
    def pack(raw: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as out:
            out.write(raw)
        return sink.getvalue().to_pybytes()

    return pack


PACK = {
    "gz": gzip.compress,
    "zst": arrow("zstd"),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lz4": arrow("lz4"),
}


def contents() -> dict[str, bytes]:
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), table)
    csv = ["question,answer", *(f"{r['question']},{r['answer']}" for r in ROWS)]
    return {
        "jsonl": "".join(json.dumps(r) + "\n" for r in ROWS).encode(),
        "json": json.dumps(ROWS).encode(),
        "csv": "\n".join(csv).encode(),
        "tsv": "\n".join(csv).replace(",", "\t").encode(),
        "parquet": table.getvalue(),
    }


@pytest.mark.parametrize("packing", list(PACK))
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_kind_of_file_may_be_compressed(tmp_path, kind, packing):
    path = tmp_path / f"rows.{kind}.{packing}"
    path.write_bytes(PACK[packing](contents()[kind]))
    assert [r.values for r in read_rows(path)] == ROWS
    upper = tmp_path / f"ROWS.{kind.upper()}.{packing.upper()}"
    upper.write_bytes(path.read_bytes())
    assert [r.values for r in read_rows(upper)] == ROWS
    misnamed = tmp_path / f"rows.{kind}"  # unpacked by its first bytes, as a browser may save it
    misnamed.write_bytes(path.read_bytes())
    assert [r.values for r in read_rows(misnamed)] == ROWS


@pytest.mark.parametrize("name", ["answers.jsonl.gz", "answers.gz", "answers", "answers.txt"])
def test_a_plain_file_may_be_called_as_if_it_were_compressed(tmp_path, name):
    (tmp_path / name).write_bytes(contents()["jsonl"])
    assert [r.values for r in read_rows(tmp_path / name)] == ROWS
    assert read_rows(tmp_path / name)[2].place == f"data {tmp_path / name}, line 3"


def test_parquet_without_its_ending(tmp_path):
    (tmp_path / "0c1f2a").write_bytes(contents()["parquet"])  # as the cache of the hub names it
    assert [r.values for r in read_rows(tmp_path / "0c1f2a")] == ROWS


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_several_compressed_pieces_in_a_row_are_one_file(tmp_path, packing):
    raw = contents()["jsonl"].splitlines(keepends=True)
    path = tmp_path / f"rows.jsonl.{packing}"
    path.write_bytes(PACK[packing](b"".join(raw[:7])) + PACK[packing](b"".join(raw[7:])))
    assert [r.values for r in read_rows(path)] == ROWS


@pytest.mark.parametrize("packing", list(PACK))
def test_a_compressed_file_that_is_cut_or_damaged_is_one_line(tmp_path, packing):
    whole = PACK[packing](contents()["jsonl"])
    path = tmp_path / f"rows.jsonl.{packing}"
    for broken in (whole[: len(whole) // 2], whole[:-1], whole[:12] + bytes(40) + whole[52:]):
        path.write_bytes(broken)
        with pytest.raises(FrownError, match="cut short or damaged|is not UTF-8|is not JSON") as error:
            read_rows(path)
        assert path.name in str(error.value) and "\n" not in str(error.value)


def test_an_error_in_a_compressed_file_names_its_line(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"question": "q", "answer": "1"}\n{"question": "q", "answer": null}\n', mtime=0))
    with pytest.raises(FrownError, match=r"rows\.jsonl\.gz, line 2: column 'answer' is null"):
        read_tasks(path, {})


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.jsonl", contents()["jsonl"])
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("rows.jsonl")
        info.size = len(contents()["jsonl"])
        archive.addfile(info, io.BytesIO(contents()["jsonl"]))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.zip", zipped(), "zip archive; unpack it"),
        ("rows.xlsx", zipped(), "spreadsheet; save it as CSV"),
        ("rows.tar", tarred(), "tar archive; unpack it"),
        ("rows.tar.gz", gzip.compress(tarred(), mtime=0), "tar archive; unpack it"),
        ("rows.jsonl.gz.gz", gzip.compress(gzip.compress(b"{}\n", mtime=0), mtime=0), "compressed twice"),
        ("rows.jsonl.gz", gzip.compress(b"", mtime=0), "has no rows"),
        (
            "train.parquet",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
            "Git LFS pointer and not the data; fetch them with git lfs pull",
        ),
        ("rows.jsonl", b"<!DOCTYPE html>\n<html></html>", "web page; download the file itself"),
        ("rows.arrow", b"ARROW1\0\0", "Arrow file"),
    ],
)
def test_what_is_no_data_says_what_to_do(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FrownError, match=words) as error:
        read_rows(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
     (codecs.BOM_UTF32_LE, "utf-32-le")],
)  # fmt: skip
def test_a_byte_order_mark_says_the_encoding(tmp_path, kind, mark, encoding):
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(mark + contents()[kind].decode().encode(encoding))
    assert [r.values for r in read_rows(path)] == ROWS


def test_names_that_no_file_can_have(tmp_path):
    for name in ("x" * 5000 + ".jsonl", "a\0b.jsonl", "~nobody-at-all/rows.jsonl"):
        with pytest.raises(FrownError):
            read_rows(Path(name))
    with pytest.raises(FrownError, match="does not exist"):
        read_rows(tmp_path / "data" / "train.jsonl.gz")
