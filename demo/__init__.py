"""The Cookie Jar: a small shop that shows what ``wsgi_session`` does. ``python -m demo`` opens it.

``app.py`` is the part to read: a whole site with login, cart and a list of devices, in plain WSGI with WebOb.
"""
