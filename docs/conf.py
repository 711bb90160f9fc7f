"""How `make docs` turns the pages of this repository into a site; Sphinx reads it.

The source is the whole repository: the README, the decisions and the pages here are one site and
link to each other by the paths that they have. Nothing is copied.
"""

import inspect
import os

# The reference is read off the classes as they are, which takes a Keras: on the lightest backend.
os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
from sphinx.util.inspect import signature, stringify_signature

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
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
# A docstring has `code` between single backticks, as the pages have.
default_role = "code"

html_theme = "furo"
html_title = f"Steelyard {release}"
html_additional_pages = {"index": "to_start.html"}
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

METRICS = {f"steelyard.metrics.{row.name}": row for row in steelyard.catalog()}


def with_what_lies_below(app, page, text):
    """Puts a hidden table of contents under the pages of `BELOW`."""
    if page in BELOW:
        text[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{BELOW[page]}\n```\n"


def as_called(app, what, name, thing, options, written, returns):
    """What a caller hands in.

    To a metric that is an array; to the formula inside it, what was prepared of one. To a layer it
    is what `__init__` takes; Keras's `__new__` takes anything.
    """
    if name in METRICS and hasattr(thing, "__wrapped__"):
        names = list(inspect.signature(thing, follow_wrapped=False).parameters)
        assert names == ["array", "xp", "told"], f"{name} is called with {names}"
        return "(array, xp=numpy, **told)", None
    if what == "class" and issubclass(thing, keras.Layer):
        taken = signature(thing.__init__, bound_method=True)
        return stringify_signature(taken, show_return_annotation=False), None
    return None


def asked_by_keras(app, what, name, thing, skip, options):
    """Leaves out the methods that Keras asks of each layer and of each callback."""
    hosts = (keras.Layer, keras.callbacks.Callback)
    asked = inspect.isroutine(thing) and any(hasattr(host, name) for host in hosts)
    return True if asked and not name.startswith("_") else None


def with_its_row(app, what, name, thing, options, lines):
    """Ends the docstring of a metric by what else the catalog says of it."""
    if name in METRICS:
        row = METRICS[name]
        lines += ["", f"Unit ``{row.unit}``; range ``{row.range}``; {row.source or row.group}.", ""]


def as_prose(app, what, name, thing, options, lines):
    """Keeps napoleon from taking what a property says before a colon for its type."""
    if what == "property":
        lines.insert(0, "")


def setup(app):
    """What Sphinx calls with itself."""
    app.connect("source-read", with_what_lies_below)
    app.connect("autodoc-process-signature", as_called)
    app.connect("autodoc-skip-member", asked_by_keras)
    app.connect("autodoc-process-docstring", with_its_row)
    app.connect("autodoc-process-docstring", as_prose, priority=400)
