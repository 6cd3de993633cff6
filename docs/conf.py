"""Sphinx configuration.

Building needs no network: ``make docs INTERSPHINX=1`` alone makes links into the documentation of Python, NumPy, torch
and Perceval, for which it fetches their inventories, and ``make links`` alone follows links to the world.
"""

import os
import re
from importlib import metadata

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "qpu_sdk"
author = copyright = "The qpu_sdk authors"
release = metadata.version("qpu_sdk")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinxcontrib.typer",
]
html_theme = "furo"
html_title = "qpu_sdk"
html_static_path = ["_static"]
html_css_files = ["own.css"]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
myst_disable_syntax = ["myst_line_comment"]  # else a line that begins with "% of" is left out
autosummary_generate = False  # the pages have the entries themselves, and the summaries link to them
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"exclude-members": "model_config, columns_vjp, traced_columns"}
_ALIASES = ("BoolArray", "ComplexArray", "FloatArray", "IntArray", "OutcomeArray", "Detector", "Inputs", "OpenDevice")
autodoc_type_aliases = {name: name for name in _ALIASES}
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"  # else a command of two lines is copied as one
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
html_math_renderer = "mathml"


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def _without_validators(app: Sphinx, domain: str, objtype: str, content: nodes.Element) -> None:
    """Leave out types that are checks of pydantic: what a key may be stands on the page of the configuration."""
    for field in list(content.findall(nodes.field)):
        name, body = field
        if name.astext().startswith("type ") and "Validator(" in body.astext():
            field.parent.remove(field)


def _by_their_names(app: Sphinx, domain: str, objtype: str, content: nodes.Element) -> None:
    """Call an alias of a type by its name where autodoc shows the object that stands for it in a union."""
    for text in list(content.findall(nodes.Text)):
        named = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)
        if named != text:
            text.parent.replace(text, nodes.Text(named))


def setup(app: Sphinx) -> None:
    """Equations as MathML, which browsers draw themselves: a page needs no script for it and asks no server."""
    for change in (_without_validators, _by_their_names):  # after autodoc has put types there
        app.connect("object-description-transform", change, priority=600)
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
