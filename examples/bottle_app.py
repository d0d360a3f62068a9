# A small shop in Bottle: a cart for all visitors, a profile behind a login. Run it: python examples/bottle_app.py
import os
from collections import Counter
from html import escape

from bottle import HTTPResponse, abort, default_app, get, hook, post, request, route, run
from wsgi_session import (
    SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none,
)

FORM = """<form method=post><input type=hidden name=csrf_token value={}>
<input name=name><input name=password><button>Log in</button></form>"""

@hook("before_request")
def protect():
    if not check_csrf(request):
        abort(403, "This form is no longer valid: go back and try again.")

@get("/")
def home():
    user = user_or_none(request) or {"name": "stranger"}
    cart = ", ".join(f"{item} x {count}" for item, count in Counter(request.environ["session"].get("cart", [])).items())
    return f"<p>Hello, {escape(user['name'])}</p><p>Cart: {escape(cart or 'empty')}</p>"

@route("/login", ["GET", "POST"])
def log_in():
    if (request.forms.name, request.forms.password) != ("ann", "ann"):  # replace this: compare a hash
        return FORM.format(request.environ["session"].csrf_token)
    login(request, {"id": 1, "name": "Ann", "email": "ann@example.com"})
    return HTTPResponse(status=303, location=next_url(request))  # redirect() would use the client's Host header

@get("/profile")
def profile():
    if response := redirect_if_anonymous(request):
        return HTTPResponse(response.body, response.status_int, response.headerlist)
    return f"<p>Your email is {escape(user_email_or_none(request))}</p>"

@post("/cart")
def add_to_cart():
    # With atomic, every click counts.
    request.environ["session"].atomic(lambda data: data.setdefault("cart", []).append(request.forms.item))
    return HTTPResponse(status=303, location="/")

@post("/logout")
def log_out():
    logout(request)
    return HTTPResponse(status=303, location="/")

SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
application = SessionMiddleware(default_app(), secret=SECRET, store=STORE, cookie_name="bottle_shop")

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    run(application, host="127.0.0.1", port=port, server="waitress", quiet=True)
