# A small shop in WebOb: a cart for all visitors, a profile behind a login. Run it: python examples/webob_app.py
import os
from collections import Counter
from html import escape

from waitress import serve
from webob import Response
from webob.dec import wsgify
from webob.exc import HTTPForbidden, HTTPNotFound
from wsgi_session import (
    SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none,
)

FORM = """<form method=post><input type=hidden name=csrf_token value={}>
<input name=name><input name=password><button>Log in</button></form>"""

def see_other(path):
    def answer(environ, start_response):  # HTTPSeeOther would use the client's Host header
        start_response("303 See Other", [("Location", path), ("Content-Type", "text/plain")])
        return [b""]
    return answer

@wsgify
def shop(request):
    if not check_csrf(request):
        return HTTPForbidden("This form is no longer valid: go back and try again.")
    session, form = request.environ["session"], request.POST
    match request.method, request.path_info:
        case "GET", "/":
            user = user_or_none(request) or {"name": "stranger"}
            cart = ", ".join(f"{item} x {count}" for item, count in Counter(session.get("cart", [])).items())
            return Response(f"<p>Hello, {escape(user['name'])}</p><p>Cart: {escape(cart or 'empty')}</p>")
        case "GET", "/login":
            return Response(FORM.format(session.csrf_token))
        case "POST", "/login":
            if (form.get("name"), form.get("password")) != ("ann", "ann"):  # replace this: compare a hash
                return Response(FORM.format(session.csrf_token))
            login(request, {"id": 1, "name": "Ann", "email": "ann@example.com"})
            return see_other(next_url(request))
        case "GET", "/profile":
            if response := redirect_if_anonymous(request):
                return response
            return Response(f"<p>Your email is {escape(user_email_or_none(request))}</p>")
        case "POST", "/cart" if "item" in form:
            session.atomic(lambda data: data.setdefault("cart", []).append(form["item"]))  # every click counts
            return see_other("/")
        case "POST", "/logout":
            logout(request)
            return see_other("/")
    return HTTPNotFound()

SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
application = SessionMiddleware(shop, secret=SECRET, store=STORE, cookie_name="webob_shop")

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    serve(application, host="127.0.0.1", port=port)
