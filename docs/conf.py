"""Sphinx's settings for the manual's site: ``tox -e docs`` builds it into build/docs, Read the Docs builds it too."""

from __future__ import annotations

import os
from importlib.metadata import version as installed_version

from sphinx.application import Sphinx

# The reference shows the docstrings of the integration for Django, which needs settings to be imported.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django.conf.global_settings")

project = "wsgi-session"
author = copyright = "wsgi-session contributors"
version = release = installed_version("wsgi-session")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_templates"]
smartquotes_action = "qe"  # Quotes and ellipses. Two hyphens are an option of a command, and not a dash.

# Markdown. Headings get GitHub's anchors, so that a link works in the repository and on the site.
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]

# The reference comes from the docstrings, in the order of the source.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"Application": "Application"}  # Its definition is longer than the rest of a signature.

html_theme = "furo"
html_title = "wsgi-session"
html_static_path = ["_static"]
templates_path = ["_templates"]
# These are Furo's defaults, with a list of versions in place of the old menu of Read the Docs.
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
        "sidebar/versions.html",
    ]
}
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = html_logo = "_static/logo.svg"
html_show_sphinx = False
html_domain_indices = False
html_copy_source = html_show_sourcelink = False
# Both are dark and light enough for WCAG AA on their grounds; Furo's own comments are not.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# The address is known only where the site is published. There it also gets a sitemap, and cards for social networks.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
if html_baseurl:
    extensions += ["sphinx_sitemap", "sphinxext.opengraph"]
    sitemap_url_scheme = "{link}"
    ogp_site_url = html_baseurl
    ogp_image = "_static/card.png"
    ogp_image_alt = "wsgi-session: sessions for any WSGI application"
    ogp_social_cards = {"enable": False}

# tox -e links
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost)", r"https?://[\w.-]*example\.(com|org)"]
linkcheck_timeout = 20
linkcheck_workers = 4


def setup(app: Sphinx) -> None:
    """Let the page of events define each event, so that the search and links find it."""
    app.add_object_type("event", "event", objname="event")
