"""Sphinx's settings for the book; `.ci/book/build.py` runs it.

Here and not in a folder of its own, because it is a tool like the others in .ci:
what the book says lies in the notebooks and the READMEs. Furo is a theme with a
light and a dark side and few dependencies; MyST-NB reads notebooks as they are
stored. Maths is drawn by a MathJax that is copied into the site (one file), and
search is Sphinx's own: the book works without a network, from a folder, too.
"""

import importlib.util
from pathlib import Path

HERE = Path(__file__).resolve().parent

project = "loftr_nb"
html_title = "loftr_nb: LoFTR, trained"
author = "the loftr_nb authors"
copyright = "the loftr_nb authors, Apache-2.0"
language = "en"

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx.ext.githubpages"]
nb_execution_mode = "off"  # what is stored is what is shown
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
# Drawings of boxes and arrows are text; so is a shell line that no lexer knows.
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]

# The one file of MathJax that holds its letters, too, as outlines.
_mathjax = importlib.util.find_spec("sphinx-mathjax-offline").origin
html_static_path = [
    str(HERE / "book.css"),
    str(Path(_mathjax).parent / "static" / "mathjax" / "tex-svg.js"),
]
mathjax_path = "tex-svg.js"
html_css_files = ["book.css"]

html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
