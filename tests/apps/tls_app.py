"""Tells what it knows of TLS, counts and makes bytes, and fetches by HTTPS itself."""

import http.client
import ssl


def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/environ":
        body = "".join(f"{key}={' '.join(str(environ[key]).split())}\n" for key in environ
                       if key.startswith("SSL_") or key in ("HTTPS", "wsgi.url_scheme")).encode()
    elif path.startswith("/bytes/"):
        body = b"x" * int(path[7:])
    elif path == "/fetch":
        client = http.client.HTTPSConnection("localhost", int(query), context=ssl.create_default_context(cafile=environ["HTTP_X_CA"]))
        client.request("GET", "/")
        body = client.getresponse().read()
        client.close()
    else:
        body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
