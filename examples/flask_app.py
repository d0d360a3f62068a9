# A small shop in Flask: a cart for all visitors, a profile behind a login. Run it: python examples/flask_app.py
import os
import secrets
from collections import Counter

from flask import Flask, abort, redirect, render_template_string, request, session
from waitress import serve
from wsgi_session import check_csrf, login, logout, next_url, redirect_if_anonymous, user_email_or_none, user_or_none
from wsgi_session.integrations.flask import FlaskSessions

HOME = "<p>Hello, {{ user.name or 'stranger' }}</p><p>Cart: {{ cart or 'empty' }}</p>"
FORM = """<form method=post><input type=hidden name=csrf_token value={{ session.csrf_token }}>
<input name=name><input name=password><button>Log in</button></form>"""
PROFILE = "<p>Your email is {{ email }}</p>"

app = application = Flask(__name__)
app.config["SECRET_KEY"] = os.environ.get("SECRET") or secrets.token_urlsafe(32)
FlaskSessions(app, store=os.environ.get("STORE", "sqlite:///sessions.db"), cookie_name="flask_shop")

@app.before_request
def protect():
    if not check_csrf(request):
        abort(403, "This form is no longer valid: go back and try again.")

@app.get("/")
def home():
    cart = ", ".join(f"{item} x {count}" for item, count in Counter(session.get("cart", [])).items())
    return render_template_string(HOME, user=user_or_none(request) or {}, cart=cart)

@app.route("/login", methods=["GET", "POST"])
def log_in():
    if (request.form.get("name"), request.form.get("password")) != ("ann", "ann"):  # replace this: compare a hash
        return render_template_string(FORM)
    login(request, {"id": 1, "name": "Ann", "email": "ann@example.com"})
    return redirect(next_url(request), 303)

@app.get("/profile")
def profile():
    return redirect_if_anonymous(request) or render_template_string(PROFILE, email=user_email_or_none(request))

@app.post("/cart")
def add_to_cart():
    session.atomic(lambda data: data.setdefault("cart", []).append(request.form["item"]))  # every click counts
    return redirect("/", 303)

@app.post("/logout")
def log_out():
    logout(request)
    return redirect("/", 303)

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Serving on http://127.0.0.1:{port}/profile")
    serve(application, host="127.0.0.1", port=port)
