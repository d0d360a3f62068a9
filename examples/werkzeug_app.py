# A small shop in Werkzeug: a cart for all visitors, a profile behind a login. Run it: python examples/werkzeug_app.py
import os
from collections import Counter
from html import escape

from waitress import serve
from werkzeug import Request, Response
from werkzeug.exceptions import Forbidden
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from wsgi_session import (
    SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none,
)

FORM = """<form method=post><input type=hidden name=csrf_token value={}>
<input name=name><input name=password><button>Log in</button></form>"""
URLS = Map([
    Rule("/", endpoint="home"), Rule("/login", endpoint="login"), Rule("/profile", endpoint="profile"),
    Rule("/cart", endpoint="cart", methods=["POST"]), Rule("/logout", endpoint="logout", methods=["POST"]),
])

class Shop:
    @Request.application
    def __call__(self, request):
        endpoint, _ = URLS.bind_to_environ(request).match()
        if not check_csrf(request):
            raise Forbidden("This form is no longer valid: go back and try again.")
        return getattr(self, f"on_{endpoint}")(request, request.environ["session"])

    def on_home(self, request, session):
        user = user_or_none(request) or {"name": "stranger"}
        cart = ", ".join(f"{item} x {count}" for item, count in Counter(session.get("cart", [])).items())
        text = f"<p>Hello, {escape(user['name'])}</p><p>Cart: {escape(cart or 'empty')}</p>"
        return Response(text, mimetype="text/html")

    def on_login(self, request, session):
        if (request.form.get("name"), request.form.get("password")) != ("ann", "ann"):  # replace this: compare a hash
            return Response(FORM.format(session.csrf_token), mimetype="text/html")
        login(request, {"id": 1, "name": "Ann", "email": "ann@example.com"})
        return redirect(next_url(request), 303)

    def on_profile(self, request, session):
        return redirect_if_anonymous(request) or Response(f"Your email is {user_email_or_none(request)}")

    def on_cart(self, request, session):
        session.atomic(lambda data: data.setdefault("cart", []).append(request.form["item"]))  # every click counts
        return redirect("/", 303)

    def on_logout(self, request, session):
        logout(request)
        return redirect("/", 303)

SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
application = SessionMiddleware(Shop(), secret=SECRET, store=STORE, cookie_name="werkzeug_shop")

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    serve(application, host="127.0.0.1", port=port)
