"""Turn a User-Agent header into a short name, such as ``Firefox on Linux``."""

from __future__ import annotations

# The order matters: the headers of Edge and Opera contain "Chrome" too, and that of Chrome contains "Safari".
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
# The order matters here too: the header of an iPad contains "like Mac OS X", that of an Android phone "Linux".
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_MOBILE = ("iPhone", "iPad", "Android")


def short_name(user_agent: str) -> str:
    """Return the names of browser and system, if known. Never return text of the header, which the client controls."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    return f"{browser} on {system}" if system else browser


def is_mobile(user_agent: str) -> bool:
    """Return whether the browser runs on a phone or a tablet."""
    return any(mark in user_agent for mark in _MOBILE)
