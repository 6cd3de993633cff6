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
exclude_patterns = ["_build"]
nitpicky = False
