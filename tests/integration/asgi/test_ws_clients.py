"""Clients that people use: ws of npm, and Chromium over HTTP/1.1 and over HTTP/2."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lib import server as under_test
from lib.browser import CHROMIUM, Browser
from lib.limits import patience, until
from lib.server import APPS
from tls.conftest import pki  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
WS = "ws@8.23.0"
PLACES = [Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "node/node_modules/ws", Path("/usr/share/nodejs/ws")]


@pytest.fixture
def ws_package():
    """Where it is: of the machine, or installed in the build's directory."""
    if not shutil.which("node"):
        pytest.skip("no node")
    found = [place for place in PLACES if place.is_dir()]
    if found:
        return found[0]
    if not shutil.which("npm"):
        pytest.skip("node is here, but neither ws nor npm")
    done = subprocess.run(["npm", "install", "--prefix", PLACES[0].parents[1], "--no-audit", "--no-fund", "--ignore-scripts", WS],
                          capture_output=True, text=True, timeout=patience(100), check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {WS}: {done.stderr.strip().splitlines()[-1:]}")
    return PLACES[0]


@pytest.mark.parametrize("more", [[], ["--websocket-context-takeover"]], ids=["single", "takeover"])
def test_ws_of_npm(monoceros, ws_package, more):
    site = monoceros("sockets:app", "-k", "asgi", *more, cwd=HERE)
    done = subprocess.run(["node", Path(__file__).with_name("ws_client.cjs"), ws_package, site.url.replace("http", "ws")],
                          capture_output=True, text=True, timeout=patience(60), check=False)
    assert done.stdout == "fine\n", done.stdout + done.stderr


PAGE = """window.found = null; (async () => {
  const url = location.origin.replace('http', 'ws'), found = {echoes: []};
  const open = (path, ...more) => new Promise((yes, no) => {
    const ws = new WebSocket(url + path, ...more);
    ws.binaryType = 'arraybuffer';
    ws.onopen = () => yes(ws);
    ws.onerror = () => no('no WebSocket at ' + path);
  });
  const heard = ws => new Promise((yes, no) => { ws.onmessage = event => yes(event.data); ws.onclose = () => no('closed'); });
  const ended = ws => new Promise(yes => { ws.onclose = event => yes([event.code, event.reason, event.wasClean]); });
  const ws = await open('/echo');
  found.extensions = ws.extensions;
  for (const text of ['hello', '', '\\u00e9'.repeat(50000)]) {
    ws.send(text);
    found.echoes.push(await heard(ws) === text);
  }
  const bytes = new Uint8Array(300000).map((_, i) => i * 7 + (i >> 8));
  ws.send(bytes);
  const back = new Uint8Array(await heard(ws));
  found.echoes.push(back.length === bytes.length && back.every((byte, i) => byte === bytes[i]));
  const end = ended(ws);
  ws.close(4001, 'enough');
  found.closed = await end;
  const shown = await open('/show', ['one', 'two']);
  found.protocol = shown.protocol;
  found.scope = JSON.parse(await heard(shown));
  found.shown = await ended(shown);
  found.refused = await open('/refuse').catch(why => why);
  window.found = JSON.stringify(found);
})().catch(error => { window.found = JSON.stringify({error: String(error)}); });"""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_chromium(monoceros, pki, tmp_path, version):  # noqa: F811
    if version == "2" and not {"http2", "tls"} <= set(under_test.modules().split()):
        pytest.skip("built without http2 or tls")
    tls = f""" tls {{ certificate "c" {{ cert = "{pki['ec.pem']}" key = "{pki['ec.key']}" }} }}""" if version == "2" else ""
    site = monoceros(python=True, config=f"""worker_class = asgi
app "it" {{ module = "sockets:app"  chdir = "{HERE}" }}
server "a" {{ listen = "{{address}}{' tls' if tls else ''}"
 {tls}
 route "all" {{ app = it  websocket_context_takeover = {"yes" if tls else "no"} }} }}
""")
    browser = Browser(tmp_path / "profile", "--ignore-certificate-errors")
    try:
        origin = f"https://localhost:{site.address[1]}" if tls else site.url
        browser.open(origin + "/seen")
        until(lambda: browser.value("document.readyState") == "complete" and browser.value("location.origin") == origin, "the page", 30)
        browser.value(PAGE)
        found = json.loads(browser.wait("window.found", "the page to have heard it all", 60))
    finally:
        browser.stop()
    assert "error" not in found, found
    assert found["echoes"] == [True] * 4 and found["extensions"].startswith("permessage-deflate")
    assert found["closed"] == [4001, "", True] and found["shown"] == [3001, "shown é", True]
    assert (found["protocol"], found["scope"]["http_version"], found["scope"]["scheme"]) == ("two", version, "wss" if tls else "ws")
    assert found["refused"] == "no WebSocket at /refuse"
