# A small shop in Django: a cart for all visitors, a profile behind a login. Run it: python examples/django_app.py
import os

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, login, logout
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from waitress import serve
from wsgi_session import next_url, redirect_if_anonymous, user_email_or_none, user_or_none

settings.configure(
    SECRET_KEY=os.environ.get("SECRET") or os.urandom(32).hex(), ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"],
    SESSION_ENGINE="wsgi_session.integrations.django", WSGI_SESSION_STORE=os.environ.get("STORE", "sqlite:///sessions.db"),
    SESSION_COOKIE_NAME="django_shop", CSRF_USE_SESSIONS=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "users.db"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"], MIDDLEWARE=[
    "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware", "wsgi_session.integrations.django.HelpersMiddleware"])
application = get_wsgi_application()
call_command("migrate", verbosity=0)
if not get_user_model().objects.exists():
    get_user_model().objects.create_user("ann", "ann@example.com", "ann", first_name="Ann")

def home(request):
    user = user_or_none(request) or {"name": "stranger"}
    items = [value for key, value in request.session.items() if key.startswith("cart:")]
    cart = ", ".join(f"{item} x {items.count(item)}" for item in dict.fromkeys(items))
    return HttpResponse(format_html("<p>Hello, {}</p><p>Cart: {}</p>", user["name"], cart or "empty"))

def log_in(request):
    if user := authenticate(request, username=request.POST.get("name"), password=request.POST.get("password")):
        login(request, user)
        return HttpResponseRedirect(next_url(request))
    return HttpResponse(format_html("""<form method=post><input type=hidden name=csrfmiddlewaretoken value={}>
    <input name=name><input name=password><button>Log in</button></form>""", get_token(request)))

def profile(request):
    if anonymous := redirect_if_anonymous(request):
        return HttpResponse(anonymous.body, status=anonymous.status_int, headers=anonymous.headerlist)
    return HttpResponse(format_html("<p>Your email is {}</p>", user_email_or_none(request)))

def add_to_cart(request):
    request.session[f"cart:{os.urandom(8).hex()}"] = request.POST.get("item", "apple")  # each click counts
    return HttpResponseRedirect("/")

def log_out(request):
    logout(request)
    return HttpResponseRedirect("/")

urlpatterns = [path("", home), path("login", log_in), path("profile", profile),
    path("cart", require_POST(add_to_cart)), path("logout", require_POST(log_out))]
if __name__ == "__main__":
    print("Serving on http://127.0.0.1:" + os.environ.get("PORT", "8000") + "/profile")
    serve(application, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
