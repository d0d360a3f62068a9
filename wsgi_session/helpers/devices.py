"""A short description of the device that sends a request, such as ``Firefox on Linux, IPv4``, for device lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def describe_device(environ: Mapping[str, Any]) -> str:
    """Return browser, system and address family of a request, for ``SessionMiddleware(describe=describe_device)``.

    No text of a header is returned, because the client controls it, and no address, which is personal data. A browser
    that is not known is "A browser". Behind a proxy, ``REMOTE_ADDR`` has to be the client's for the address family.
    """
    user_agent, address = str(environ.get("HTTP_USER_AGENT", "")), str(environ.get("REMOTE_ADDR", ""))
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "A browser")
    system = next((f" on {name}" for mark, name in _SYSTEMS if mark in user_agent), "")
    return browser + system + _family(address)


def _family(address: str) -> str:
    if ":" in address and not address.lower().startswith("::ffff:"):
        return ", IPv6"
    return ", IPv4" if "." in address else ""
