"""Where a model is, and whether its files are what their names say, before any library reads them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frown.errors import FrownError, first_line
from frown.policy import gguf
from frown.policy.hub import is_hub_name, snapshot
from frown.store.files import lfs_pointer

ADAPTER = "adapter_config.json"
"""What makes a folder one of LoRA adapters (peft)."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
"""Files of which a tokenizer needs one."""

_DESCRIPTIONS = (
    "config", "generation_config", "tokenizer_config", "special_tokens_map", "added_tokens", "chat_template"
)  # fmt: skip
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LARGE_HEADER = 100_000_000
"""Bytes; safetensors itself refuses headers beyond."""
_HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)")


def resolve(path: str) -> Path:
    """The folder of a model (an embedded one for "lab:NAME", a folder as it is, or that of a hub name), or its GGUF
    file. Raises FrownError in one line where a file that will be read is missing, cut or not what its name says."""
    place = located(path)
    if gguf.is_gguf(place):
        _refuse(f"model {place}", fault_of(place))
        return place
    if not any((place / name).is_file() for name in ("config.json", ADAPTER)):
        raise FrownError(f"model folder {path} has no config.json; is it a Hugging Face model folder?")
    if dangling := next((f for f in sorted(place.iterdir()) if f.is_symlink() and not f.exists()), None):
        raise FrownError(f"model folder {path}: {dangling.name} is a link to a file that is not there")
    if not any(place.glob("*.safetensors")):
        raise FrownError(f"model folder {path} has no weights: no *.safetensors file in it{_instead(path, place)}")
    for file in _read_files(path, place):
        _refuse(f"model folder {path}: {file.name}", fault_of(file))
    return place


def located(path: str, *, weights: bool = True) -> Path:
    """The folder or GGUF file that "lab:NAME", a path or a hub name stands for, whatever is in it; `weights`: a hub
    model whole."""
    if path.startswith("lab:"):
        from frown.lab.base import model_path

        return model_path(path.removeprefix("lab:"))
    place = Path(path).expanduser()
    if place.is_dir():
        described_here = any((place / name).is_file() for name in (ADAPTER, WEIGHTS, INDEX))
        return place if described_here else gguf.gguf_in(place) or place
    if place.is_file():
        if gguf.is_gguf(place):
            return place
        raise FrownError(f"model {path} is a file; give the folder it lies in, or a GGUF file")
    if page := _HUB_PAGE.match(path):
        raise FrownError(f"model {path} is a web page; give the hub name alone: {page[1]}")
    if is_hub_name(path):
        return snapshot(path, weights=weights)
    raise FrownError(
        f"model folder {path} does not exist; give a Hugging Face folder, a hub name or lab:NAME, or a GGUF file"
    )


def described(path: str) -> Path:
    """The folder whose config.json (or the GGUF file that) says what a model is: of adapters, their base model's.
    Weights need not be there."""
    place = located(path, weights=False)
    if (place / ADAPTER).is_file():
        return base_of(path, place)
    if (config := place / "config.json").is_file():
        _refuse(f"model folder {path}: {config.name}", fault_of(config))
    return place


def base_of(path: str, folder: Path) -> Path:
    """The folder, or the GGUF file, of the model that adapters were trained on."""
    file = folder / ADAPTER
    _refuse(f"model folder {path}: {file.name}", fault_of(file))
    settings = json.loads(file.read_text(encoding="utf-8"))
    named, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(named, str) or not named:
        raise FrownError(f"model {path}: its {ADAPTER} names no base model")
    if isinstance(revision, str) and is_hub_name(named) and "@" not in named and not Path(named).is_dir():
        named = f"{named}@{revision}"
    try:
        base = resolve(named)
    except FrownError as error:
        raise FrownError(f"model {path} holds adapters; their base model cannot be loaded: {error}") from None
    if (base / ADAPTER).is_file():
        raise FrownError(f"model {path} holds adapters of adapters ({named}); merge those first")
    return base


def has_tokenizer(folder: Path) -> bool:
    """Whether there is a tokenizer in a folder."""
    return any((folder / name).is_file() for name in TOKENIZERS)


def header_of(file: Path) -> dict[str, Any]:
    """What a whole safetensors file says of its tensors: name -> {"dtype", "shape", "data_offsets"}."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        tensors: dict[str, Any] = json.loads(opened.read(length))
    return {name: tensor for name, tensor in tensors.items() if name != "__metadata__"}


def _read_files(path: str, folder: Path) -> Iterator[Path]:
    """The files of a folder that a model is made of. Raises FrownError where one is not there."""
    yield from sorted(f for f in folder.iterdir() if f.is_file() and _describes(f))
    if (folder / ADAPTER).is_file():
        yield from (f for f in (folder / ADAPTER_WEIGHTS,) if f.is_file())
    elif (folder / WEIGHTS).is_file():
        yield folder / WEIGHTS
    else:
        yield from _parts(path, folder)


def _describes(file: Path) -> bool:
    described = file.suffix in (".json", ".jinja") and file.stem in _DESCRIPTIONS
    return described or file.name in TOKENIZERS or file.name == ADAPTER


def _parts(path: str, folder: Path) -> list[Path]:
    """The files of weights in several, by their index."""
    index = folder / INDEX
    if not index.is_file():
        names = sorted(f.name for f in folder.glob("*.safetensors"))
        raise FrownError(f"model folder {path} has {names[0]}, but neither {WEIGHTS} nor {INDEX}; is it whole?")
    _refuse(f"model folder {path}: {INDEX}", fault_of(index))
    try:
        names = sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (KeyError, AttributeError):
        raise FrownError(f"model folder {path}: {INDEX} has no weight_map; download it again") from None
    missing = [name for name in names if not _is_file(folder / name)]
    if missing:
        raise FrownError(
            f"model folder {path}: {len(missing)} of {len(names)} files of weights are missing, {missing[0]} among "
            "them; download the model again"
        )
    return [folder / name for name in names]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _instead(path: str, folder: Path) -> str:
    """What else a folder without safetensors has, and what to do about it."""
    if is_hub_name(path) and not Path(path).is_dir():
        return ", which alone are fetched by a hub name (a GGUF file is given by its path)"
    if any(f for pattern in _PICKLED for f in folder.glob(pattern)):
        return (
            " (pickled weights are not loaded: convert them to safetensors, if you trust them, with transformers' "
            f"AutoModelForCausalLM.from_pretrained({str(folder)!r}, use_safetensors=False).save_pretrained('NEW'))"
        )
    others = sorted(f.name for pattern in ("*.h5", "*.msgpack", "*.onnx", "*.npz") for f in folder.glob(pattern))
    return f" ({others[0]} is not loaded)" if others else ""


def _refuse(what: str, fault: str | None) -> None:
    if fault is not None:
        raise FrownError(f"{what} {fault}")


def fault_of(file: Path) -> str | None:
    """What is wrong with a file of a model, as the end of a sentence about it: a pointer of Git LFS, a web page, cut,
    another format. None where nothing is seen to be."""
    try:
        if (pointer := lfs_pointer(file)) is not None:
            return pointer
        with file.open("rb") as opened:
            head = opened.read(512)
    except OSError as error:
        return f"cannot be read: {error.strerror or first_line(error)}"
    if not head:
        return "is empty; download it again"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html")) and file.suffix != ".jinja":
        return "is a web page saved under that name; download the file itself"
    if file.suffix == ".safetensors":
        return _safetensors_fault(file)
    if file.suffix == ".json":
        return _json_fault(file)
    if gguf.is_gguf(file) and not head.startswith(gguf.MAGIC):
        return "is no GGUF file, whatever its name says"
    return None


def _json_fault(file: Path) -> str | None:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return "is not UTF-8 text; download it again"
    except (ValueError, RecursionError) as error:
        return f"is not whole JSON ({first_line(error)}); download it again"
    return None if isinstance(value, dict) else "is JSON, but no object with settings in it"


def _safetensors_fault(file: Path) -> str | None:
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > size - 8:
        if head.startswith((b"PK\x03\x04", b"\x80\x02", gguf.MAGIC)):  # of torch's two formats, and GGUF
            return "is of another format under that name; convert it to safetensors"
        known = "" if len(head) < 8 or length > _LARGE_HEADER else f", its header alone {length}"
        return f"is cut or no safetensors file: it has {size} bytes{known}; download it again"
    try:
        tensors = header_of(file)
        whole = 8 + length + max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return "is no safetensors file: its header cannot be read; download it again"
    if size < whole:
        return f"is cut: it has {size} of {whole} bytes; download it again"
    return None if size == whole else f"has {size} bytes, and its header speaks of {whole}; download it again"
