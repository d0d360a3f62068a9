"""A short name for a browser, as people know it: ``Firefox on Linux``."""

from __future__ import annotations

# The order matters: Edge and Opera say that they are Chrome too, and Chrome says that it is Safari.
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
# An iPad says "like Mac OS X", an Android phone "Linux".
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
    """Name browser and system, each where it is known; never any of the text itself, which anybody can make up."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    return f"{browser} on {system}" if system else browser


def is_mobile(user_agent: str) -> bool:
    """Tell a phone or a tablet from a computer."""
    return any(mark in user_agent for mark in _MOBILE)
