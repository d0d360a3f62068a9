"""A complete site with ``wsgi_session``, in plain WSGI. Read this file as an example.

    SessionMiddleware(app, secret=SECRET, store="sqlite:///demo.db")

puts the visitor's session into ``environ["session"]``; the rest of this file shows how a site uses it. The whole public
interface is in :data:`wsgi_session.__all__`. (``cost`` is only for the bar at the foot of the pages.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from webob import Request, Response

from demo import cart, cost, docs, users
from demo.pages import page, plain_page
from demo.web import FILES, POLICY_WITH_SCRIPT, file, secure, see_other
from wsgi_session import (
    SessionGone,
    SessionMiddleware,
    check_csrf,
    confirm,
    describe_device,
    get_session,
    login,
    logout,
    next_url,
    redirect_if_anonymous,
    redirect_unless_fresh,
    session_info,
    user_email_or_none,
    user_or_none,
)
from wsgi_session.stores import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Handler = Callable[[Request], WSGIApplication]


#: A login ends after this time, even if the visitor keeps coming back.
LONGEST = timedelta(days=90)
#: The pages that redirect anonymous visitors to the login.
BEHIND_LOGIN = {"/profile", "/devices"}


class Site:
    """The shop. One object serves all threads, so everything that belongs to a visitor is in the session."""

    def __init__(self, *, secret: str, store: Store) -> None:
        self.routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self.home},
            "/cart": {"GET": self.cart},
            "/cart/add": {"POST": self.cart_add},
            "/cart/take": {"POST": self.cart_take},
            "/cart/empty": {"POST": self.cart_empty},
            "/login": {"GET": self.login_form, "POST": self.login},
            "/logout": {"POST": self.logout},
            "/confirm": {"GET": self.confirm_form, "POST": self.confirm},
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
            cookie_name="cookie_jar",  # Other applications on this host need other names, even on other ports.
            touch_interval=timedelta(minutes=1),  # Keeps "last seen" exact to a minute, with one write per minute.
            absolute_timeout=LONGEST,
            describe=describe_device,  # Names browser and system of each device.
        )
        self.sessions = middleware.sessions
        self.app = secure(cost.bar(middleware))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, start_response)

    def dispatch(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Find and call the handler. A form of another site is refused here, so that no handler can forget it.

        The forms contain no tokens: the browser says which page has sent them. So a page with a form starts no session.
        """
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
                    answer = refused(request)
            except UnicodeDecodeError:  # A form or a query that is not UTF-8.
                answer = page(request, "error.html", status=400)
            except SessionGone:  # Another request has ended the session during this one.
                answer = refused(request)
        return answer(environ, start_response)

    # Pages for everybody

    def home(self, request: Request) -> Response:
        """Greet the user by name, or ask for a login. A visitor who only reads pages gets no cookie and no record."""
        return page(request, "home.html")

    def how(self, request: Request) -> Response:
        """Show a page that does not use the session; the bar at its foot shows that this costs nothing."""
        return plain_page(request, "how.html")

    def live(self, request: Request) -> Response:
        """Show who is logged in. The script of this page, the only one of the site, polls ``session_info``."""
        response = page(request, "live.html")
        response.headers["Content-Security-Policy"] = POLICY_WITH_SCRIPT
        return response

    def doc(self, request: Request) -> Response:
        found = docs.doc(request.environ["PATH_INFO"])
        return page(request, "doc.html", title=found.title, html=found.html)

    # The cart: anonymous data, kept at the login

    def cart(self, request: Request) -> Response:
        total = cart.total(get_session(request))
        # "at" names the button that was pressed. It gets the focus again, so that keyboard users can go on from there.
        return page(request, "cart.html", shelf=cart.SHELF, total=total, at=request.GET.get("at"))

    def cart_add(self, request: Request) -> WSGIApplication:
        sku = text(request, "sku")
        if sku not in cart.SHELF:
            return page(request, "error.html", status=404)
        session = get_session(request)
        session.flash(f"{cart.SHELF[sku].name}: added to your cart.", "success")
        # If two requests assign the same key at the same time, the later one wins. With ``atomic``, both count.
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
        # "as" selects one of the three listed users, with the password; "email" is the text that the visitor typed.
        picked = request.GET.get("as", "")
        email = picked or request.GET.get("email", "")
        return login_page(request, email=email, picked=picked, remember="remember" in request.GET)

    def login(self, request: Request) -> WSGIApplication:
        email, remember = text(request, "email"), "remember" in request.POST
        user = users.check(email, text(request, "password"))
        if user is None:
            return login_page(request, email=email, remember=remember, wrong=True)

        # login() changes the token and keeps the cart. Without "remember me", the cookie ends with the browser.
        login(request, user, remember=remember)
        session = get_session(request)
        session["remember"] = remember
        session.flash(user["name"], "hello")  # The template keeps right-to-left names from reordering the rest.
        return see_other(next_url(request))

    def logout(self, request: Request) -> WSGIApplication:
        """End this session. Only by POST: a browser may prefetch a link, and another site may contain one."""
        logout(request)
        # The message starts an anonymous session, so the cookie is replaced, not removed. Only a new cookie makes
        # Chromium drop the pages that it keeps for its Back button, even with no-store: see
        # tests/system/browser/test_visit.py.
        get_session(request).flash("You are logged out.")
        return see_other("/")

    # The password is asked for again before an action that a stolen session must not allow.

    def confirm_form(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        return page(request, "confirm.html", next=next_url(request, "/devices"), wrong=False)

    def confirm(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        back = next_url(request, "/devices")
        if users.check(user_email_or_none(request) or "", text(request, "password")) is None:
            return page(request, "confirm.html", status=422, next=back, wrong=True)
        confirm(request, method="password")  # changes the token, and notes the time
        get_session(request).flash("Thank you. Now go on.", "success")
        return see_other(back)

    # Pages that require a login

    def profile(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        return page(request, "profile.html", email=user_email_or_none(request), longest=LONGEST)

    def devices(self, request: Request) -> WSGIApplication:
        if response := redirect_if_anonymous(request):
            return response
        session = get_session(request)
        devices = self.sessions.of(session["user"], current=session)
        devices.sort(key=lambda device: (device.current, device.last_seen), reverse=True)
        return page(request, "devices.html", devices=devices)

    def sign_out_one(self, request: Request) -> WSGIApplication:
        if response := redirect_unless_fresh(request):
            return response
        session = get_session(request)
        # revoke() ends only this user's own sessions: the handle of another user's session has no effect.
        gone = self.sessions.revoke(session["user"], text(request, "handle"))
        message = "That device is signed out." if gone else "That device was signed out already."
        session.flash(message, "success")
        return see_other("/devices")

    def sign_out_others(self, request: Request) -> WSGIApplication:
        if response := redirect_unless_fresh(request):
            return response
        session = get_session(request)
        gone = self.sessions.revoke_all(session["user"], keep=session)
        session.flash(f"Signed out everywhere else ({gone} device{'' if gone == 1 else 's'}).", "success")
        return see_other("/devices")


def login_page(request: Request, *, email: str, remember: bool, picked: str = "", wrong: bool = False) -> Response:
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


def refused(request: Request) -> WSGIApplication:
    """Refuse a form that another site has sent, or whose session has just ended, and link back to its page.

    The page starts no session: a POST from another site arrives without the cookie, so a new session would replace the
    visitor's own.
    """
    path = request.environ["PATH_INFO"]
    if path.startswith("/devices/"):
        back = ("/devices", "Back to your devices")
    elif path.startswith("/cart/"):
        back = ("/cart", "Back to the cart")
    elif path == "/login":
        back = ("/login", "Back to the login")
    else:
        back = ("/", "Home")
    return page(request, "error.html", status=403, back=back)


def has_readable_form(request: Request) -> bool:
    try:
        request.POST  # noqa: B018 - reading the attribute parses the form, and WebOb keeps the result
    except (ValueError, LookupError, DeprecationWarning):  # Invalid UTF-8, an invalid boundary, an unknown charset.
        return False
    return True


def text(request: Request, name: str) -> str:
    """Return a text field of the form; an empty text if it is missing or is a file."""
    value = request.POST.get(name, "")
    return value if isinstance(value, str) else ""
