"""Damage that keeps a format's outer form, so that it reaches what is behind the first check."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import Error as ProtobufError

from fuzzing.mutations import NUMBERS, OUTSIDE, WORDS, mutate_bytes, mutate_text

if TYPE_CHECKING:
    from random import Random

    from google.protobuf.message import Message

__all__ = [
    "json_document",
    "json_lines",
    "mutate_json",
    "npy",
    "npz",
    "onnx_model",
    "safetensors",
    "statistics",
]

_DTYPES = (
    *(
        "<f4",
        ">f4",
        "|u1",
        "<i8",
        "<f2",
        "|O",
        "<U3",
        "|S5",
        "<M8[s]",
        "<c8",
        "|V4",
        "<f16",
        "",
        "x",
        "<f4,<f4",
    ),
    *([("a", "<f4")], [("a", "<f4", (2, 2))], [], [("a", "|O")], None, 3, "<f99", "<U999999999"),
)
_SHAPES = (
    *(
        (),
        (0,),
        (2,),
        (2, 0, 3),
        (2, 3, 8),
        (10**12,),
        (2**63,),
        (-1, 4),
        (2, -3),
        ("a",),
        (1.5,),
        (True,),
        4,
        None,
    ),
    *((2,) * 70, (2**40, 2**40), (10**6, 10**6), (1,) * 33, [2, 3], (2, (3, 4))),
)


def npy(data: bytes, other: bytes, random: Random) -> bytes:
    """A `.npy` file: mostly with another header before the same values."""
    if random.random() < 0.35:
        return mutate_bytes(data, other, random)
    header: dict[Any, Any] = {"descr": "<f4", "fortran_order": False, "shape": (4, 3, 8, 8)}
    match random.randrange(5):
        case 0:
            header["descr"] = random.choice(_DTYPES)
        case 1:
            header["shape"] = random.choice(_SHAPES)
        case 2:
            header["fortran_order"] = random.choice((True, 2, None, "no", []))
        case 3:
            header[random.choice(WORDS)] = random.choice(WORDS)
        case _:
            header.pop(random.choice(list(header)))
    text = repr(header)
    if random.random() < 0.3:
        text = mutate_text(text.encode(), b"", random).decode("latin-1")
    if random.random() < 0.03:
        text = "(" * random.choice((90, 900, 9000)) + text
    raw = text.encode("utf-8", "surrogatepass")
    version = random.choice(((1, 0),) * 6 + ((2, 0), (3, 0), (4, 0), (255, 255)))
    size = random.choice((len(raw),) * 8 + (0, 1, 2**16 - 1, 2**32 - 1))
    length = struct.pack("<H", size % 2**16) if version[0] == 1 else struct.pack("<I", size)
    return b"\x93NUMPY" + bytes(version) + length + raw + data[128:]


def npz(data: bytes, other: bytes, random: Random) -> bytes:
    """A `.npz` file: members damaged inside a whole archive, names and flags changed, or the archive itself."""
    if random.random() < 0.5:
        return mutate_bytes(data, other, random)
    out = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(out, "w", method) as made:
        for name in whole.namelist():
            inner = whole.read(name)
            if random.random() < 0.5:
                inner = npy(inner, inner, random)
            if random.random() < 0.3:
                name = random.choice(
                    (f"{OUTSIDE}.npy", "/x.npy", "x", "dir/", "\u202ex.npy", "a" * 500 + ".npy")
                )
            made.writestr(name, inner)
    packed = bytearray(out.getvalue())
    if random.random() < 0.3:
        # Method, flags and sizes, in the local header or in the directory.
        at = random.choice((packed.find(b"PK\x03\x04") + 6, packed.find(b"PK\x01\x02") + 8))
        at += random.choice((0, 2, 12, 16))
        packed[at : at + 2] = struct.pack("<H", random.choice((0, 1, 9, 12, 14, 99, 0xFFFF, 0x0800)))
    return bytes(packed)


def json_document(data: bytes, other: bytes, random: Random) -> bytes:
    """A JSON document with values of other types in it, or damaged as text."""
    if random.random() < 0.3:
        return mutate_text(data, other, random)
    value = json.loads(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        value = mutate_json(value, random)
    if random.random() < 0.02:
        return b"[" * random.choice((500, 100_000))
    return json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def json_lines(data: bytes, other: bytes, random: Random) -> bytes:
    """JSON lines, one of them damaged."""
    lines = data.splitlines()
    at = random.randrange(len(lines))
    lines[at] = json_document(lines[at], other.splitlines()[0], random)
    return b"\n".join(lines)


def mutate_json(value: Any, random: Random) -> Any:
    """The value with one thing in it, anywhere, replaced, lost, renamed or repeated."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        made = dict(value)
        key = random.choice(list(made))
        match random.randrange(8):
            case 0:
                made[random.choice(WORDS)] = made.pop(key)
            case 1:
                del made[key]
            case 2:
                made[random.choice(WORDS)] = made[random.choice(list(made))]
            case _:
                made[key] = mutate_json(made[key], random)
        return made
    if isinstance(value, list) and value and random.random() < 0.85:
        items = list(value)
        at = random.randrange(len(items))
        match random.randrange(8):
            case 0:
                items *= random.choice((0, 2, 3))
            case 1:
                del items[at]
            case 2:
                items.append(random.choice(items))
            case _:
                items[at] = mutate_json(items[at], random)
        return items
    nested: Any = 1
    for _ in range(random.choice((1, 40))):
        nested = random.choice(([nested], {"a": nested}))
    return random.choice(
        (
            None,
            True,
            False,
            [],
            {},
            "",
            nested,
            *NUMBERS,
            10**400,
            0.5,
            -1e308,
            float("inf"),
            float("nan"),
            *WORDS,
        )
    )


def statistics(data: bytes, other: bytes, random: Random) -> bytes:
    """A statistics file whose checksum is right, and whose header or counts are not."""
    if random.random() < 0.25:
        return mutate_bytes(data, other, random)
    start = struct.Struct("<8sIQ")
    magic, version, length = start.unpack_from(data)
    header, counts = data[start.size : start.size + length], data[start.size + length : -32]
    if random.random() < 0.75:
        header = json_document(header, header, random)
    else:
        counts = mutate_bytes(counts, counts, random)
    told = random.choice((len(header),) * 9 + (0, 2**62))
    body = start.pack(magic, random.choice((version,) * 20 + (0, 7)), told) + header + counts
    return body + hashlib.sha256(body).digest()


def safetensors(data: bytes, other: bytes, random: Random) -> bytes:
    """A safetensors file with another JSON header, or damaged as bytes."""
    if random.random() < 0.4:
        return mutate_bytes(data, other, random)
    (length,) = struct.unpack_from("<Q", data)
    header = json_document(data[8 : 8 + length], b"{}", random)
    return struct.pack("<Q", random.choice((len(header),) * 6 + (0, 2**40))) + header + data[8 + length :]


def onnx_model(data: bytes, other: bytes, random: Random) -> bytes:
    """A model with fields of any message in it changed, or with one of the oddities below; or damaged as bytes."""
    if random.random() < 0.2:
        return mutate_bytes(data, other, random)
    model = onnx.ModelProto.FromString(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        # Numbers that a field cannot hold are refused by protobuf, and so is what is nested too deeply by now; the
        # model then stays as it is.
        with contextlib.suppress(ValueError, TypeError, ProtobufError):
            if random.random() < 0.4:
                random.choice(_ODDITIES)(model, random)
            else:
                _change_field(random.choice(_messages(model)), random)
    return model.SerializeToString()


def _messages(message: Message) -> list[Any]:
    found = [message]
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if _repeated(field) else [value]:
                found.extend(_messages(each))
    return found


def _repeated(field: Any) -> bool:
    return bool(getattr(field, "is_repeated", None) or getattr(field, "label", 0) == 3)


def _change_field(message: Any, random: Random) -> None:
    present = [field for field, _ in message.ListFields()]
    field = random.choice(present if present and random.random() < 0.8 else list(message.DESCRIPTOR.fields))
    match random.randrange(4):
        case 0:
            message.ClearField(field.name)
        case 1 if _repeated(field) and getattr(message, field.name):
            values = getattr(message, field.name)
            match random.randrange(3):
                case 0:
                    values.extend([random.choice(values)])
                case 1:
                    del values[random.randrange(len(values))]
                case _:
                    values.extend(list(values)[:3])
        case _ if field.type != field.TYPE_MESSAGE:
            _set(message, field, random)
        case _:
            message.ClearField(field.name)


def _set(message: Any, field: Any, random: Random) -> None:
    """Gives a field of a plain type any value of that type."""
    value: Any
    if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
        word = random.choice((*WORDS, "x", "y", "Conv", "Relu", "If", "Loop", "QuantizeLinear", "ai.onnx.ml"))
        value = word.encode("utf-8", "replace") if field.type == field.TYPE_BYTES else word
    elif field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        value = random.choice((0.0, -1.0, 1e38, float("inf"), float("nan")))
    else:
        value = random.choice((*NUMBERS, *range(-2, 30)))
    if not _repeated(field):
        setattr(message, field.name, value)
        return
    values = getattr(message, field.name)
    if values:
        values[random.randrange(len(values))] = value
    else:
        values.append(value)


def _external(model: onnx.ModelProto, random: Random) -> None:
    if not model.graph.initializer:
        return
    tensor = random.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    places = (
        OUTSIDE,
        "/etc/passwd",
        "/dev/zero",
        "link",
        "input.onnx",
        ".",
        "",
        "gone.bin",
        "sub/../input.onnx",
        "fifo",
    )
    tensor.external_data.add(key="location", value=random.choice(places))
    for key in ("offset", "length", "checksum", "other"):
        if random.random() < 0.4:
            tensor.external_data.add(
                key=key, value=random.choice((*map(str, NUMBERS), "x", "", "1e3", " 4", "٣", "-1"))
            )


def _function(model: onnx.ModelProto, random: Random) -> None:
    """A function that calls itself, or another that calls it back, or that lacks what it is called with."""
    for name, callee in random.choice(((("F", "F"),), (("F", "G"), ("G", "F")), (("F", "Relu"),))):
        made = model.functions.add(domain="local", name=name, input=["a"], output=["b"])
        made.opset_import.add(domain="", version=random.choice((17, 0, 99)))
        made.opset_import.add(domain="local", version=1)
        domain = "local" if callee in ("F", "G") else ""
        made.node.add(op_type=callee, domain=domain, input=random.choice((["a"], [], ["gone"])), output=["b"])
    model.opset_import.add(domain="local", version=1)
    if model.graph.node:
        node = random.choice(model.graph.node)
        node.op_type, node.domain = "F", "local"
        del node.attribute[:]


def _nest(model: onnx.ModelProto, random: Random) -> None:
    """Subgraphs within subgraphs."""
    depth = random.choice((2, 20, 60))
    graph = model.graph
    for level in range(depth):
        node = graph.node.add(op_type="If", input=["x"], output=[f"if{level}"])
        for branch in ("then_branch", "else_branch"):
            attribute = node.attribute.add(name=branch, type=onnx.AttributeProto.GRAPH)
            attribute.g.name = f"{branch}{level}"
            inner = attribute.g
        graph = inner


def _cycle(model: onnx.ModelProto, random: Random) -> None:
    nodes = [node for node in model.graph.node if node.input and node.output]
    if nodes:
        first, last = random.choice(nodes), random.choice(nodes)
        first.input[0] = last.output[0]


def _twice(model: onnx.ModelProto, random: Random) -> None:
    """One name for two tensors or nodes."""
    nodes = [node for node in model.graph.node if node.output]
    if nodes:
        one, two = random.choice(nodes), random.choice(nodes)
        one.output[0], one.name = two.output[0], two.name
    if model.graph.initializer and random.random() < 0.5:
        model.graph.initializer.add().CopyFrom(random.choice(model.graph.initializer))


def _shape(model: onnx.ModelProto, random: Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    kind = random.choice(values).type
    match random.randrange(4):
        case 0:
            kind.Clear()
        case 1:
            kind.tensor_type.ClearField("shape")
        case 2:
            kind.tensor_type.elem_type = random.randrange(-1, 40)
        case _:
            dim = kind.tensor_type.shape.dim.add()
            dim.dim_value = random.choice(NUMBERS)


def _sparse(model: onnx.ModelProto, random: Random) -> None:
    made = model.graph.sparse_initializer.add()
    made.dims.extend(random.choice(((2, 2), (10**9, 10**9), (-1,), (), (0,))))
    made.values.name = random.choice(("w", "sparse", ""))
    made.values.data_type, made.values.float_data[:] = 1, [1.0]
    made.values.dims.append(random.choice((1, 2, -1)))
    made.indices.data_type, made.indices.int64_data[:] = 7, [random.choice(NUMBERS[:8])]
    made.indices.dims.append(1)


def _opset(model: onnx.ModelProto, random: Random) -> None:
    model.opset_import.add(
        domain=random.choice(("", "ai.onnx.ml", "x\x1b[31m")), version=random.choice(NUMBERS)
    )


_ODDITIES = (_external, _external, _function, _nest, _cycle, _twice, _shape, _shape, _sparse, _opset)
