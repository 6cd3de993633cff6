"""Sphinx configuration.

Building needs no network: ``make docs INTERSPHINX=1`` alone makes links into the documentation of Python, NumPy, torch
and Perceval, for which it fetches their inventories, and ``make links`` alone follows links to the world.
"""

import os
from importlib import metadata

project = "qpu_sdk"
author = copyright = "The qpu_sdk authors"
release = metadata.version("qpu_sdk")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinxcontrib.typer",
]
html_theme = "furo"
html_title = "qpu_sdk"
html_static_path = ["_static"]
html_css_files = ["own.css"]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autosummary_generate = False  # the pages have the entries themselves, and the summaries link to them
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"exclude-members": "model_config, columns_vjp, traced_columns"}
_ALIASES = ("BoolArray", "ComplexArray", "FloatArray", "IntArray", "OutcomeArray", "Detector", "Inputs", "OpenDevice")
autodoc_type_aliases = {name: name for name in _ALIASES}
copybutton_prompt_text = "$ "
exclude_patterns = ["_build"]
highlight_language = "none"  # a block without a language is not taken for Python
nitpicky = False
if os.environ.get("INTERSPHINX"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "perceval": ("https://perceval.quandela.net/docs", None),
    }
# Answers that a check of links cannot get: machines of the reader's own.
linkcheck_ignore = [r"http://127\.0\.0\.1", r"tcp://"]
