"""A whole site on ``wsgi_session``, in plain WSGI: the way to read how it is done.

    SessionMiddleware(app, secret=SECRET, store="sqlite:///demo.db")

puts the visitor's session into ``environ["session"]``; everything else on this page is what a site does with it. The
names in :data:`wsgi_session.__all__` are all there is to know. (``cost`` is only for the bar at the foot of the pages.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from webob import Request, Response

from demo import browsers, cart, cost, docs, users
from demo.pages import page, plain_page
from demo.web import FILES, POLICY_WITH_SCRIPT, file, secure, see_other
from wsgi_session import (
    SessionGone,
    SessionMiddleware,
    check_csrf,
    get_session,
    login,
    logout,
    next_url,
    redirect_if_anonymous,
    session_info,
    user_email_or_none,
    user_or_none,
)
from wsgi_session.stores import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Handler = Callable[[Request], WSGIApplication]


#: However often somebody comes back, a login ends after this time.
LONGEST = timedelta(days=90)
#: The pages that send strangers to the login.
BEHIND_LOGIN = {"/profile", "/devices"}


class Site:
    """The shop. One object serves all threads: whatever belongs to a visitor is in the session."""

    def __init__(self, *, secret: str, store: Store) -> None:
        self.routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self.home},
            "/cart": {"GET": self.cart},
            "/cart/add": {"POST": self.cart_add},
            "/cart/take": {"POST": self.cart_take},
            "/cart/empty": {"POST": self.cart_empty},
            "/login": {"GET": self.login_form, "POST": self.login},
            "/logout": {"POST": self.logout},
            "/profile": {"GET": self.profile},
            "/devices": {"GET": self.devices},
            "/devices/sign-out": {"POST": self.sign_out_one},
            "/devices/sign-out-others": {"POST": self.sign_out_others},
            "/how": {"GET": self.how},
            "/live": {"GET": self.live},
            "/session.json": {"GET": lambda request: session_info()},
            **{path: {"GET": self.doc} for path in docs.PAGES},
            **{path: {"GET": file} for path in FILES},
        }

        middleware = SessionMiddleware(
            cost.clock(self.dispatch, untouched={"/how", *FILES}),
            secret=secret,
            store=cost.TimedStore(store),
            cookie_name="cookie_jar",  # Of its own: ports do not separate the cookies of two applications on one host.
            touch_interval=timedelta(minutes=1),  # How exact "last seen" is: at most one write a minute and visitor.
            absolute_timeout=LONGEST,
        )
        self.sessions = middleware.sessions
        self.app = secure(cost.bar(middleware))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, start_response)

    def dispatch(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Find the handler. The CSRF token is checked here, once: no handler can forget it."""
        request = Request(environ)
        methods = self.routes.get(environ["PATH_INFO"])
        method = "GET" if request.method == "HEAD" else request.method
        answer: WSGIApplication
        if methods is None:
            answer = page(request, "error.html", status=404)
        elif method not in methods:
            answer = page(request, "error.html", status=405)
            answer.allow = sorted(methods)
        else:
            try:
                if not has_readable_form(request):
                    answer = page(request, "error.html", status=400)
                elif check_csrf(request):
                    answer = methods[method](request)
                else:
                    answer = stale(request)
            except UnicodeDecodeError:  # A form or a query that is not UTF-8.
                answer = page(request, "error.html", status=400)
            except SessionGone:  # Logged out elsewhere, at this very moment.
                answer = stale(request)
        return answer(environ, start_response)

    # Pages for everybody

    def home(self, request: Request) -> Response:
        """Greet by name, or say that one must be logged in. Somebody who only looks gets no cookie and no record."""
        return page(request, "home.html")

    def how(self, request: Request) -> Response:
        """A page that never looks at the session: see its foot bar."""
        return plain_page(request, "how.html")

    def live(self, request: Request) -> Response:
        """Who is logged in, kept true by a script that asks ``session_info``: the only page that has one, and may."""
        response = page(request, "live.html")
        response.headers["Content-Security-Policy"] = POLICY_WITH_SCRIPT
        return response

    def doc(self, request: Request) -> Response:
        found = docs.doc(request.environ["PATH_INFO"])
        return page(request, "doc.html", title=found.title, html=found.html)

    # The cart: anonymous data, kept through login

    def cart(self, request: Request) -> Response:
        total = cart.total(get_session(request))
        # "at" names what was pressed. It has the focus again, so that the keyboard goes on from there.
        return page(request, "cart.html", shelf=cart.SHELF, total=total, at=request.GET.get("at"))

    def cart_add(self, request: Request) -> WSGIApplication:
        sku = text(request, "sku")
        if sku not in cart.SHELF:
            return page(request, "error.html", status=404)
        session = get_session(request)
        session.flash(f"{cart.SHELF[sku].name}: one more in your cart.", "success")
        # Of two requests that write the same key at the same time, the later wins; with ``atomic``, both count.
        session.atomic(lambda data: cart.add(data, sku))
        return see_other(f"/cart?at={'more' if text(request, 'where') == 'cart' else 'add'}-{sku}")

    def cart_take(self, request: Request) -> WSGIApplication:
        sku = text(request, "sku")
        left = get_session(request).atomic(lambda data: cart.take(data, sku))
        return see_other(f"/cart?at=less-{sku}" if left else "/cart?at=yours")

    def cart_empty(self, request: Request) -> WSGIApplication:
        session = get_session(request)
        session.pop("cart", None)
        session.flash("Your cart is empty.")
        return see_other("/cart?at=yours")

    # Logging in and out

    def login_form(self, request: Request) -> WSGIApplication:
        if user_or_none(request):
            return see_other(next_url(request))
        # "as" picks one of the three who are listed, with the password; "email" is what somebody typed.
        picked = request.GET.get("as", "")
        email = picked or request.GET.get("email", "")
        return login_page(request, email=email, picked=picked, remember="remember" in request.GET)

    def login(self, request: Request) -> WSGIApplication:
        email, remember = text(request, "email"), "remember" in request.POST
        user = users.check(email, text(request, "password"))
        if user is None:
            return login_page(request, email=email, remember=remember, wrong=True)

        # A new token, always; the cart stays. Without "remember me" the cookie ends with the browser.
        login(request, user, remember=remember)
        session = get_session(request)
        session["remember"] = remember
        session["browser"] = browsers.short_name(request.user_agent or "")
        session["mobile"] = browsers.is_mobile(request.user_agent or "")
        session["address"] = request.remote_addr
        session.flash(user["name"], "hello")  # The template makes a sentence of it, in which no name reorders the rest.
        return see_other(next_url(request))

    def logout(self, request: Request) -> WSGIApplication:
        """End this session, by POST only: a link could be followed by a prefetch, or planted in another site."""
        logout(request)
        # This begins an anonymous session, so the cookie is not removed but set anew. Only that makes Chromium forget
        # the pages that it keeps for "back", although they say no-store (tests/system/browser/test_visit.py).
        get_session(request).flash("You are logged out.")
        return see_other("/")

    # Pages for those who are logged in

    def profile(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        return page(request, "profile.html", email=user_email_or_none(request), longest=LONGEST)

    def devices(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        session = get_session(request)
        devices = self.sessions.of(session["user"])
        devices.sort(key=lambda device: (device.handle == session.handle, device.last_seen), reverse=True)
        return page(request, "devices.html", devices=devices)

    def sign_out_one(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        session = get_session(request)
        # Only among this user's own sessions: the handle of somebody else's opens and closes nothing.
        gone = self.sessions.revoke(session["user"], text(request, "handle"))
        message = "That device is signed out." if gone else "That device was signed out already."
        session.flash(message, "success")
        return see_other("/devices")

    def sign_out_others(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        session = get_session(request)
        gone = self.sessions.revoke_all(session["user"], keep=session)
        session.flash(f"Signed out everywhere else ({gone} device{'' if gone == 1 else 's'}).", "success")
        return see_other("/devices")


def login_page(
    request: Request, *, email: str, remember: bool, picked: str = "", wrong: bool = False
) -> Response:
    wanted = next_url(request)
    return page(
        request,
        "login.html",
        status=422 if wrong else 200,
        email=email,
        picked=picked,
        remember=remember,
        wrong=wrong,
        next=wanted,
        must=urlsplit(wanted).path in BEHIND_LOGIN,
    )


def stale(request: Request) -> WSGIApplication:
    """Refuse a form whose token is no good any more, and lead back to its page.

    The way back to the login has what was typed there, but for the password. It is a link and not the form itself: a
    form needs a session, and a POST that another site made comes without the cookie, so that a new session would take
    the place of the one that the visitor has.
    """
    path = request.environ["PATH_INFO"]
    if path == "/logout" and user_or_none(request) is None:
        return see_other("/")  # Signed out from another device: what was wanted is so.
    if path == "/login":
        typed = {"email": text(request, "email"), "next": next_url(request)}
        if "remember" in request.POST:
            typed["remember"] = "on"
        back = (f"/login?{urlencode(typed)}", "Back to the login")
    elif path.startswith("/devices/"):
        back = ("/devices", "Back to your devices")
    elif path.startswith("/cart/"):
        back = ("/cart", "Back to the cart")
    else:
        back = ("/", "Home")
    return page(request, "error.html", status=403, back=back)


def has_readable_form(request: Request) -> bool:
    try:
        request.POST  # noqa: B018 - it is parsed here, once
    except (ValueError, LookupError, DeprecationWarning):  # Not UTF-8, a boundary or a charset that is none: WebOb's.
        return False
    return True


def text(request: Request, name: str) -> str:
    """Return a field of the form; empty if it is missing, or is a file where text was wanted."""
    value = request.POST.get(name, "")
    return value if isinstance(value, str) else ""
