/* The scope of an ASGI request: a template a listener and scheme, copied for each request; then what differs is set, and the header fields, under the same
 * policy as WSGI's (mc_environ_admit). Names are made once (names.c). Worker side, GIL held. */
#include "modules/python/asgi.h"
#include "core/http/hop_field.h"
#include "core/server/conn.h"
#include "core/server/hop.h"
#include "core/server/tls.h"

#include <stdlib.h>

enum key {
    TYPE,
    ASGI,
    HTTP_VERSION,
    METHOD,
    SCHEME,
    PATH,
    RAW_PATH,
    QUERY_STRING,
    ROOT_PATH,
    HEADERS,
    CLIENT,
    SERVER,
    STATE,
    EXTENSIONS,
    SUBPROTOCOLS,
    KEYS
};

static const char *const key_names[KEYS] = {
    [TYPE] = "type",
    [ASGI] = "asgi",
    [HTTP_VERSION] = "http_version",
    [METHOD] = "method",
    [SCHEME] = "scheme",
    [PATH] = "path",
    [RAW_PATH] = "raw_path",
    [QUERY_STRING] = "query_string",
    [ROOT_PATH] = "root_path",
    [HEADERS] = "headers",
    [CLIENT] = "client",
    [SERVER] = "server",
    [STATE] = "state",
    [EXTENSIONS] = "extensions",
    [SUBPROTOCOLS] = "subprotocols",
};

static const char *const extension_names[] = {"http.response.pathsend", "http.response.zerocopysend", "http.response.early_hint"};

static PyObject *keys[KEYS], *no_bytes, *trailers_name, *tls_name;
static PyObject *asgi, *extensions, *ws_extensions; /* dicts, copied for each request */
static PyObject *websocket_name, *ws_name, *wss_name;
static PyObject *http10, *http11, *http2;
static PyObject *new_template(const struct mc_addr *addr, int family, bool https);
static struct mc_templates templates = {.make = new_template};
/* Of the last request: many come on one connection. */
static struct {
    char text[46];
    size_t n;
    unsigned port;
    PyObject *pair;
} client;

/* Takes the reference; NULL is an exception of the caller's making. */
static int put(PyObject *dict, enum key k, PyObject *value)
{
    int rc = value ? PyDict_SetItem(dict, keys[k], value) : -1;
    Py_XDECREF(value);
    return rc;
}

static PyObject *bytes(struct mc_str s)
{
    return s.n ? PyBytes_FromStringAndSize(s.p, (Py_ssize_t)s.n) : Py_NewRef(no_bytes);
}

/* ---- templates ---- */

int mc_scope_init(const struct mc_worker *w)
{
    if (mc_template_init(&templates, w) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < KEYS; i++) {
        if (!keys[i] && !(keys[i] = PyUnicode_InternFromString(key_names[i])))
            return MC_ERROR;
    }
    no_bytes = PyBytes_FromStringAndSize(NULL, 0);
    http10 = PyUnicode_InternFromString("1.0");
    http11 = PyUnicode_InternFromString("1.1");
    http2 = PyUnicode_InternFromString("2");
    trailers_name = PyUnicode_InternFromString("http.response.trailers");
    tls_name = PyUnicode_InternFromString("tls");
    asgi = Py_BuildValue("{s:s,s:s}", "version", "3.0", "spec_version", "2.5");
    websocket_name = PyUnicode_InternFromString("websocket");
    ws_name = PyUnicode_InternFromString("ws");
    wss_name = PyUnicode_InternFromString("wss");
    ws_extensions = Py_BuildValue("{s:{}}", "websocket.http.response");
    extensions = PyDict_New();
    for (size_t i = 0; extensions && i < MC_COUNT(extension_names); i++) {
        PyObject *nothing = PyDict_New();
        if (!nothing || PyDict_SetItemString(extensions, extension_names[i], nothing) < 0)
            Py_CLEAR(extensions);
        Py_XDECREF(nothing);
    }
    return PyErr_Occurred() ? MC_ERROR : MC_OK;
}

void mc_scope_fini(void)
{
    mc_template_fini(&templates);
    Py_CLEAR(asgi);
    Py_CLEAR(extensions);
    Py_CLEAR(ws_extensions);
    Py_CLEAR(client.pair);
}

/* (host, port) of a TCP listener, as it is really bound; (path, None) of a unix socket. */
static PyObject *server_of(const struct mc_addr *addr)
{
    char text[MC_TEMPLATE_TEXT];
    const char *name, *port;
    if (mc_template_split(addr, text, &name, &port))
        return Py_BuildValue("(si)", name, atoi(port));
    if (addr->family != AF_UNIX)
        return Py_NewRef(Py_None);
    return Py_BuildValue("(sO)", strncmp(text, "unix:", 5) == 0 ? text + 5 : text, Py_None);
}

static PyObject *new_template(const struct mc_addr *addr, int family, bool https)
{
    (void)family;
    PyObject *t = PyDict_New(), *empty = mc_interp.empty;
    if (t && (put(t, TYPE, PyUnicode_InternFromString("http")) || PyDict_SetItem(t, keys[ASGI], Py_None) || PyDict_SetItem(t, keys[HTTP_VERSION], http11) ||
              PyDict_SetItem(t, keys[METHOD], mc_names_get) || put(t, SCHEME, PyUnicode_InternFromString(https ? "https" : "http")) ||
              PyDict_SetItem(t, keys[PATH], empty) || PyDict_SetItem(t, keys[RAW_PATH], no_bytes) || PyDict_SetItem(t, keys[QUERY_STRING], no_bytes) ||
              PyDict_SetItem(t, keys[ROOT_PATH], empty) || PyDict_SetItem(t, keys[HEADERS], Py_None) || PyDict_SetItem(t, keys[CLIENT], Py_None) ||
              put(t, SERVER, server_of(addr)) || PyDict_SetItem(t, keys[STATE], Py_None) || PyDict_SetItem(t, keys[EXTENSIONS], Py_None)) != 0)
        Py_CLEAR(t);
    return t;
}

/* ---- the request line and the peer ---- */

static int set_method(PyObject *scope, struct mc_str method)
{
    PyObject *name = mc_names_method(method);
    if (mc_likely(name == mc_names_get))
        return 0; /* the template has it */
    return name ? PyDict_SetItem(scope, keys[METHOD], name) : put(scope, METHOD, PyUnicode_DecodeLatin1(method.p, (Py_ssize_t)method.n, NULL));
}

static PyObject *utf8(struct mc_str s)
{
    return PyUnicode_DecodeUTF8(s.p, (Py_ssize_t)s.n, "replace");
}

static bool below(struct mc_str path, struct mc_str mount)
{
    return path.n >= mount.n && memcmp(path.p, mount.p, mount.n) == 0 && (path.n == mount.n || path.p[mount.n] == '/');
}

/* The path holds the mount point: a proxy that names it in SCRIPT_NAME leaves it there, one that root_path is set for has cut it off. */
static int set_path(PyObject *scope, struct mc_request *r, struct mc_str mount, PyObject **raw, int *status)
{
    const char *root = r->route->app->set.root_path;
    struct mc_str path = r->uri.path, decoded;
    if (mount.n && !below(path, mount)) {
        mc_error("A request's path does not start with its SCRIPT_NAME");
        *status = 500;
        return -1;
    }
    if (!mount.n && root && *root && !mc_str_eq(path, MC_STR("*"))) {
        char *whole = mc_arena_printf(&r->arena, "%s%.*s", root, (int)path.n, path.p);
        if (!whole) {
            PyErr_NoMemory();
            return -1;
        }
        path = mc_str(whole);
        mount = mc_str(root);
    }
    if (mc_uri_decode(&r->arena, path, &decoded) != MC_OK) {
        *status = 400;
        return -1;
    }
    *raw = bytes(path);
    if (!*raw || PyDict_SetItem(scope, keys[RAW_PATH], *raw) < 0 || put(scope, PATH, utf8(decoded)) < 0)
        return -1;
    return mount.n ? put(scope, ROOT_PATH, utf8(mount)) : 0;
}

/* With proxy_protocol or real_ip_header the client that proxies name; else whoever has connected. A unix socket has no address. */
static int set_client(PyObject *scope, struct mc_request *r)
{
    if (r->client->family == AF_UNIX)
        return 0;
    struct mc_str text = mc_request_client(r);
    unsigned port = mc_sockaddr_port(r->client);
    if (!client.pair || text.n != client.n || port != client.port || memcmp(text.p, client.text, text.n) != 0) {
        MC_ASSERT(text.n <= sizeof(client.text));
        PyObject *pair = Py_BuildValue("(NI)", PyUnicode_DecodeLatin1(text.p, (Py_ssize_t)text.n, NULL), port);
        if (!pair)
            return -1;
        Py_XDECREF(client.pair);
        client.pair = pair;
        memcpy(client.text, text.p, text.n);
        client.n = text.n;
        client.port = port;
    }
    return PyDict_SetItem(scope, keys[CLIENT], client.pair);
}

/* ---- header fields ---- */

struct walk {
    struct mc_request *r;
    PyObject *list;
    struct mc_str mount;
    bool trailers; /* TE: trailers */
};

static bool has_token(struct mc_str list, struct mc_str word)
{
    struct mc_str token;
    while (mc_str_next_token(&list, &token)) {
        if (mc_str_eq_nocase(token, word))
            return true;
    }
    return false;
}

static int add(PyObject *list, PyObject *name, struct mc_str value)
{
    PyObject *text = name ? bytes(value) : NULL, *pair = text ? PyTuple_New(2) : NULL;
    if (!pair) {
        Py_XDECREF(name);
        Py_XDECREF(text);
        return -1;
    }
    PyTuple_SetItem(pair, 0, name);
    PyTuple_SetItem(pair, 1, text);
    int rc = PyList_Append(list, pair);
    Py_DECREF(pair);
    return rc;
}

static int add_field(struct walk *w, const struct mc_field *f, int *status)
{
    struct mc_str value = f->value;
    if (f->id == MC_F_PROXY) /* libraries would take HTTP_PROXY for a setting */
        return 0;
    if (f->id == MC_F_HOST && w->r->uri.authority.p) /* RFC 9112 §3.2.2: we routed by it */
        value = w->r->uri.authority;
    w->trailers |= f->id == MC_F_TE && has_token(value, MC_STR("trailers"));
    const struct mc_name *name = mc_names_find(f->name, f->hash);
    if (mc_unlikely(name ? name->underscore : memchr(f->name.p, '_', f->name.n) != NULL)) {
        int rc = mc_environ_admit(w->r, f, &w->mount);
        if (rc != MC_OK) {
            *status = rc > 0 ? rc : MC_OK;
            return rc > 0 ? -1 : 0;
        }
    }
    return add(w->list, name ? Py_NewRef(name->lower) : mc_names_lower(f->name), value);
}

static int set_fields(PyObject *scope, struct walk *w, int *status)
{
    const struct mc_fields *fields = &w->r->head.fields;
    w->list = PyList_New(0);
    int rc = w->list ? 0 : -1;
    for (uint32_t i = 0; i < fields->n && rc == 0; i++)
        rc = add_field(w, &fields->v[i], status);
    rc = rc ? rc : PyDict_SetItem(scope, keys[HEADERS], w->list);
    Py_XDECREF(w->list);
    return rc;
}

/* ---- extensions ---- */

/* As in the registry of IANA; 0: a suite that it does not have. */
static int suite_number(struct mc_str name)
{
    static const struct {
        const char *name;
        int number;
    } suites[] = {
        {"TLS_AES_128_GCM_SHA256", 0x1301}, {"TLS_AES_256_GCM_SHA384", 0x1302}, {"TLS_CHACHA20_POLY1305_SHA256", 0x1303},
        {"TLS_AES_128_CCM_SHA256", 0x1304}, {"TLS_AES_128_CCM_8_SHA256", 0x1305},
        {"ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b}, {"ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c},
        {"ECDHE-RSA-AES128-GCM-SHA256", 0xc02f}, {"ECDHE-RSA-AES256-GCM-SHA384", 0xc030},
        {"ECDHE-RSA-CHACHA20-POLY1305", 0xcca8}, {"ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9}, {"DHE-RSA-CHACHA20-POLY1305", 0xccaa},
        {"DHE-RSA-AES128-GCM-SHA256", 0x009e}, {"DHE-RSA-AES256-GCM-SHA384", 0x009f},
    };
    for (size_t i = 0; i < MC_COUNT(suites); i++) {
        if (mc_str_eq(name, mc_str(suites[i].name)))
            return suites[i].number;
    }
    return 0;
}

static PyObject *text_or_none(struct mc_str s)
{
    return s.n ? PyUnicode_DecodeLatin1(s.p, (Py_ssize_t)s.n, NULL) : Py_NewRef(Py_None);
}

static PyObject *number_or_none(int n)
{
    return n ? PyLong_FromLong(n) : Py_NewRef(Py_None);
}

/* The server's own certificate is not known to workers that are asked over a hop, so it is left out for all. */
static PyObject *tls_of(const struct mc_tls_info *t)
{
    const struct mc_tls_peer *p = t->peer;
    struct mc_str none = MC_STR_NONE, verify = p ? p->verify : none;
    int version = mc_str_eq(t->version, MC_STR("TLSv1.3")) ? 0x0304 : mc_str_eq(t->version, MC_STR("TLSv1.2")) ? 0x0303 : 0;
    if (verify.n >= 7 && memcmp(verify.p, "FAILED:", 7) == 0)
        verify = (struct mc_str){verify.p + 7, verify.n - 7};
    else
        verify = none;
    PyObject *pem = p ? text_or_none(p->pem) : NULL, *chain = PyList_New(0);
    if (pem && pem != Py_None && chain && PyList_Append(chain, pem) < 0)
        Py_CLEAR(chain);
    Py_XDECREF(pem);
    return chain ? Py_BuildValue("{s:O,s:N,s:N,s:N,s:N,s:N}", "server_cert", Py_None, "client_cert_chain", chain, "client_cert_name",
                                 text_or_none(p ? p->subject : none), "client_cert_error", text_or_none(verify), "tls_version", number_or_none(version),
                                 "cipher_suite", number_or_none(suite_number(t->cipher)))
                 : NULL;
}

static int set_extensions(PyObject *scope, const struct mc_request *r, PyObject *base, bool trailers)
{
    PyObject *all = PyDict_Copy(base), *nothing = NULL, *tls = NULL;
    const struct mc_tls_info *info = r->tls ? mc_tls_of(r) : NULL;
    int rc = all ? 0 : -1;
    if (trailers && mc_request_version(r) >= 11)
        rc = rc || !(nothing = PyDict_New()) || PyDict_SetItem(all, trailers_name, nothing) < 0;
    if (info)
        rc = rc || !(tls = tls_of(info)) || PyDict_SetItem(all, tls_name, tls) < 0;
    rc = rc || PyDict_SetItem(scope, keys[EXTENSIONS], all) < 0;
    Py_XDECREF(tls);
    Py_XDECREF(nothing);
    Py_XDECREF(all);
    return rc ? -1 : 0;
}

/* ---- all of it ---- */

/* What makes a WebSocket's of it. */
static int set_websocket(PyObject *scope, const struct mc_request *r)
{
    const struct mc_fields *f = &r->head.fields;
    PyObject *list = PyList_New(0);
    int bad = !list;
    for (uint32_t i = 0; i < f->n && !bad; i++) {
        struct mc_str rest = f->v[i].value, token;
        while (!bad && mc_str_eq_nocase(f->v[i].name, MC_STR("sec-websocket-protocol")) && mc_str_next_token(&rest, &token)) {
            PyObject *word = PyUnicode_DecodeLatin1(token.p, (Py_ssize_t)token.n, NULL);
            bad = !word || PyList_Append(list, word) < 0;
            Py_XDECREF(word);
        }
    }
    bad = bad || PyDict_SetItem(scope, keys[TYPE], websocket_name) < 0 || PyDict_SetItem(scope, keys[SCHEME], r->https ? wss_name : ws_name) < 0 ||
          PyDict_DelItem(scope, keys[METHOD]) < 0 || PyDict_SetItem(scope, keys[SUBPROTOCOLS], list) < 0;
    Py_XDECREF(list);
    return bad ? -1 : 0;
}

static int set_version(PyObject *scope, const struct mc_request *r)
{
    unsigned version = mc_request_version(r);
    return mc_likely(version == 11) ? 0 : PyDict_SetItem(scope, keys[HTTP_VERSION], version == 10 ? http10 : http2);
}

PyObject *mc_scope_new(struct mc_request *r, const struct mc_asgi_app *app, bool websocket, PyObject **raw, int *status)
{
    *status = MC_OK;
    *raw = NULL;
    PyObject *t = mc_template_find(&templates, r), *scope = t ? PyDict_Copy(t) : NULL;
    struct walk w = {.r = r};
    if (!scope)
        return NULL;
    int rc = put(scope, ASGI, PyDict_Copy(asgi)) || set_method(scope, r->head.method) || set_client(scope, r) ||
             set_version(scope, r) ||
             (r->uri.query.n && put(scope, QUERY_STRING, bytes(r->uri.query))) || put(scope, STATE, PyDict_Copy(app->state)) ||
             set_fields(scope, &w, status) || set_path(scope, r, w.mount, raw, status) || set_extensions(scope, r, websocket ? ws_extensions : extensions, w.trailers && !websocket) ||
             (websocket && set_websocket(scope, r));
    if (rc != 0) {
        Py_CLEAR(scope);
        Py_CLEAR(*raw);
    }
    return scope;
}
