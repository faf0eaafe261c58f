"""FastCGI: what a responder is told, what becomes of its replies, which script a path asks for; and php-fpm, where it is installed."""

import json
import os
import shutil
import subprocess

import pytest

import fastcgi
from lib.limits import until
from lib.upstream import Upstream
from lib.wire import Closed, request

PHP = next((path for path in ("/usr/sbin/php-fpm8.2", "/usr/sbin/php-fpm8.4", "/usr/sbin/php-fpm") if os.path.exists(path)), shutil.which("php-fpm"))


def site(to, root, more="", routes="", server=""):
    return f"""
worker_class = {{worker}}
workers = 1
keepalive = 30
server "s" {{
    listen = "{{address}}"
    {server}
    {routes}
    route "php" {{ fastcgi {{ to = "{to}"  root = "{root}"  {more} }} }}
}}
"""


def scripts(tmp_path, *names):
    root = tmp_path / "www"
    for name in names or ("index.php",):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<?php echo 1;")
    return root


def told(got):
    return b"Content-Type: application/json\r\n\r\n" + json.dumps(got.vars).encode()


def test_variables(monoceros, tmp_path):
    root = scripts(tmp_path, "index.php", "a b.php", "sub/index.php")
    with Upstream(fastcgi.answering(told)) as up:
        config = site(up.text, root, more="params = {'APP_ENV prod', 'QUERY $args', 'REQUEST_SCHEME', 'SERVER_SOFTWARE mine'}")
        server = monoceros(config=config)
        with server.connect() as client:
            headers = [("X-A", "1"), ("x-a", "2"), ("X_Evil", "3"), ("Proxy", "http://evil"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("Content-Type", "text/x"),
                       ("X-Forwarded-For", "6.6.6.6"), ("TE", "trailers"), ("Accept", "*/*")]
            got = json.loads(client.ask("POST", "/a%20b.php/more/../path%2fx?q=1&r=%20", headers=headers, body=b"hello", host="example.org:81").body)
            assert got["SCRIPT_FILENAME"] == f"{root}/a b.php"
            assert got["SCRIPT_NAME"] == "/a b.php"
            assert got["PATH_INFO"] == "/path/x"
            assert got["DOCUMENT_ROOT"] == str(root)
            assert got["QUERY_STRING"] == got["QUERY"] == "q=1&r=%20"
            assert got["REQUEST_URI"] == "/a%20b.php/more/../path%2fx?q=1&r=%20"
            assert got["REQUEST_METHOD"] == "POST"
            assert got["CONTENT_LENGTH"] == "5" and got["CONTENT_TYPE"] == "text/x"
            assert got["SERVER_PROTOCOL"] == "HTTP/1.1" and got["GATEWAY_INTERFACE"] == "CGI/1.1"
            assert got["REMOTE_ADDR"] == "127.0.0.1" and got["REMOTE_PORT"] == str(client.sock.getsockname()[1])
            assert got["SERVER_NAME"] == "example.org" and got["HTTP_HOST"] == "example.org:81"
            assert got["SERVER_PORT"] == str(server.address[1]) and got["SERVER_ADDR"] == "127.0.0.1"
            assert got["APP_ENV"] == "prod" and got["SERVER_SOFTWARE"] == "mine"
            assert "REQUEST_SCHEME" not in got and "HTTPS" not in got
            assert got["HTTP_X_A"] == "1, 2" and got["HTTP_COOKIE"] == "a=1; b=2" and got["HTTP_ACCEPT"] == "*/*"
            assert not {"HTTP_X_EVIL", "HTTP_PROXY", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_TE"} & set(got)
            assert got["HTTP_X_FORWARDED_FOR"] == "6.6.6.6"     # 127.0.0.1 is a trusted proxy unless told otherwise
            got = json.loads(client.ask("GET", "/sub/").body)
            assert got["SCRIPT_NAME"] == "/sub/index.php" and got["PATH_INFO"] == "" and got["CONTENT_LENGTH"] == ""


def test_strangers_tell_no_forwarded(monoceros, tmp_path):
    with Upstream(fastcgi.answering(told)) as up:
        server = monoceros(config=site(up.text, scripts(tmp_path), server='forwarded_allow_ips = "10.1.1.1"'))
        with server.connect() as client:
            headers = [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("X-Other", "ok"), ("X.Forwarded.For", "6.6.6.6"),
                       ("X.Real!IP", "6.6.6.6"), ("Content.Length", "9"), ("X_Real_IP", "6.6.6.6")]      # PHP reads a dot as '_'
            got = json.loads(client.ask("GET", "/index.php", headers=headers).body)
            assert [key for key in got if "FORWARDED" in key or "REAL" in key or "." in key] == [] and got["HTTP_X_OTHER"] == "ok"


def test_only_scripts_are_asked_for(monoceros, tmp_path):
    root = scripts(tmp_path, "index.php", "dir.php/x.txt")
    (root / "upload.jpg").write_text("<?php evil();")
    seen = []
    with Upstream(fastcgi.answering(told, seen)) as up:
        server = monoceros(config=site(up.text, root))
        for path in ("/upload.jpg", "/upload.jpg/x.php", "/nothing.php", "/dir.php", "/dir.php/x.txt", "/index.phpx", "/index.php.jpg", "/sub/", "/../index.html",
                     "/upload.jpg/.php", "/%2e%2e/index.phps"):
            with server.connect() as client:
                assert client.ask("GET", path).status in (400, 404), path
        assert seen == []
        with server.connect() as client:
            assert client.ask("GET", "/index.php/x.php").status == 200
            assert seen[0].vars["SCRIPT_NAME"] == "/index.php" and seen[0].vars["PATH_INFO"] == "/x.php"


def test_other_routes_take_what_is_no_script(monoceros, tmp_path):
    root = scripts(tmp_path)
    with Upstream(fastcgi.answering(told)) as up:
        config = site(up.text, root).replace("route \"php\"", f"route \"first\" {{ match {{ prefix = \"/app\" }} fastcgi {{ to = \"{up.text}\" root = \"{root}\" "
                                             "script = \"/index.php\" check_file = no } }\n    route \"php\"")
        config = config.rsplit("}", 1)[0] + '    route "rest" { respond { body = "rest" } }\n}\n'
        server = monoceros(config=config)
        with server.connect() as client:
            assert client.ask("GET", "/nothing").body == b"rest"
            assert client.ask("GET", "/nothing.php").body == b"rest"
            assert json.loads(client.ask("GET", "/app/x/y?z").body)["SCRIPT_NAME"] == "/index.php"
            assert json.loads(client.ask("GET", "/index.php").body)["PATH_INFO"] == ""


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_bodies(monoceros, tmp_path, size, buffering):
    body = bytes(i * 7 % 251 for i in range(size))
    seen = []

    def reverse(got):
        out = b"A: b\n\n" + got.body[::-1]
        return (b"".join(fastcgi.record(fastcgi.STDOUT, out[i:i + 60_000], i % 7) for i in range(0, len(out), 60_000)) + fastcgi.end(),)

    with Upstream(fastcgi.answering(reverse, seen)) as up:
        server = monoceros(config=site(up.text, scripts(tmp_path), more=f"request_buffering = {buffering}"))
        with server.connect() as client:
            assert client.ask("POST", "/", body=body).body == body[::-1]
            assert seen[0].vars["CONTENT_LENGTH"] == str(size)
            chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[i:i + 3000] for i in range(0, size, 3000))) + b"0\r\n\r\n"
            client.send(request("POST", "/", headers=[("Transfer-Encoding", "chunked")]) + chunked)
            assert client.read("POST").body == body[::-1]
            assert seen[1].vars["CONTENT_LENGTH"] == str(size)


def test_replies(monoceros, tmp_path):
    replies = {
        "status": b"Status: 404 Not here\r\nX-A: b\r\n\r\nno",
        "redirect": b"Location: https://example.org/\n\n",
        "length": b"Content-Length: 2\n\nok",
        "hidden": b"X-Accel-Redirect: /secret\nConnection: x\nKeep-Alive: 1\nA: b\n\nok",
    }
    with Upstream(fastcgi.answering(lambda got: replies[got.vars["QUERY_STRING"]])) as up:
        server = monoceros(config=site(up.text, scripts(tmp_path)))
        with server.connect() as client:
            answer = client.ask("GET", "/?status")
            assert (answer.status, answer.reason, answer.get("X-A"), answer.body) == (404, "Not here", "b", b"no")
            answer = client.ask("GET", "/?redirect")
            assert (answer.status, answer.get("Location")) == (302, "https://example.org/")
            assert client.ask("GET", "/?length").get("Content-Length") == "2"
            answer = client.ask("HEAD", "/?length")
            assert answer.get("Content-Length") == "2" and answer.body == b""
            answer = client.ask("GET", "/?hidden")
            assert answer.get("A") == "b" and not answer.get("X-Accel-Redirect") and not answer.get("Keep-Alive")


@pytest.mark.parametrize("bad", [
    b"Status: 200\rX\n\n", b"A: b\r\n c\n\n", b"\x00: x\n\n", b"Set-Cookie: a\rb: c\n\n", b"HTTP/1.1 200 OK\r\nA: b", b"Transfer-Encoding: chunked\n\n",
    b"Content-Length: 1\nContent-Length: 2\n\n", b"Status: 1000\n\n", b"",
])
def test_bad_replies_are_502(monoceros, tmp_path, bad):
    with Upstream(fastcgi.answering(lambda got: bad)) as up:
        server = monoceros(config=site(up.text, scripts(tmp_path), more="retries = 0"))
        with server.connect() as client:
            assert client.ask("GET", "/").status == 502


@pytest.mark.parametrize("bad", [b"HTTP/1.1 200 OK\r\n\r\n", b"\x01\x06\x00\x02\x00\x00\x00\x00", fastcgi.end(), fastcgi.end(2), fastcgi.record(3, b"x"), b"\x01", b""])
def test_bad_records_are_502(monoceros, tmp_path, bad):
    def script(peer):
        fastcgi.Request(peer)
        peer.send(bad)

    with Upstream(script) as up:
        server = monoceros(config=site(up.text, scripts(tmp_path), more="retries = 0"))
        with server.connect() as client:
            assert client.ask("GET", "/").status == 502


def test_a_reply_that_breaks_off_is_cut(monoceros, tmp_path):
    def script(peer):
        fastcgi.Request(peer)
        peer.send(fastcgi.record(fastcgi.STDOUT, b"A: b\n\nhello" + bytes(300_000)[:60_000]))

    with Upstream(script) as up:
        server = monoceros(config=site(up.text, scripts(tmp_path), more="retries = 0"))
        with server.connect() as client, pytest.raises(Closed):
            client.ask("GET", "/")


def test_stderr_goes_to_the_error_log(monoceros, tmp_path):
    def reply(got):
        lines = fastcgi.record(fastcgi.STDERR, b"PHP Warning:  evil\x1b[31m in /srv/x.php\n")
        return (lines + fastcgi.record(fastcgi.STDOUT, b"A: b\n\nok") + fastcgi.end(),)

    with Upstream(fastcgi.answering(reply)) as up:
        server = monoceros(config=site(up.text, scripts(tmp_path)))
        with server.connect() as client:
            assert client.ask("GET", "/").body == b"ok"
        until(lambda: "PHP Warning:  evil\\x1b[31m in /srv/x.php" in server.log(), "the warning in the log")


def test_connections_are_kept_only_when_asked(monoceros, tmp_path):
    seen = []
    root = scripts(tmp_path)
    with Upstream(fastcgi.answering(told, seen)) as up:
        routes = f'route "keep" {{ match {{ prefix = "/keep" }} fastcgi {{ to = "{up.text}" root = "{root}" script = "/index.php" keep_conn = on }} }}'
        server = monoceros(config=site(up.text, root, routes=routes))
        with server.connect() as client:
            for _ in range(3):
                assert client.ask("GET", "/").status == 200
            assert up.connections == 3 and not any(one.keep for one in seen)
            for _ in range(3):
                assert client.ask("GET", "/keep").status == 200
            assert up.connections == 4 and all(one.keep for one in seen[3:])


def test_settings_are_checked(monoceros, tmp_path):
    for more, words in (("", "root = "), ('root = "x"', "root = "), ('root = "/" split = "("', "split: "), ('root = "/" split = "x"', "has no group"),
                        ("root = \"/\" params = {'A-B c'}", "params: expected 'NAME TEXT'"), ("root = \"/\" params = {'A $nope'}", "nope"),
                        ('root = "/" index = "a/b"', "index is the name"), ('root = "/" script = "x"', "script begins with /")):
        config = 'server "s" { listen = "127.0.0.1:1" route "r" { fastcgi { to = "127.0.0.1:9" ' + more + " } } }"
        path = tmp_path / "bad.conf"
        path.write_text(config)
        done = subprocess.run([os.environ.get("MONOCEROS", "objs/monoceros"), "-c", path, "--print-config"], capture_output=True, text=True)
        assert done.returncode == 1 and words in done.stderr, (more, done.stderr)


# ---- php-fpm


@pytest.fixture
def fpm(tmp_path):
    if not PHP:
        pytest.skip("php-fpm is not installed (Debian: php-fpm)")
    socket = tmp_path / "fpm.sock"
    conf = tmp_path / "fpm.conf"
    conf.write_text(f"""[global]
error_log = {tmp_path}/fpm.log
daemonize = no
[www]
listen = {socket}
pm = static
pm.max_children = 2
catch_workers_output = no
php_admin_flag[log_errors] = on
php_admin_value[error_log] =
""")
    command = [PHP, "-n", "-y", str(conf), "-F"] + (["-R"] if os.getuid() == 0 else [])
    if os.getuid() == 0:
        conf.write_text(conf.read_text().replace("[www]\n", "[www]\nuser = root\ngroup = root\n"))
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until(socket.exists, "php-fpm")
        yield f"unix:{socket}"
    finally:
        process.terminate()
        process.wait()


def test_php(monoceros, tmp_path, fpm):
    root = tmp_path / "www"
    root.mkdir()
    (root / "index.php").write_text("<?php header('X-A: b'); echo $_SERVER['REQUEST_METHOD'], ' ', $_GET['q'] ?? '-', ' ', $_SERVER['PATH_INFO'] ?? '', ' ', "
                                    "strlen(file_get_contents('php://input'));")
    (root / "error.php").write_text("<?php error_log('from the script'); http_response_code(503); echo 'down';")
    (root / "big.php").write_text("<?php for ($i = 0; $i < 1000; $i++) echo str_repeat('x', 1000);")
    (root / "go.php").write_text("<?php header('Location: /there');")
    (root / "upload.php").write_text("<?php echo $_FILES['f']['name'], ' ', $_FILES['f']['size'];")
    (root / "upload.jpg").write_text("<?php echo 'evil';")
    server = monoceros(config=site(fpm, root))
    with server.connect() as client:
        answer = client.ask("GET", "/?q=hello")
        assert (answer.status, answer.get("X-A"), answer.body) == (200, "b", b"GET hello  0")
        assert client.ask("POST", "/index.php/some/path", body=bytes(200_000)).body == b"POST - /some/path 200000"
        answer = client.ask("GET", "/error.php")
        assert (answer.status, answer.body) == (503, b"down")
        assert client.ask("GET", "/big.php").body == b"x" * 1_000_000
        assert client.ask("HEAD", "/big.php").status == 200
        answer = client.ask("GET", "/go.php")
        assert (answer.status, answer.get("Location")) == (302, "/there")
        form = b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\n" + b"y" * 50_000 + b"\r\n--B--\r\n"
        assert client.ask("POST", "/upload.php", headers=[("Content-Type", "multipart/form-data; boundary=B")], body=form).body == b"a.txt 50000"
        assert client.ask("GET", "/upload.jpg/x.php").status == 404
        assert client.ask("GET", "/none.php").status == 404
    until(lambda: "from the script" in server.log(), "the script's line in the log")
