"""The Cookie Jar: a small shop that shows what ``wsgi_session`` does. Start it with ``python -m demo``.

Read ``app.py``: a complete site with a login, a cart and a list of devices, in plain WSGI with WebOb.
"""
