"""The configuration of Sphinx; build.py makes the pages that it reads."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docstring_markup

import minigan

project = "minigan"
release = minigan.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "minigan"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_favicon = str(Path(__file__).parent / "static" / "favicon.svg")
html_show_copyright = html_show_sphinx = html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style, pygments_dark_style = "tango", "github-dark"
myst_heading_anchors = 4
smartquotes = False  # grads["W"] stays as it is
add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
maximum_signature_line_length = 90
suppress_warnings = ["misc.highlighting_failure"]  # what a program prints, shown as it is
linkcheck_timeout, linkcheck_retries = 20, 2


def setup(app):
    app.connect("autodoc-process-docstring", docstring_markup.replace_by_rst)
