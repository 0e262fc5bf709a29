"""How figures look: one style sheet, with the page's colours or with colours of its own."""

from __future__ import annotations

import re

__all__ = ["STYLE", "standalone_style"]

# Name -> (colour that can be told from white and from near-black, the same on white, the same on near-black).
_COLOURS = {
    "bar": ("#5a8dd6", "#4a7fcb", "#6d9fe3"),
    "mark": ("#e0532f", "#c8401c", "#ff7a55"),
    "line": ("#858b94", "#6f7680", "#9aa2ad"),
    "float": ("#c98a1b", "#b57610", "#e3a63d"),
}
_INK, _PAPER = ("#1f2328", "#e6e9ed"), ("#ffffff", "#14171c")

_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_RULES = f"""
.tfig{{display:block;color:inherit;font:12px {_FONT};font-variant-numeric:tabular-nums}}
.tfig text{{fill:currentColor;stroke:none}}
.tfig .h{{font-weight:600;font-size:13px}}
.tfig .d{{fill-opacity:.72}}
.tfig .e{{font-weight:700}}
.tfig .b{{fill:$bar}}
.tfig .c{{fill:$mark}}
.tfig .f{{fill:$float}}
.tfig .o{{fill:$line;fill-opacity:.45}}
.tfig .hit{{fill:$line;fill-opacity:0}}
.tfig .x{{stroke:$line;fill:none}}
.tfig .g{{stroke:$line;stroke-opacity:.3;fill:none}}
.tfig .l{{stroke:$line;stroke-width:1.2;fill:none}}
.tfig .a{{stroke:$line;stroke-width:1.2;stroke-dasharray:3 3;fill:none}}
.tfig .m{{stroke:$mark;stroke-width:2.4;fill:none}}
.tfig .s{{stroke:$bar;stroke-width:1.6;stroke-linejoin:round;fill:none}}
.tfig .r{{stroke:$bar;fill:none}}
.tfig .w{{stroke:$mark;stroke-width:1.2;fill:none}}
.tfig .p{{stroke-width:5;stroke-linecap:round;fill:none}}
.tfig .pb{{stroke:$bar}}
.tfig .pf{{stroke:$float}}
.tfig .po{{stroke:$line}}
.tfig [data-key],.tfig a{{cursor:pointer;outline:none}}
.tfig [data-key]:hover .hit,.tfig [data-key]:focus .hit,.tfig .on .hit{{fill-opacity:.25}}
"""


def _filled(colours: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: colours[found[1]], _RULES).strip()


STYLE = _filled({name: f"var(--fig-{name},{each[0]})" for name, each in _COLOURS.items()})
"""The style sheet of a page that holds figures: everything in it is below `.tfig`.

Text has the colour of the text around the figure; the other colours are variables that the page may set: `--fig-bar`,
`--fig-mark` (what was chosen, what is clipped, the worst), `--fig-line` (axes, other thresholds) and `--fig-float`.
"""


def standalone_style() -> str:
    """The style sheet of a figure that is a file of its own: light, or dark where the viewer prefers that.

    No variables: programs other than browsers do not know them.
    """
    light, dark = (_own(at) for at in (0, 1))
    return f"{light}\n@media(prefers-color-scheme:dark){{{dark}}}"


def _own(at: int) -> str:
    rules = _filled({name: each[1 + at] for name, each in _COLOURS.items()})
    own = f".tfig{{color:{_INK[at]};background:{_PAPER[at]}}}\n.tfig .paper{{fill:{_PAPER[at]}}}"
    if at:
        # Only what has a colour differs.
        rules = "\n".join(re.findall(r"^.*#[0-9a-f]{6}.*$", rules, re.MULTILINE))
    # `currentColor` is for pages; here the text gets its colour by name.
    return f"{rules}\n{own}\n.tfig text{{fill:{_INK[at]}}}"
