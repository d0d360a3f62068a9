"""Render pages from Jinja2 templates, which escape all values from sessions and forms automatically."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from webob import Request, Response

from demo import cart, cost, docs
from wsgi_session import get_session, user_or_none

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a page for this visitor. Its template and the page header can use ``session`` and ``user``."""
    session = get_session(request)
    return plain_page(
        request,
        template,
        status=status,
        session=session,
        user=user_or_none(request),
        in_cart=cart.count(session),
        **values,
    )


def plain_page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a page that does not use the session, so that the session layer has almost nothing to do."""
    html = _templates.get_template(template).render(path=request.environ["PATH_INFO"], status=status, **values)
    return Response(
        body=html.encode(),
        status=status,
        content_type="text/html",
        charset="UTF-8",
        # After a logout, the browser's Back button must not show earlier pages.
        cache_control="no-store",
    )


def ago(then: datetime) -> str:
    """Return how long ago ``then`` was, in the largest unit that fits."""
    seconds = (datetime.now(timezone.utc) - then).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"


def initial(name: str) -> str:
    """Return the first letter of a name; empty if it has none."""
    return next(filter(str.isalpha, name), "")


def money(amount: Decimal) -> str:
    return f"€{amount:.2f}"


def moment(then: datetime) -> str:
    return f"{then:%d %B %Y, %H:%M} UTC"


_templates = Environment(
    loader=PackageLoader("demo.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.filters.update(ago=ago, initial=initial, money=money, moment=moment)
_templates.globals.update(cost=cost.PLACEHOLDER, docs=docs.CHAPTERS)
