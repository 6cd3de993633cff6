"""Sphinx configuration."""

from importlib import metadata

project = "qpu_sdk"
author = copyright = "The qpu_sdk authors"
release = metadata.version("qpu_sdk")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
html_theme = "furo"
html_title = "qpu_sdk"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"exclude-members": "model_config, columns_vjp, traced_columns"}
_ALIASES = ("BoolArray", "ComplexArray", "FloatArray", "IntArray", "OutcomeArray", "Detector", "Inputs", "OpenDevice")
autodoc_type_aliases = {name: name for name in _ALIASES}
exclude_patterns = ["_build"]
nitpicky = False
