"""A Flask site: JSON, forms, uploads, streams, cookies, sessions, errors. `app`, and the factory `create_app()`."""

import hashlib
import io

from flask import Flask, Response, abort, flash, get_flashed_messages, jsonify, make_response, redirect, request, send_file, session
from flask import stream_with_context, url_for


def create_app(name="flasksite"):
    app = Flask(name)
    app.secret_key = "only for tests"
    app.config["MAX_CONTENT_LENGTH"] = 64 << 20

    @app.get("/")
    def index():
        return "<h1>A Flask site</h1>"

    @app.post("/json")
    def echo_json():
        return jsonify(got=request.get_json(), type=request.content_type)

    @app.post("/form")
    def form():
        return jsonify(sorted([key, value] for key, value in request.form.items(multi=True)))

    @app.post("/upload")
    def upload():
        file = request.files["file"]
        data = file.read()
        return jsonify(name=file.filename, size=len(data), sha256=hashlib.sha256(data).hexdigest(), note=request.form.get("note"))

    @app.get("/stream/<int:count>")
    def stream(count):
        def lines():
            for number in range(count):
                yield f"{request.path} {number}\n"
        return Response(stream_with_context(lines()), mimetype="text/plain")

    @app.post("/raw")
    def raw():
        digest, size = hashlib.sha256(), 0
        while block := request.stream.read(65536):
            digest.update(block)
            size += len(block)
        return jsonify(size=size, sha256=digest.hexdigest())

    @app.get("/cookies")
    def cookies():
        response = make_response(jsonify(dict(request.cookies)))
        response.set_cookie("first", "1", httponly=True)
        response.set_cookie("second", "two words", samesite="Lax")
        response.delete_cookie("gone")
        return response

    @app.get("/count")
    def count():
        session["count"] = session.get("count", 0) + 1
        flash(f"visit {session['count']}")
        return jsonify(count=session["count"], messages=get_flashed_messages())

    @app.get("/file")
    def file():
        return send_file(io.BytesIO(b"0123456789" * 1000), mimetype="application/octet-stream", download_name="digits", etag="digits",
                         conditional=True)

    @app.get("/source")
    def source():
        return send_file(__file__, conditional=True)

    @app.get("/redirect")
    def moved():
        return redirect(url_for("index", _external=True))

    @app.get("/teapot")
    def teapot():
        abort(418)

    @app.get("/fails")
    def fails():
        raise ValueError("this page fails on purpose")

    @app.get("/empty")
    def empty():
        return "", 204

    @app.get("/hello/<name>")
    def hello(name):
        return f"Hello, {name}!"

    @app.errorhandler(404)
    def missing(error):
        return jsonify(error="no such page", path=request.path), 404

    return app


app = create_app()
