"""Reads every calibration cache of a directory and writes it again: the bytes must be the same.

python tools/roundtrip_caches.py DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onnx_trtcal.errors import CacheError
from onnx_trtcal.trt.cache import dumps, loads


def main() -> int:
    parser = argparse.ArgumentParser(description="Round-trip every calibration cache of a directory.")
    parser.add_argument("directory", type=Path, help="folder of caches; .md and .json files are left out")
    directory = parser.parse_args().directory
    files = sorted(p for p in directory.rglob("*") if p.is_file() and p.suffix not in (".md", ".json"))
    entries = 0
    faults: list[str] = []
    for path in files:
        data = path.read_bytes()
        try:
            cache = loads(data, str(path))
            entries += len(cache.scales)
            if dumps(cache) != data:
                faults.append(f"{path}: the bytes written differ from the bytes read")
        except CacheError as error:
            faults.append(f"{path}: {error}")
    for fault in faults:
        print(fault)
    same = len(files) - len(faults)
    print(f"{len(files)} caches, {entries} entries: {same} the same byte for byte, {len(faults)} not")
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main())
