"""`onnx-trtcal cache show|diff|merge|set-version|rename`: calibration caches as files."""

from __future__ import annotations

import argparse
from typing import Final

from onnx_trtcal.cli.cache import diff, merge, rename, set_version, show
from onnx_trtcal.cli.console import Console

__all__ = ["configure", "run"]

_ACTIONS: Final = {
    "show": (show, "print every tensor's scale and dynamic range"),
    "diff": (diff, "compare two caches, the tensors that differ most first"),
    "merge": (merge, "put the entries of several caches into one"),
    "set-version": (set_version, "rewrite the header: TensorRT version, algorithm or both"),
    "rename": (rename, "give tensors new names"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds one sub-command per action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (module, text) in _ACTIONS.items():
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        module.configure(action)
        # The verb has these two as well; here they may also follow the action.
        for flags in (("-q", "--quiet"), ("-v", "--verbose")):
            action.add_argument(
                *flags, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
            )


def run(args: argparse.Namespace) -> int:
    """Does what was asked for; the exit status is 0, or 1 for `diff --exit-code` with a difference."""
    module, _ = _ACTIONS[args.action]
    return int(module.run(args, Console(quiet=args.quiet, verbose=args.verbose)))
