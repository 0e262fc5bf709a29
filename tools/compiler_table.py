"""Prints what NVIDIA's compiler makes of models that `quantize` quantizes, and of other tools' files: one row each.

    python tools/compiler_table.py MODEL.onnx[@input:1x3x48x192] ... [--precision fp32,fp16] [--quantize "--gemv"]
        [--peer NAME=FOLDER ...] [--keep results.json] [--against before.json]

Every model is quantized from a cache that holds a scale for each of its float tensors, another one for every scale
owner: what the compiler does depends on which scales are equal, not on their values. A peer's file has the name of the
model's file; tools/compiler_peers.py writes them. Results are kept by the bytes of the Q/DQ model, so that a build is
not repeated for a model that came out the same. With `--against`, rows that are worse than in that file are marked, and
the exit status is 1. Shapes of several inputs follow one another: MODEL.onnx@input:1x512@state:2x1x128.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal import Cache, Options, quantize
from onnx_trtcal.cli import parser_for
from onnx_trtcal.cli.flags import qdq_from
from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.prepared import prepare
from onnx_trtcal.trt.compiler.compile_model import compile_model
from onnx_trtcal.trt.compiler.options import GPUS, CompileOptions, parse_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS = ("model", "by", "layers", "INT8", "lost", "kernels", "convert", "float MB", "INT8 MB", "note")


@dataclass(frozen=True)
class Result:
    """What became of one file; `note` says why there are no numbers, and which are worse than before."""

    layers: int = 0
    int8: int = 0
    lost: int = 0
    kernels: int = 0
    converting: int = 0
    float_bytes: int = 0
    int8_bytes: int = 0
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """The columns behind the names."""
        if not self.kernels:
            return ("", "", "", "", "", "", "", self.note)
        counts = (self.layers, self.int8, self.lost, self.kernels, self.converting)
        return (*map(str, counts), f"{self.float_bytes / 1e6:.3f}", f"{self.int8_bytes / 1e6:.3f}", self.note)

    def worse_than(self, before: Result) -> str:
        """What is worse, in words; fewer kernels or bytes do not make up for fewer INT8 layers."""
        marks = []
        if before.kernels and not self.kernels:
            marks.append("no longer builds")
        if self.int8 < before.int8:
            marks.append(f"INT8 {before.int8} before")
        if self.float_bytes > before.float_bytes:
            marks.append(f"float {before.float_bytes / 1e6:.3f} before")
        if self.kernels > before.kernels:
            marks.append(f"kernels {before.kernels} before")
        return ", ".join(marks)


class Table:
    """Quantizes, compiles and remembers.

    Args:
        gpu: what to build for.
        kept: digest of a file -> its result, from earlier runs.
    """

    def __init__(self, gpu: str, kept: dict[str, dict[str, object]]) -> None:
        self.gpu = gpu
        self.kept = kept

    def ours(self, model: str, shapes: Sequence[str], flags: Sequence[str]) -> Result:
        """A model quantized with these flags."""
        parser = parser_for("quantize")
        try:
            made = quantize(
                model, made_up_cache(model), Options(), qdq_from(parser.parse_args([model, "", *flags]))
            )
            with tempfile.TemporaryDirectory() as folder:
                return self.compiled(made.save(Path(folder) / "model.onnx")[0], shapes)
        except CalibrationError as error:
            return Result(note=str(error).splitlines()[0][:100])

    def compiled(self, path: Path, shapes: Sequence[str]) -> Result:
        """A Q/DQ file as it is."""
        digest = hashlib.sha256(self.gpu.encode() + repr(shapes).encode())
        for each in sorted(path.parent.glob(f"{path.name}*")):
            digest.update(each.read_bytes())
        key = digest.hexdigest()
        if key not in self.kept:
            self.kept[key] = asdict(self._compile(path, shapes))
        return Result(**self.kept[key])  # type: ignore[arg-type]

    def _compile(self, path: Path, shapes: Sequence[str]) -> Result:
        try:
            made = compile_model(path, CompileOptions(gpu=self.gpu, shapes=parse_shapes(shapes)))
        except CalibrationError as error:
            return Result(note=str(error).splitlines()[0][:100])
        if made.summary is None:
            problem = made.problems[0]
            return Result(note=f"{problem.stage}: {problem.what}"[:100])
        count = made.summary
        return Result(
            layers=count.layers,
            int8=count.int8_layers,
            lost=len(made.lost),
            kernels=count.kernels,
            converting=count.converting,
            float_bytes=count.float_bytes,
            int8_bytes=count.int8_bytes,
        )


def made_up_cache(model: str) -> Cache:
    """A scale for every float tensor, the same for tensors of one owner and different between owners."""
    owners = prepare(model, Options()).plan.owners
    scales = {name: (1 + zlib.crc32(owner.source.encode()) % 997) / 2**14 for name, owner in owners.items()}
    return Cache("TRT-100300-EntropyCalibration2", scales)


def rows(args: argparse.Namespace, table: Table) -> Iterator[tuple[str, str, Result]]:
    """Model, tool and result."""
    for text in args.models:
        path, *given = text.split("@")
        flags = shlex.split(args.quantize)
        for precision in filter(None, args.precision.split(",")):
            yield (
                Path(path).stem,
                f"ours {precision}",
                table.ours(path, given, [*flags, "--high-precision", precision]),
            )
        for peer in args.peer:
            name, _, folder = peer.partition("=")
            file = Path(folder) / Path(path).name
            failed = file.with_suffix(".failed")
            if file.exists():
                yield Path(path).stem, name, table.compiled(file, given)
            elif failed.exists():
                yield Path(path).stem, name, Result(note=f"wrote nothing: {failed.read_text().strip()}"[:100])


def main() -> int:
    """Prints the table; 1 when a row is worse than in the file of `--against`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL[@input:1x3x48x192]")
    parser.add_argument(
        "--precision", default="fp32,fp16", help="flavours of ours (default fp32,fp16; empty for none)"
    )
    parser.add_argument("--quantize", default="", metavar="FLAGS", help="further flags of `quantize`")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=FOLDER", help="another tool's files"
    )
    parser.add_argument("--gpu", choices=GPUS, default=CompileOptions.gpu)
    parser.add_argument("--keep", type=Path, metavar="JSON", help="results to take over and to add to")
    parser.add_argument(
        "--against", type=Path, metavar="JSON", help="results of --keep to compare the rows with"
    )
    args = parser.parse_args()
    stored = json.loads(args.keep.read_text()) if args.keep and args.keep.exists() else {"files": {}}
    before = json.loads(args.against.read_text())["rows"] if args.against else {}
    table, named, worse = Table(args.gpu, stored["files"]), {}, 0
    print("\t".join(COLUMNS))
    for model, tool, result in rows(args, table):
        named[f"{model} {tool}"] = asdict(result)
        earlier = before.get(f"{model} {tool}")
        marks = result.worse_than(Result(**earlier)) if earlier else ""
        worse += bool(marks)
        print("\t".join((model, tool, *result.cells()[:-1], marks or result.note)), flush=True)
        if args.keep:
            args.keep.write_text(json.dumps({"files": table.kept, "rows": named}))
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
