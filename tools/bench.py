"""Measures calibration against plain inference and against other calibrators, and prints Markdown tables.

    python tools/bench.py                              a model of ResNet-50's shape and 64 random images
    python tools/bench.py MODEL.onnx [DATA]            another model; DATA: a folder of .npy, or a stack in one
    python tools/bench.py --scale                      growth with samples, tensors and batch
    python tools/bench.py --kernel                     the counting kernel alone, one thread
    python tools/bench.py --search [CASES.toml]        auto, easyquant, --round and tune as multiples of collecting
    python tools/bench.py --modelopt VENV/bin/python   NVIDIA ModelOpt, too, from an environment that has it

Every measurement is a process of its own, so that its peak of resident memory is its own. A round measures every
contender over all samples and over a quarter of them, on the same samples, batch and threads, on the CPU; ratios are
taken within a round, and medians over the rounds, with the smallest and the largest. `whole run` counts from the
start of the process to its end; `steady` from the first batch of a run to its last; `slope` is the difference between
the two runs of a round for each sample that the longer one has more. ONNX Runtime's threads spin while they wait unless
told not to: that makes small ops faster, and takes processor time, which the column of CPU time has in it.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from onnx_trtcal.support.cores import cores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="ONNX model with one input, its weights inside (default: generated)",
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help=".npy folder or stack (default: generated)")
    parser.add_argument("--samples", type=int, metavar="N", help="default 64; with --quick 16")
    parser.add_argument(
        "--batch", type=int, default=8, metavar="N", help="default 8; a fixed batch in the model wins"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="default 3; with --quick 1")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="default: all cores")
    parser.add_argument("--modelopt", metavar="PYTHON", help="interpreter that can import modelopt")
    parser.add_argument("--scale", action="store_true", help="measure growth instead")
    parser.add_argument("--kernel", action="store_true", help="measure the counting kernel instead")
    parser.add_argument(
        "--search",
        nargs="?",
        const="",
        metavar="CASES",
        help="measure auto, easyquant, --round and tune as multiples of collecting, on the bundled models or on the "
        "cases of a file as compare_tools.py takes it",
    )
    parser.add_argument("--jobs", metavar="NAMES", help="with --search: some of auto,easyquant,round,tune")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that everything works")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        from bench.child import run_child

        run_child(args.child)
        return
    if args.kernel:
        from bench.kernel import kernel_tables

        print(kernel_tables(_say, quick=args.quick))
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        if args.search is not None:
            print(search_costs(args))
        elif args.scale:
            from bench.scale import scale_tables

            print(scale_tables(Path(scratch), args.threads, _say, quick=args.quick))
        else:
            compare(args, Path(scratch))


def search_costs(args: argparse.Namespace) -> str:
    """What searches take, as a table."""
    from bench.search_cost import JOBS, bundled, search_table
    from compare.cases import read_cases

    jobs = args.jobs.split(",") if args.jobs else JOBS[1:]
    if unknown := sorted(set(jobs) - set(JOBS)):
        raise SystemExit(f"--jobs knows {', '.join(JOBS[1:])}, not {', '.join(unknown)}")
    cases = read_cases(Path(args.search), None) if args.search else bundled()[: 1 if args.quick else None]
    return search_table(cases, jobs, args.threads, _say)


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Measures and prints the main tables."""
    from bench.inputs import count_samples, model_input, write_samples
    from bench.process import Spec, measure
    from bench.single import singles
    from bench.targets import target_table
    from bench.versus import contenders, fight, split_table, versus_table

    rounds = args.rounds or (1 if args.quick else 3)
    model = args.model or _resnet50(folder)
    name, shape, fixed = model_input(model)
    batch = fixed or args.batch
    samples = args.samples or (16 if args.quick else 64)
    data = args.data or write_samples(folder / "samples", samples, shape)
    samples = min(samples, count_samples(data))
    if fixed:
        samples -= samples % fixed  # plain inference cannot run a batch that falls short
    if samples <= batch:
        raise SystemExit(f"{samples} samples are not more than one batch of {batch}: give more")
    spec = Spec("", str(Path(model).resolve()), str(Path(data).resolve()), name, samples, batch, args.threads)
    # A user's first run compiles kernels; that has a line of its own.
    measure(replace(spec, who="ours", samples=batch))
    versus = fight(contenders(args.modelopt), spec, rounds, _say)
    single = singles(folder, args.threads, rounds, 10 if args.quick else 334, _say)
    print(
        f"{Path(model).name}, {samples} samples, batch {batch}, {args.threads} threads, {rounds} rounds; "
        f"{_processor()}, Python {platform.python_version()}, {_versions()}\n"
    )
    print("\n\n".join([versus_table(versus), split_table(versus), target_table(versus, single)]))


def _resnet50(folder: Path) -> Path:
    import onnx
    from make_resnet50 import make_resnet50

    path = folder / "resnet50.onnx"
    onnx.save(make_resnet50(), path)
    return path


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in ("onnx_trtcal", "onnxruntime", "onnxruntime-gpu", "numpy"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
