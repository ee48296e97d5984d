"""GGUF files as models: read and dequantised by transformers' own loader, never written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from frown.config.gguf_header import tensor_shapes
from frown.errors import FrownError, first_line

MAGIC = b"GGUF"
_FIRST_PART = "-00001-of-"
"""In the name of the first part of a split file."""


def is_gguf(place: Path) -> bool:
    """Whether a model's place is a GGUF file, by its name or its first bytes, and no folder."""
    if not place.is_file():
        return False
    if place.suffix.lower() == ".gguf":
        return True
    with place.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def pretrained(place: Path) -> dict[str, Any]:
    """What `from_pretrained` of transformers is given for a model's folder or its GGUF file. No code is run, and no
    network asked."""
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if is_gguf(place):
        return {"pretrained_model_name_or_path": place.parent, "gguf_file": place.name, **local}
    return {"pretrained_model_name_or_path": place, **local}


def dequantised() -> dict[str, Any]:
    """What `from_pretrained` of transformers is told besides, so that weights are plain numbers, which can be trained
    and saved."""
    import transformers

    settings = getattr(transformers, "GgufConfig", None)  # before there was one, they always were
    return {} if settings is None else {"quantization_config": settings(dequantize=True)}


def gguf_in(folder: Path) -> Path | None:
    """The GGUF file that a folder is the model of: one that has no other weights. Raises FrownError where there is a
    choice."""
    if any(folder.glob("*.safetensors")):
        return None
    # A projector ("mmproj") belongs to the images of a model, and of a split file the first part is given.
    files = [f for f in sorted(folder.glob("*.gguf")) if "mmproj" not in f.name.lower()]
    files = [f for f in files if "-of-" not in f.name or _FIRST_PART in f.name]
    if len(files) > 1:
        names = ", ".join(f.name for f in files[:4]) + (", ..." if len(files) > 4 else "")
        raise FrownError(
            f"model folder {folder} has {len(files)} GGUF files ({names}): name one, as in {folder / files[0].name}"
        )
    return files[0] if files else None


class Header(NamedTuple):
    """What a GGUF file says of itself."""

    quantisation: str
    """How most of its weights are stored, as its makers say it: "Q4_K_M", "F16"."""
    has_tokenizer: bool


def header(file: Path) -> Header:
    """What a GGUF file says of itself.

    Raises FrownError in one line for a file that is not whole, a part of a split one, one without weights, and where a
    package is missing.
    """
    for package in ("gguf", "accelerate"):
        if find_spec(package) is None:
            raise FrownError(
                f'model {file} is a GGUF file, which needs the {package} package: pip install "frown[gguf]"'
            )
    import gguf

    try:
        tensor_shapes(file)  # of one that ends too early the reader would not come to an end
        reader = gguf.GGUFReader(file)
        kinds = [tensor.tensor_type.name for tensor in reader.tensors]
        parts, stored = (_number(reader, name) for name in ("split.count", "general.file_type"))
    except Exception as error:  # numpy's own errors, where the file ends too early or says nonsense
        raise FrownError(
            f"model {file} ({file.stat().st_size} bytes) cannot be read to its end: {first_line(error)}; is it cut? "
            "Download it again"
        ) from None
    if parts is not None and parts > 1:
        raise FrownError(
            f"model {file} is one of {parts} parts: merge them (llama-gguf-split --merge FIRST-PART OUT.gguf)"
        )
    if not kinds:
        raise FrownError(f"model {file} holds no weights")
    try:
        name = gguf.LlamaFileType(-1 if stored is None else stored).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        name = max(sorted(set(kinds)), key=kinds.count)
    return Header(name, "tokenizer.ggml.tokens" in reader.fields)


def _number(reader: Any, name: str) -> int | None:
    field = reader.fields.get(name)
    return None if field is None else int(field.contents())
