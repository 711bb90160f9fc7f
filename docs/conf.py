"""How `make docs` turns the pages of this repository into a site; Sphinx reads it.

The source is the whole repository: the README, the decisions and the pages here are one site and
link to each other by the paths that they have. Nothing is copied.
"""

import os

# The reference is read off the classes as they are, which takes a Keras: on the lightest backend.
os.environ.setdefault("KERAS_BACKEND", "jax")

import steelyard

project = "Steelyard"
author = "The Steelyard authors"
version = release = steelyard.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["*.md", "decisions/*.md", "docs/**.md"]
exclude_patterns = [".*", "benchmarks", "examples", "src", "tests", "tools"]
root_doc = "docs/index"

# Pages whose own text lists what lies below them; a table of contents in it would show on GitHub.
BELOW = {"ARCHITECTURE": "decisions/*", "docs/audit/README": "*"}

# The headings' own addresses, as the links between the pages spell them.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# A docstring has `code` between single backticks, as the pages have.
default_role = "code"

html_theme = "furo"
html_title = f"Steelyard {release}"
html_additional_pages = {"index": "to_start.html"}
templates_path = ["templates"]
html_copy_source = False
html_show_sphinx = False


def with_what_lies_below(app, page, text):
    """Puts a hidden table of contents under the pages of `BELOW`."""
    if page in BELOW:
        text[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{BELOW[page]}\n```\n"


def setup(app):
    """What Sphinx calls with itself."""
    app.connect("source-read", with_what_lies_below)
