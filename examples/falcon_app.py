# A small shop in Falcon: a cart for all visitors, a profile behind a login. Run it: python examples/falcon_app.py
import os
from collections import Counter
from html import escape

import falcon
from waitress import serve
from wsgi_session import (
    SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none,
)

FORM = """<form method=post><input type=hidden name=csrf_token value={}>
<input name=name><input name=password><button>Log in</button></form>"""

class CSRF:
    def process_request(self, req, resp):
        if not check_csrf(req):
            raise falcon.HTTPForbidden(description="This form is no longer valid: go back and try again.")

class Shop:
    def on_get(self, req, resp):
        user = user_or_none(req) or {"name": "stranger"}
        cart = ", ".join(f"{item} x {count}" for item, count in Counter(req.env["session"].get("cart", [])).items())
        resp.text = f"<p>Hello, {escape(user['name'])}</p><p>Cart: {escape(cart or 'empty')}</p>"

    def on_get_login(self, req, resp):
        resp.text = FORM.format(req.env["session"].csrf_token)

    def on_post_login(self, req, resp):
        if (req.media.get("name"), req.media.get("password")) != ("ann", "ann"):  # replace this: compare a hash
            raise falcon.HTTPSeeOther(req.relative_uri)
        login(req, {"id": 1, "name": "Ann", "email": "ann@example.com"})
        raise falcon.HTTPSeeOther(next_url(req))

    def on_get_profile(self, req, resp):
        if response := redirect_if_anonymous(req):
            raise falcon.HTTPStatus(response.status, response.headerlist, response.text)
        resp.text = f"<p>Your email is {escape(user_email_or_none(req))}</p>"

    def on_post_cart(self, req, resp):
        # every click counts
        req.env["session"].atomic(lambda data: data.setdefault("cart", []).append(req.media.get("item", "apple")))
        raise falcon.HTTPSeeOther("/")

    def on_post_logout(self, req, resp):
        logout(req)
        raise falcon.HTTPSeeOther("/")

app = falcon.App(media_type=falcon.MEDIA_HTML, middleware=[CSRF()])
for page in ("", "login", "profile", "cart", "logout"):
    app.add_route(f"/{page}", Shop(), suffix=page)

SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
application = SessionMiddleware(app, secret=SECRET, store=STORE, cookie_name="falcon_shop")

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    serve(application, host="127.0.0.1", port=port)
