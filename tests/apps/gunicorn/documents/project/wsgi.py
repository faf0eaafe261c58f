import os


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['DOCUMENTS_SECRET_KEY']} {os.environ['SPAM']}".encode()]
