# A small shop in CherryPy: a cart for all visitors, a profile behind a login. Run it: python examples/cherrypy_app.py
import os
from collections import Counter
from html import escape

from cheroot.wsgi import Server
from cherrypy import HTTPError, HTTPRedirect, expose, request, response, tools, tree
from wsgi_session import (
    SessionMiddleware, check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none,
)

@tools.register("before_handler")
def csrf():
    if not check_csrf(request):
        raise HTTPError(403, "This form is no longer valid: go back and try again.")

class Shop:
    @expose
    def index(self):
        user = user_or_none(request) or {"name": "stranger"}
        items = Counter(request.wsgi_environ["session"].get("cart", []))
        cart = ", ".join(f"{item} x {count}" for item, count in items.items())
        return f"<p>Hello, {escape(user['name'])}</p><p>Cart: {escape(cart or 'empty')}</p>"

    @expose
    def login(self, name="", password="", csrf_token="", next="/"):
        if (name, password) != ("ann", "ann"):  # replace this: compare a hash
            return f"""<form method=post><input name=name><input name=password><button>Log in</button>
            <input type=hidden name=csrf_token value={request.wsgi_environ["session"].csrf_token}></form>"""
        login(request, {"id": 1, "name": "Ann", "email": "ann@example.com"})
        raise HTTPRedirect(next_url(request), 303)

    @expose
    def profile(self):
        if anonymous := redirect_if_anonymous(request):
            response.status = anonymous.status
            response.headers.update(anonymous.headers)
            return anonymous.body
        return f"<p>Your email is {escape(user_email_or_none(request))}</p>"

    @expose
    @tools.allow(methods=["POST"])
    def cart(self, item, csrf_token=""):
        request.wsgi_environ["session"].atomic(lambda data: data.setdefault("cart", []).append(item))  # all count
        raise HTTPRedirect("/", 303)

    @expose
    @tools.allow(methods=["POST"])
    def logout(self, csrf_token=""):
        logout(request)
        raise HTTPRedirect("/", 303)

app = tree.mount(Shop(), config={"/": {"tools.csrf.on": True}})
app.relative_urls = "server"  # otherwise HTTPRedirect uses the client's Host header
SECRET, STORE = os.environ.get("SECRET") or os.urandom(32), os.environ.get("STORE", "sqlite:///sessions.db")
application = SessionMiddleware(app, secret=SECRET, store=STORE, cookie_name="cherrypy_shop")

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    Server(("127.0.0.1", port), application).safe_start()
