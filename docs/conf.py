"""How the site is built: `sphinx-build -W -b html docs OUT`, or `.ci/docs OUT`. Pages are Markdown that GitHub shows, too."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]  # the package of this checkout, not another one that is installed

from numpydoc.xref import DEFAULT_LINKS  # noqa: E402  # once the path is set

import pevm_numba  # noqa: E402  # once the path is set

project = "pevm_numba"
author = "the authors of pevm_numba"
version = release = pevm_numba.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx.ext.viewcode",
    "generated_pages",
]
exclude_patterns = ["_ext", "_static"]
templates_path: list[str] = []
html_static_path = ["_static"]
html_css_files = ["site.css"]

# Pages
myst_heading_anchors = 4  # links such as evm.md#figures, as GitHub makes them
highlight_language = "text"  # of indented blocks, which are commands

# Docstrings
nitpicky = True  # a name of the package that leads nowhere is an error
autosummary_generate = False  # pages of the reference are made by subject, see generated_pages
autodoc_typehints = "none"  # shapes, dtypes and units are in the docstrings
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "trusted"}
autodoc_preserve_defaults = True
numpydoc_show_class_members = False  # autodoc shows them
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = True  # a type of the package in a list of parameters leads to it; all other words are words
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {word: word for word in DEFAULT_LINKS} | {  # those lead to Python's pages, on the network
    name: f":py:class:`~pevm_numba.{name}`" for name in pevm_numba.__all__ if isinstance(getattr(pevm_numba, name), type)
}
default_role = "literal"  # `name` in a docstring is an argument or a name
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# Looks
smartquotes = False  # "--input" is an option, not a dash
html_theme = "furo"
html_title = f"pevm_numba {version}"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0a5f9e", "color-brand-content": "#0a5f9e", "color-api-name": "#0a5f9e"},
    "dark_css_variables": {"color-brand-primary": "#7cc0f2", "color-brand-content": "#7cc0f2", "color-api-name": "#7cc0f2"},
    "navigation_with_keys": True,
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_show_copyright = False
html_show_sphinx = False
