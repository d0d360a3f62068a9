# A small shop in web.py: a cart for all visitors, a profile behind a login. Run it: python examples/webpy_app.py
import os
from collections import Counter

import web
from wsgi_session import (
    SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none,
)

class Home:
    def GET(self):
        user = user_or_none(web.ctx) or {"name": "stranger"}
        cart = ", ".join(f"{item} x {count}" for item, count in Counter(web.ctx.env["session"].get("cart", [])).items())
        return f"<p>Hello, {web.websafe(user['name'])}</p><p>Cart: {web.websafe(cart or 'empty')}</p>"

    def POST(self):
        # With atomic, every click counts.
        web.ctx.env["session"].atomic(lambda data: data.setdefault("cart", []).append(web.input(item="apple").item))
        raise web.HTTPError("303 See Other", {"Location": "/"})

class Login:
    def GET(self):
        return f"""<form method=post><input name=name><input name=password><button>Log in</button>
        <input type=hidden name=csrf_token value={web.ctx.env["session"].csrf_token}></form>"""

    def POST(self):
        form = web.input(name="", password="")
        if (form.name, form.password) != ("ann", "ann"):  # replace this: compare a hash
            return self.GET()
        login(web.ctx, {"id": 1, "name": "Ann", "email": "ann@example.com"})
        # web.seeother would use the client's Host header.
        raise web.HTTPError("303 See Other", {"Location": next_url(web.ctx)})

class Account:
    def GET(self):
        if response := redirect_if_anonymous(web.ctx):
            raise web.HTTPError(response.status, dict(response.headerlist), response.text)
        return f"<p>Your email is {web.websafe(user_email_or_none(web.ctx))}</p>"

    def POST(self):
        logout(web.ctx)
        raise web.HTTPError("303 See Other", {"Location": "/"})

def begin():
    web.header("Content-Type", "text/html; charset=utf-8")
    if not check_csrf(web.ctx):
        raise web.forbidden("This form is no longer valid: go back and try again.")

app = web.application(("/", Home, "/cart", Home, "/login", Login, "/profile", Account, "/logout", Account))
app.add_processor(web.loadhook(begin))
SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
application = SessionMiddleware(app.wsgifunc(), secret=SECRET, store=STORE, cookie_name="webpy_shop")

if __name__ == "__main__":
    web.httpserver.runsimple(application, ("127.0.0.1", int(os.environ.get("PORT", "8000"))))
