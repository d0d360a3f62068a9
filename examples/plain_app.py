# A small shop in plain WSGI: a cart for all visitors, a profile behind a login. Run it: python examples/plain_app.py
import os
from collections import Counter
from html import escape
from urllib.parse import parse_qs

from waitress import serve
from wsgi_session import (
    SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none,
)

FORM = """<form method=post><input type=hidden name=csrf_token value={}>
<input name=name><input name=password><button>Log in</button></form>"""

def shop(environ, start_response):
    def answer(html, status="200 OK", *headers):
        start_response(status, [("Content-Type", "text/html; charset=utf-8"), *headers])
        return [html.encode()]

    if not check_csrf(environ):
        return answer("This form is no longer valid: go back and try again.", "403 Forbidden")
    session = environ["session"]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    form = {name: values[0] for name, values in parse_qs(body).items()}
    match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
        case "GET", "/":
            user = user_or_none(environ) or {"name": "stranger"}
            cart = ", ".join(f"{item} x {count}" for item, count in Counter(session.get("cart", [])).items())
            return answer(f"<p>Hello, {escape(user['name'])}</p><p>Cart: {escape(cart or 'empty')}</p>")
        case "GET", "/login":
            return answer(FORM.format(session.csrf_token))
        case "POST", "/login":
            if (form.get("name"), form.get("password")) != ("ann", "ann"):  # replace this: compare a hash
                return answer(FORM.format(session.csrf_token))
            login(environ, {"id": 1, "name": "Ann", "email": "ann@example.com"})
            return answer("", "303 See Other", ("Location", next_url(environ)))
        case "GET", "/profile":
            if response := redirect_if_anonymous(environ):
                return response(environ, start_response)
            return answer(f"<p>Your email is {escape(user_email_or_none(environ))}</p>")
        case "POST", "/cart" if "item" in form:
            session.atomic(lambda data: data.setdefault("cart", []).append(form["item"]))  # every click counts
            return answer("", "303 See Other", ("Location", "/"))
        case "POST", "/logout":
            logout(environ)
            return answer("", "303 See Other", ("Location", "/"))
    return answer("Not found", "404 Not Found")

SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
application = SessionMiddleware(shop, secret=SECRET, store=STORE, cookie_name="plain_shop")

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    serve(application, host="127.0.0.1", port=port)
