/* What an environ holds more when the client speaks TLS: the names of Apache's mod_ssl, which frameworks know. No header can make such a key.
 * Strings of the last connection are kept, because most requests have the same ones. Worker side, GIL held. */
#include "modules/python/python.h"
#include "core/server/tls.h"

enum key { HTTPS, PROTOCOL, CIPHER, SNI, VERIFY, SUBJECT, ISSUER, SERIAL, FINGERPRINT, NOT_BEFORE, NOT_AFTER, CERT, KEYS };

static const char *const key_names[KEYS] = {
    [HTTPS] = "HTTPS",
    [PROTOCOL] = "SSL_PROTOCOL",
    [CIPHER] = "SSL_CIPHER",
    [SNI] = "SSL_TLS_SNI",
    [VERIFY] = "SSL_CLIENT_VERIFY",
    [SUBJECT] = "SSL_CLIENT_S_DN",
    [ISSUER] = "SSL_CLIENT_I_DN",
    [SERIAL] = "SSL_CLIENT_M_SERIAL",
    [FINGERPRINT] = "SSL_CLIENT_FINGERPRINT",
    [NOT_BEFORE] = "SSL_CLIENT_V_START",
    [NOT_AFTER] = "SSL_CLIENT_V_END",
    [CERT] = "SSL_CLIENT_CERT",
};

static PyObject *keys[KEYS], *on;
static struct {
    const char *text; /* OpenSSL's own: the pointer tells them apart */
    PyObject *str;
} last[CIPHER + 1];

int mc_environ_tls_init(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (!keys[i] && !(keys[i] = PyUnicode_InternFromString(key_names[i])))
            return MC_ERROR;
    }
    return on || (on = PyUnicode_InternFromString("on")) ? MC_OK : MC_ERROR;
}

void mc_environ_tls_fini(void)
{
    for (size_t i = 0; i < MC_COUNT(last); i++) {
        Py_CLEAR(last[i].str);
        last[i].text = NULL;
    }
}

static int put(PyObject *env, enum key k, struct mc_str value)
{
    PyObject *str = value.n ? PyUnicode_DecodeLatin1(value.p, (Py_ssize_t)value.n, NULL) : NULL;
    if (!str)
        return value.n ? -1 : 0;
    int rc = PyDict_SetItem(env, keys[k], str);
    Py_DECREF(str);
    return rc;
}

static int put_kept(PyObject *env, enum key k, struct mc_str value)
{
    if (last[k].text != value.p) {
        PyObject *str = PyUnicode_DecodeLatin1(value.p, (Py_ssize_t)value.n, NULL);
        if (!str)
            return -1;
        Py_XDECREF(last[k].str);
        last[k].str = str;
        last[k].text = value.p;
    }
    return PyDict_SetItem(env, keys[k], last[k].str);
}

static int put_peer(PyObject *env, const struct mc_tls_peer *p)
{
    return put(env, VERIFY, p->verify) || put(env, SUBJECT, p->subject) || put(env, ISSUER, p->issuer) || put(env, SERIAL, p->serial) ||
           put(env, FINGERPRINT, p->fingerprint) || put(env, NOT_BEFORE, p->not_before) || put(env, NOT_AFTER, p->not_after) ||
           put(env, CERT, p->pem);
}

int mc_environ_tls_set(PyObject *env, const struct mc_request *r)
{
    const struct mc_tls_info *t = mc_tls_of(r);
    if (!t)
        return 0;
    int (*put_ssl)(PyObject *, enum key, struct mc_str) = r->hop ? put : put_kept; /* what another worker says is in the request's own memory */
    if (PyDict_SetItem(env, keys[HTTPS], on) != 0 || put_ssl(env, PROTOCOL, t->version) != 0 || put_ssl(env, CIPHER, t->cipher) != 0 ||
        put(env, SNI, t->server_name) != 0)
        return -1;
    if (t->peer)
        return put_peer(env, t->peer);
    return t->server && t->server->client_policy ? put(env, VERIFY, MC_STR("NONE")) : 0;
}
