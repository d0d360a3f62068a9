# A small shop in Pyramid: a cart for all visitors, a profile behind a login. Run it: python examples/pyramid_app.py
import os
from collections import Counter
from html import escape

from pyramid.config import Configurator
from pyramid.csrf import BadCSRFToken, get_csrf_token
from pyramid.httpexceptions import HTTPForbidden, HTTPSeeOther
from pyramid.response import Response
from waitress import serve
from wsgi_session import login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none

FORM = """<form method=post><input type=hidden name=csrf_token value={}>
<input name=name><input name=password><button>Log in</button></form>"""

def home(request):
    user = user_or_none(request) or {"name": "stranger"}
    cart = ", ".join(f"{item} x {count}" for item, count in Counter(request.session.get("cart", [])).items())
    return Response(f"<p>Hello, {escape(user['name'])}</p><p>Cart: {escape(cart or 'empty')}</p>")

def log_in(request):
    if (request.POST.get("name"), request.POST.get("password")) != ("ann", "ann"):  # replace this: compare a hash
        return Response(FORM.format(get_csrf_token(request)))
    login(request, {"id": 1, "name": "Ann", "email": "ann@example.com"})
    return HTTPSeeOther(next_url(request))

def profile(request):
    return redirect_if_anonymous(request) or Response(f"<p>Your email is {escape(user_email_or_none(request))}</p>")

def add_to_cart(request):
    if item := request.POST.get("item"):
        request.session.atomic(lambda data: data.setdefault("cart", []).append(item))  # every click counts
    return HTTPSeeOther("/")

def log_out(request):
    logout(request)
    return HTTPSeeOther("/")

SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
SETTINGS = {"wsgi_session.secret": SECRET, "wsgi_session.store": STORE, "wsgi_session.cookie_name": "pyramid_shop"}
with Configurator(settings=SETTINGS) as config:
    config.include("wsgi_session.integrations.pyramid")
    config.set_default_csrf_options(require_csrf=True)
    config.add_exception_view(lambda error, request: HTTPForbidden(), context=BadCSRFToken)
    pages = {"/": home, "/login": log_in, "/profile": profile, "/cart": add_to_cart, "/logout": log_out}
    for path, view in pages.items():
        config.add_route(path, path)
        config.add_view(view, route_name=path, request_method="POST" if view in (add_to_cart, log_out) else None)
application = config.make_wsgi_app()

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    serve(application, host="127.0.0.1", port=port)
