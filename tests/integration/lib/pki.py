"""A small PKI for the tests of TLS, made by the openssl command."""

import subprocess


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, check=True, capture_output=True, timeout=60)


class Pki:
    """Certificates of one CA below a directory: make("x", names=[...]) leaves x.pem and x.key there."""

    def __init__(self, directory):
        self.dir = directory
        self.serial = 100
        self.ca("ca")

    def __getitem__(self, name):
        return str(self.dir / name)

    def ca(self, name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", name + ".key",
                "-out", name + ".pem", "-subj", f"/CN=Test {name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=self.dir)

    def make(self, name, names=("localhost",), kind="ec", ca="ca", subject=None, extra=""):
        key = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        self.serial += 1
        openssl("req", *key, "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", subject or f"/CN={name}", cwd=self.dir)
        (self.dir / (name + ".ext")).write_text("subjectAltName=" + ",".join(
            ("IP:" if n[0].isdigit() else "DNS:") + n for n in names) + "\n" + extra)
        openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-set_serial", self.serial, "-days", "2",
                "-extfile", name + ".ext", "-out", name + ".pem", cwd=self.dir)
        (self.dir / (name + ".key")).chmod(0o600)
        return self

    def crl(self, name, *revoked, ca="ca"):
        """A revocation list of the CA."""
        (self.dir / "index.txt").write_text("")
        (self.dir / "crl.cnf").write_text("[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=2\n")
        for one in revoked:
            openssl("ca", "-config", "crl.cnf", "-cert", ca + ".pem", "-keyfile", ca + ".key", "-revoke", one + ".pem", cwd=self.dir)
        openssl("ca", "-config", "crl.cnf", "-cert", ca + ".pem", "-keyfile", ca + ".key", "-gencrl", "-out", name, cwd=self.dir)
