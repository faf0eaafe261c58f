"""OCSP responses that go with certificates: from a file, and fetched from a responder."""

import subprocess

import pytest

from lib import server as under_test
from lib.server import until
from tls.test_tls import HELLO


@pytest.fixture(scope="module")
def stapled(pki):
    """st.pem with its issuer behind it, and the CA's books, which know it as good and bad.pem as revoked."""
    pki.make("st", ["localhost"]).make("bad", ["localhost"])
    index = ""
    for name, state in (("st", "V\t401231000000Z\t"), ("bad", "R\t401231000000Z\t250101000000Z")):
        serial = subprocess.run(["openssl", "x509", "-in", pki[name + ".pem"], "-noout", "-serial"], capture_output=True, text=True, check=True)
        index += f"{state}\t{serial.stdout.strip().partition('=')[2]}\tunknown\t/CN={name}\n"
        with open(pki[name + "-chain.pem"], "w", encoding="ascii") as chain:
            for part in (name, "ca"):
                with open(pki[part + ".pem"], encoding="ascii") as source:
                    chain.write(source.read())
    (pki.dir / "ocsp.txt").write_text(index)
    return pki


@pytest.fixture
def responder(stapled):
    """The port of an OCSP responder of the CA."""
    port = under_test.free_port()
    process = subprocess.Popen(["openssl", "ocsp", "-index", "ocsp.txt", "-port", str(port), "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem",
                                "-ndays", "1"], cwd=stapled.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield port
    process.kill()
    process.wait()


def status(site, pki):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{site.address[1]}", "-servername", "localhost", "-status", "-CAfile", pki["ca.pem"]],
                          input="", capture_output=True, text=True, timeout=30, check=False)
    return "good" if "Cert Status: good" in done.stdout else "none" if "no response sent" in done.stdout else done.stdout


def config(pki, name, more="", inner=""):
    return (f'worker_class = {{worker}}\nworkers = 2\nserver "a" {{ listen = "{{address}} tls"\n tls {{ {more} certificate "x" '
            f'{{ cert = "{pki[name + "-chain.pem"]}" key = "{pki[name + ".key"]}" {inner} }} }}\n {HELLO} }}\n')


def test_a_response_from_a_file(monoceros, stapled):
    subprocess.run(["openssl", "ocsp", "-index", "ocsp.txt", "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem", "-issuer", "ca.pem", "-cert", "st.pem",
                    "-reqout", "st.req"], cwd=stapled.dir, check=False, capture_output=True)
    subprocess.run(["openssl", "ocsp", "-index", "ocsp.txt", "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem", "-reqin", "st.req", "-respout", "st.der",
                    "-ndays", "1"], cwd=stapled.dir, check=True, capture_output=True)
    site = monoceros(config=config(stapled, "st", inner=f'ocsp_response = "{stapled["st.der"]}"'))
    assert status(site, stapled) == "good"
    assert status(monoceros(config=config(stapled, "st")), stapled) == "none"


def test_a_response_is_fetched(monoceros, stapled, responder):
    site = monoceros(config=config(stapled, "st", f'stapling = yes stapling_responder = "http://127.0.0.1:{responder}/"'))
    until(lambda: all(status(site, stapled) == "good" for _ in range(4)), "a fetched response in every worker")


def test_only_good_ones_are_passed_on(monoceros, stapled, responder):
    site = monoceros(config=config(stapled, "bad", f'stapling = yes stapling_responder = "http://127.0.0.1:{responder}/"'))
    site.wait_log("no OCSP response from http://127.0.0.1:.*: revoked")
    assert status(site, stapled) == "none"


def test_a_silent_responder_holds_nobody_up(monoceros, stapled):
    site = monoceros(config=config(stapled, "st", f'stapling = yes stapling_responder = "http://127.0.0.1:{under_test.free_port()}/"'))
    site.wait_log("no OCSP response from")
    assert status(site, stapled) == "none"
    site.wait_workers(2)


def test_responses_are_checked_at_the_start(stapled, tmp_path):
    path = tmp_path / "t.conf"
    path.write_text(config(stapled, "st", inner=f'ocsp_response = "{stapled["st.key"]}"').replace("worker_class = {worker}\n", "").replace(
        "{address}", "127.0.0.1:1"))
    done = under_test.run("-c", path, "--check-config")
    assert done.returncode == 1 and "there is no OCSP response (DER, successful) in" in done.stderr
