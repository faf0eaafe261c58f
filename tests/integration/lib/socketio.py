"""A client of Socket.IO (Engine.IO 4) as far as the tests need one: by polling, by a WebSocket from the start, and from one to the other."""

import json

from lib.limits import until
from lib.websocket import CLOSE, TEXT, WebSocket, close, frame

PATH = "/socket.io/?EIO=4&transport="


def post(site, sid, *packets):
    answer = site.ask("POST", f"{PATH}polling&sid={sid}", body="\x1e".join(packets).encode())
    assert (answer.status, answer.text) == (200, "OK"), answer


def poll(site, sid, count):
    """So many packets, pings apart."""
    found = []
    while len(found) < count:
        answer = site.ask("GET", f"{PATH}polling&sid={sid}")
        assert answer.status == 200, answer
        found += [packet for packet in answer.text.split("\x1e") if packet not in ("2", "6")]
    return found


def packets(ws, count):
    """The same from a WebSocket."""
    found = []
    while len(found) < count:
        op, data = ws.frame()
        assert op == TEXT, (op, data)
        if data == b"2":
            ws.send(frame(TEXT, "3"))
        elif data != b"6":
            found.append(data.decode())
    return found


def greeting(texts):
    texts = sorted(texts)       # what the app says on connect may come first
    assert texts[0].startswith('40{"sid":') and json.loads(texts[1][2:]) == ["hello", {"from": "the server"}], texts


def leave(ws):
    ws.send(close(1000))
    until(lambda: (got := ws.frame()) is None or got[0] == CLOSE, "its close")


def talk(site):
    """One client polls, another one has a WebSocket; what one says, both hear."""
    opened = site.ask("GET", f"{PATH}polling")
    assert opened.status == 200 and opened.text.startswith("0{"), opened
    sid = json.loads(opened.text[1:])["sid"]
    post(site, sid, "40")
    greeting(poll(site, sid, 2))
    with WebSocket(site.address, f"{PATH}websocket") as ws:
        assert packets(ws, 1)[0].startswith("0{")
        ws.send(frame(TEXT, "40"))
        greeting(packets(ws, 2))
        ws.send(frame(TEXT, '421["echo",{"x":[1,2]}]'))
        assert packets(ws, 1) == ['431[{"x":[1,2]}]']
        ws.send(frame(TEXT, '42["tell","all"]'))
        assert packets(ws, 1) == poll(site, sid, 1) == ['42["told","all"]']
        leave(ws)


def upgrade(site):
    """Polling first, as browsers do it."""
    sid = json.loads(site.ask("GET", f"{PATH}polling").text[1:])["sid"]
    post(site, sid, "40")
    greeting(poll(site, sid, 2))
    with WebSocket(site.address, f"{PATH}websocket&sid={sid}") as ws:
        ws.send(frame(TEXT, "2probe"))
        assert packets(ws, 1) == ["3probe"]
        ws.send(frame(TEXT, "5"))
        ws.send(frame(TEXT, '42["tell","é"]'))
        assert json.loads(packets(ws, 1)[0][2:]) == ["told", "é"]
        leave(ws)
