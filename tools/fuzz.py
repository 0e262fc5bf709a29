"""Damaged and forged inputs for every reader, and what became of them, as a table.

python tools/fuzz.py --inputs 10000                        # the long form: every reader
python tools/fuzz.py --inputs 500 --only onnx --seed 7     # one reader, with a seed of your own
python tools/fuzz.py --show onnx 7 123                     # write input 123 of that run to a file, to look at it

Inputs are made from good ones by a seed: bytes are flipped, cut and spliced, and what a format says of itself (npy
headers, JSON values, protobuf fields, checksums that are right) is replaced. Child processes read them as a user
would, within limits of memory and time. An input that ends in anything but a result or an error of the package is a
finding, and so is one that hangs, kills the process, makes a reader open what lies outside its folder, or gets a
control character printed. Status 1 when there is any; inputs and what was said of them are kept.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        from fuzzing.child import run

        target, work, *numbers = sys.argv[2:]
        run(target, Path(work), *map(int, numbers))
        return 0
    from fuzzing.campaign import Result, fuzz, make_work, table
    from fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1000, help="for each reader (default 1000)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="at most, for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", action="append", choices=TARGETS, help="this reader; repeatable (default: all)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="readers at a time (default 1)")
    parser.add_argument(
        "--work", type=Path, help="new folder to work in (default: a temporary one, which is kept)"
    )
    parser.add_argument(
        "--show", nargs=3, metavar=("READER", "SEED", "NUMBER"), help="write one input to a file"
    )
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    make_work(work / "start")
    good = (work / "start" / "good").resolve()
    if args.show:
        from fuzzing.child import input_of

        data, suffix = input_of(args.show[0], good, int(args.show[1]), int(args.show[2]))
        (work / f"input{suffix}").write_bytes(data)
        print(work / f"input{suffix}")
        return 0

    asked = args.only or list(TARGETS)
    missing = [each for each in asked if not any((good / name).exists() for name in TARGETS[each].seeds)]
    if missing:
        print(f"not run, as the package that writes good files is missing: {', '.join(missing)}\n")

    def one(target: str) -> Result:
        folder = work / target.replace(" ", "-")
        make_work(folder, good)
        result = fuzz(target, folder, args.seed, args.inputs, args.seconds)
        for told in result.told.values():
            print(f"{told.rstrip()}\n", file=sys.stderr, flush=True)
        return result

    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(one, [each for each in asked if each not in missing]))
    print("\n".join(table(results)))
    found = any(each.findings for each in results)
    if found:
        print(f"\nseed {args.seed}; the inputs are in the folders {work}/*/found")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
