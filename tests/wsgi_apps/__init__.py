"""The same small site in each of the frameworks that test_wsgi_frameworks.py serves.

Each module has `make_app(file)`: a WSGI application with the routes that `site.py` names. None
knows what serves it.
"""
