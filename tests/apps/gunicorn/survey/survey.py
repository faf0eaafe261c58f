import logging


def create_app():
    # As Flask apps do it: what they log goes where Gunicorn's logger writes.
    gunicorn = logging.getLogger("gunicorn.error")
    log = logging.getLogger("survey")
    log.handlers = gunicorn.handlers
    log.setLevel(gunicorn.level)

    def app(environ, start_response):
        log.info("a survey")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"42"]

    return app
