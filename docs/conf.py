"""Sphinx's settings for ``tox -e docs``. The pages read as well where they are, as Markdown."""

project = "wsgi-session"
author = copyright = "wsgi-session contributors"
extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_title = "wsgi-session"
