"""Sphinx configuration; `python tools/docs/build.py` builds the pages."""

import sys
from pathlib import Path

import onnx_trtcal

# For `directives`, and for what that imports.
sys.path.insert(0, str(Path(__file__).resolve().parent))

project = "onnx_trtcal"
author = "The onnx_trtcal authors"
version = release = onnx_trtcal.__version__
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "directives",
]

# Text says `--flag`, which must not become a dash.
smartquotes = False
highlight_language = "none"
# In docstrings, one backtick is code.
default_role = "code"
nitpicky = True
# Types that are not public, or of packages whose documentation is not part of this one, are named without a link.
nitpick_ignore_regex = [("py:.*", rf"(?!({'|'.join(onnx_trtcal.__all__)})$).*")]

myst_enable_extensions = ["attrs_block", "attrs_inline", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = False
napoleon_attr_annotations = False
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries = False

html_theme = "furo"
html_title = f"onnx_trtcal {version}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#3d7000",
        "color-brand-content": "#3d7000",
        "color-api-name": "#0b5394",
        "color-api-pre-name": "#0b5394",
    },
    "dark_css_variables": {
        "color-brand-primary": "#9bd34a",
        "color-brand-content": "#9bd34a",
        "color-api-name": "#8ab4f8",
        "color-api-pre-name": "#8ab4f8",
    },
    "footer_icons": [],
}
copybutton_exclude = ".linenos, .gp, .go"
exclude_patterns = ["README.md"]
