import logging
import os

log = logging.getLogger("inventory")


def application(environ, start_response):
    log.debug("asked for %s", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['INVENTORY_SETTINGS']} {os.environ['INVENTORY_SECRET']} {environ['wsgi.url_scheme']}".encode()]
