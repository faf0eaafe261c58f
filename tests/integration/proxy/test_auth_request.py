"""Another server says who may pass."""

from lib.server import free_port
from lib.upstream import Upstream, serving
from lib.wire import request
from proxy_site import site


def judge(peer, head, body):
    assert head.startswith(b"GET /check?for=/") and b"\r\nX-Original-Method: " in head and body == b""
    if b"Cookie: yes" in head:
        peer.reply(b"x" * 100, headers=[("X-User", "joe"), ("X-Role", "admin")])
    elif b"Cookie: big" in head:
        peer.reply(b"x" * 1_000_000, headers=[("X-User", "big")])
    elif b"Cookie: teapot" in head:
        peer.reply(b"", status="418 Teapot")
    elif b"Cookie: no" in head:
        peer.reply(b"their page", status="403 Forbidden")
    else:
        peer.reply(b"", status="401 Unauthorized", headers=[("WWW-Authenticate", 'Bearer realm="x"'), ("Set-Cookie", "a=b"), ("X-Other", "c")])


AUTH = """auth_request {{ to = "{to}"  path = '/check?for=$request_uri'  copy = {{"X-User", "X-Role"}}  user = "X-User" }}"""


def test_who_may_pass(monoceros):
    with Upstream(serving(judge)) as auth, Upstream(serving(lambda peer, head, body: peer.reply(head + body))) as up:
        free = 'route "free" { match { exact = "/free" } auth_request { off = yes } proxy { to = "upstream:u" } }'
        proxy = monoceros(config=site(up.text, server=AUTH.format(to=f"http://{auth.text}"), more=free))
        with proxy.connect() as client:
            answer = client.ask("POST", "/x", headers=[("Cookie", "yes"), ("X-User", "root"), ("x-role", "god"), ("If-None-Match", "*")], body=b"body")
            assert answer.status == 200
            assert answer.body.endswith(b"body") and b"\r\nX-User: joe\r\n" in answer.body and b"\r\nX-Role: admin\r\n" in answer.body
            assert b"root" not in answer.body and b"god" not in answer.body and b"If-None-Match" not in auth.requests[-1]
            answer = client.ask("GET", "/y", headers=[("Cookie", "big"), ("X-Role", "god")])
            assert answer.status == 200 and b"X-User: big" in answer.body and b"god" not in answer.body
            answer = client.ask("GET", "/z")
            assert answer.status == 401 and answer.get("WWW-Authenticate") == 'Bearer realm="x"' and answer.get("Set-Cookie") == "a=b"
            assert answer.get("X-Other") is None
            assert client.ask("GET", "/z", headers=[("Cookie", "no")]).status == 403
            assert client.ask("GET", "/z", headers=[("Cookie", "teapot")]).status == 500
            assert client.ask("GET", "/free", headers=[("X-User", "anybody")]).status == 200
        assert len(up.requests) == 3
        proxy.wait_log("says 418, which is neither yes nor no")


def test_nobody_to_ask(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"secret"))) as up:
        proxy = monoceros(config=site(up.text, server=AUTH.format(to=f"127.0.0.1:{free_port()}")))
        assert proxy.ask("GET", "/").status == 500
        assert not up.requests
        proxy.wait_log("cannot connect: Connection refused")


def test_a_client_that_leaves_while_it_is_asked(monoceros):
    from lib.limits import until

    def silent(peer):
        peer.request()
        peer.wait_end()

    with Upstream(silent) as auth, Upstream(serving(lambda peer, head, body: peer.reply(b"secret"))) as up:
        proxy = monoceros(config=site(up.text, server=AUTH.format(to=auth.text)))
        client = proxy.connect()
        client.send(request("GET", "/"))
        auth.wait_requests(1)
        client.close()
        until(lambda: auth.ended == [1], "the end at the server that was asked")
        assert not up.requests


def test_static_answers_are_guarded_too(monoceros):
    with Upstream(serving(judge)) as auth:
        fixed = 'route "fixed" { match { prefix = "/fixed" } respond { body = "secret" } }'
        proxy = monoceros(config=site("127.0.0.1:1", server=AUTH.format(to=auth.text), more=fixed))
        assert proxy.ask("GET", "/fixed").status == 401
        assert proxy.ask("GET", "/fixed", headers=[("Cookie", "yes")]).body == b"secret"
