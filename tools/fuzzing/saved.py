"""Damage to what other programs save in containers, and to what a run saves for itself."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import TYPE_CHECKING

from fuzzing.mutations import WORDS, mutate_bytes, mutate_text
from fuzzing.structured import json_document, npy, statistics

if TYPE_CHECKING:
    from random import Random

__all__ = ["checkpoint", "hints", "polygraphy", "torch_file"]


def torch_file(data: bytes, other: bytes, random: Random) -> bytes:
    """What torch.save wrote, with one or two members of the archive damaged, lost or renamed; or the archive itself."""
    if random.random() < 0.4 or not data.startswith(b"PK"):
        return mutate_bytes(data, other, random)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(out, "w") as made:
        names = whole.namelist()
        # The pickle says everything else: every other time it is what is damaged.
        pickles = [name for name in names if name.endswith(".pkl")]
        hit = random.choice(pickles if pickles and random.random() < 0.5 else names)
        for name in names:
            inner, called = whole.read(name), name
            if name == hit:
                match random.randrange(8):
                    case 0:
                        continue
                    case 1:
                        called = random.choice(("../x", "/x", "x", f"{name}/data.pkl", "a" * 500))
                    case _:
                        inner = mutate_bytes(inner, inner, random)
            made.writestr(called, inner)
    return out.getvalue()


def polygraphy(data: bytes, other: bytes, random: Random) -> bytes:
    """Inputs that Polygraphy saved: the document damaged, or an array within it."""
    if random.random() < 0.5:
        return json_document(data, other, random)
    rows = json.loads(data)
    array = random.choice(rows)["x"]
    inner = base64.b64decode(array["array"])
    match random.randrange(4):
        case 0:
            array["array"] = random.choice((*WORDS, 3, None, [], "QQ=="))
        case 1:
            array["polygraphy_class"] = random.choice((*WORDS, "Tensor", "LazyArray", 3, None))
        case _:
            array["array"] = base64.b64encode(npy(inner, inner, random)).decode()
    return json.dumps(rows).encode("utf-8", "surrogatepass")


def checkpoint(data: bytes, other: bytes, random: Random) -> bytes:
    """A file of a checkpoint: its counts with a checksum that is right, or its lists and notes as text."""
    if data.startswith(b"\x89"):
        return statistics(data, other, random)
    return mutate_text(data, other, random)


def hints(data: bytes, other: bytes, random: Random) -> bytes:
    """What a model says of its preprocessing: JSON as a document, Python literals as text."""
    mutate = json_document if data.startswith(b"{\n") else mutate_text
    return mutate(data, other, random)
