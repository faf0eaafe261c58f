/* The environ dict: a template a listener and scheme with every key in it, copied for each request; then only what differs is set. With all
 * keys there the copy is CPython's fast one and has room for the header fields. Names are interned, values made from latin-1 (PEP 3333).
 * Also the header policy: names with '_' and what a trusted proxy may say. Worker side, GIL held. */
#include "modules/python/python.h"
#include "core/server/conn.h"
#include "core/server/forwarded.h"
#include "core/server/hop.h"
#include "mc_config.h"

#include <stdlib.h>

enum key {
    REQUEST_METHOD,
    SCRIPT_NAME,
    PATH_INFO,
    QUERY_STRING,
    RAW_URI,
    REQUEST_URI,
    SERVER_PROTOCOL,
    SERVER_NAME,
    SERVER_PORT,
    SERVER_SOFTWARE,
    REMOTE_ADDR,
    REMOTE_PORT,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    HTTP_HOST,
    WSGI_VERSION,
    WSGI_URL_SCHEME,
    WSGI_INPUT,
    WSGI_INPUT_TERMINATED,
    WSGI_ERRORS,
    WSGI_MULTITHREAD,
    WSGI_MULTIPROCESS,
    WSGI_RUN_ONCE,
    WSGI_FILE_WRAPPER,
    WSGI_EARLY_HINTS,
    SEND_TRAILERS,
    WORKER_CLASS,
    KEYS
};

static const char *const key_names[KEYS] = {
    [REQUEST_METHOD] = "REQUEST_METHOD",
    [SCRIPT_NAME] = "SCRIPT_NAME",
    [PATH_INFO] = "PATH_INFO",
    [QUERY_STRING] = "QUERY_STRING",
    [RAW_URI] = "RAW_URI",
    [REQUEST_URI] = "REQUEST_URI",
    [SERVER_PROTOCOL] = "SERVER_PROTOCOL",
    [SERVER_NAME] = "SERVER_NAME",
    [SERVER_PORT] = "SERVER_PORT",
    [SERVER_SOFTWARE] = "SERVER_SOFTWARE",
    [REMOTE_ADDR] = "REMOTE_ADDR",
    [REMOTE_PORT] = "REMOTE_PORT",
    [CONTENT_TYPE] = "CONTENT_TYPE",
    [CONTENT_LENGTH] = "CONTENT_LENGTH",
    [HTTP_HOST] = "HTTP_HOST",
    [WSGI_VERSION] = "wsgi.version",
    [WSGI_URL_SCHEME] = "wsgi.url_scheme",
    [WSGI_INPUT] = "wsgi.input",
    [WSGI_INPUT_TERMINATED] = "wsgi.input_terminated",
    [WSGI_ERRORS] = "wsgi.errors",
    [WSGI_MULTITHREAD] = "wsgi.multithread",
    [WSGI_MULTIPROCESS] = "wsgi.multiprocess",
    [WSGI_RUN_ONCE] = "wsgi.run_once",
    [WSGI_FILE_WRAPPER] = "wsgi.file_wrapper",
    [WSGI_EARLY_HINTS] = "wsgi.early_hints",
    [SEND_TRAILERS] = "gunicorn.http2.send_trailers",
    [WORKER_CLASS] = "monoceros.worker_class",
};

static PyObject *keys[KEYS];
static PyObject *http10, *http2;
static PyObject *new_template(const struct mc_addr *addr, int family, bool https);
static struct mc_templates templates = {.make = new_template};
static bool multithread, multiprocess;
static struct mc_str script_name; /* of the process: the environment variable, without a '/' at its end */
static uint64_t serial;           /* of requests, for struct mc_name.stamp */

/* The last client address, which stands in a template: most requests of a server behind a proxy have the same one. */
static struct {
    char text[46];
    size_t n;
    PyObject *template; /* held, so that no other one has its address; NULL: none */
} client;

/* Ports of clients, whose connections stay for some requests. */
enum { PORTS = 256 };
static struct {
    unsigned number;
    PyObject *str;
} ports[PORTS];

static PyObject *latin1(struct mc_str s)
{
    return PyUnicode_DecodeLatin1(s.p ? s.p : "", (Py_ssize_t)s.n, NULL);
}

static int set(PyObject *env, enum key k, PyObject *value)
{
    return PyDict_SetItem(env, keys[k], value);
}

/* Takes the reference; NULL is an exception of the caller's making. */
static int put(PyObject *env, PyObject *key, PyObject *value)
{
    int rc = value ? PyDict_SetItem(env, key, value) : -1;
    Py_XDECREF(value);
    return rc;
}

/* ---- templates ---- */

int mc_environ_init(struct mc_worker *w)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (!keys[i] && !(keys[i] = PyUnicode_InternFromString(key_names[i])))
            return MC_ERROR;
    }
    if ((!http10 && !(http10 = PyUnicode_InternFromString("HTTP/1.0"))) || (!http2 && !(http2 = PyUnicode_InternFromString("HTTP/2.0"))))
        return MC_ERROR;
    if (mc_environ_tls_init() != MC_OK || mc_template_init(&templates, w) != MC_OK)
        return MC_ERROR;
    multithread = strcmp(w->ops->name, "sync") != 0;
    multiprocess = w->pool->set.workers != 1;
    script_name = mc_str(getenv("SCRIPT_NAME"));
    while (script_name.n && script_name.p[script_name.n - 1] == '/')
        script_name.n--;
    return MC_OK;
}

void mc_environ_fini(void)
{
    mc_template_fini(&templates);
    mc_environ_tls_fini();
    Py_CLEAR(client.template);
    for (size_t i = 0; i < PORTS; i++)
        Py_CLEAR(ports[i].str);
}

/* SERVER_NAME and SERVER_PORT of a TCP listener: where it is really bound. */
static int put_server(PyObject *t, const struct mc_addr *addr)
{
    char text[MC_TEMPLATE_TEXT];
    const char *name, *port;
    if (!mc_template_split(addr, text, &name, &port))
        return put(t, keys[SERVER_NAME], PyUnicode_FromString("localhost")) || put(t, keys[SERVER_PORT], PyUnicode_FromString("80"));
    return put(t, keys[SERVER_NAME], PyUnicode_FromString(name)) || put(t, keys[SERVER_PORT], PyUnicode_FromString(port));
}

static int fill_template(PyObject *t, const struct mc_addr *addr, int family, bool https)
{
    const char *worker = mc_worker_current->pool->set.worker_class;
    PyObject *empty = mc_interp.empty;
    return set(t, REQUEST_METHOD, mc_names_get) || put(t, keys[SCRIPT_NAME], latin1(script_name)) || set(t, PATH_INFO, empty) ||
           set(t, QUERY_STRING, empty) || set(t, RAW_URI, empty) || set(t, REQUEST_URI, empty) ||
           put(t, keys[SERVER_PROTOCOL], PyUnicode_FromString("HTTP/1.1")) || put_server(t, addr) ||
           put(t, keys[SERVER_SOFTWARE], PyUnicode_FromString("monoceros/" MC_VERSION)) || set(t, REMOTE_ADDR, empty) ||
           (family != AF_UNIX && set(t, REMOTE_PORT, empty)) || put(t, keys[WSGI_VERSION], Py_BuildValue("(ii)", 1, 0)) ||
           put(t, keys[WSGI_URL_SCHEME], PyUnicode_FromString(https ? "https" : "http")) || set(t, WSGI_INPUT, mc_input_none()) ||
           set(t, WSGI_INPUT_TERMINATED, Py_True) || set(t, WSGI_ERRORS, mc_errors_get()) ||
           set(t, WSGI_MULTITHREAD, multithread ? Py_True : Py_False) || set(t, WSGI_MULTIPROCESS, multiprocess ? Py_True : Py_False) ||
           set(t, WSGI_RUN_ONCE, Py_False) || set(t, WSGI_FILE_WRAPPER, (PyObject *)mc_interp.wrapper_type) ||
           set(t, WSGI_EARLY_HINTS, Py_None) || put(t, keys[WORKER_CLASS], PyUnicode_FromString(worker));
}

static PyObject *new_template(const struct mc_addr *addr, int family, bool https)
{
    PyObject *t = PyDict_New();
    if (t && fill_template(t, addr, family, https) != 0)
        Py_CLEAR(t);
    return t;
}

/* ---- the request line and the peer ---- */

static int set_method(PyObject *env, struct mc_str method)
{
    PyObject *name = mc_names_method(method);
    if (mc_likely(name == mc_names_get))
        return 0; /* the template has it */
    return name ? set(env, REQUEST_METHOD, name) : put(env, keys[REQUEST_METHOD], latin1(method));
}

/* The mount point goes from the path to SCRIPT_NAME, at a segment's end only. MC_OK or a status. */
static int cut_mount(struct mc_str *path, struct mc_str mount)
{
    if (mount.n == 0)
        return MC_OK;
    if (path->n >= mount.n && memcmp(path->p, mount.p, mount.n) == 0 && (path->n == mount.n || path->p[mount.n] == '/')) {
        path->p += mount.n;
        path->n -= mount.n;
        return MC_OK;
    }
    char text[256];
    size_t n = mc_str_escape(text, sizeof(text), *path);
    mc_error("Request path %.*s does not start with SCRIPT_NAME %.*s", (int)n, text, (int)mount.n, mount.p);
    return 500;
}

static int set_path(PyObject *env, struct mc_request *r, PyObject *raw, struct mc_str mount, int *status)
{
    struct mc_str path = r->uri.path, decoded;
    if (mc_str_eq(path, MC_STR("*")))
        return 0; /* OPTIONS * is about the server: no path, and a PATH_INFO begins with '/' or is empty */
    *status = cut_mount(&path, mount);
    if (*status != MC_OK)
        return -1;
    if (mc_uri_decode(&r->arena, path, &decoded) != MC_OK) {
        *status = 400;
        return -1;
    }
    if (decoded.n == r->head.target.n && decoded.p == r->head.target.p)
        return set(env, PATH_INFO, raw); /* nothing to cut or to decode: one object for all three */
    return put(env, keys[PATH_INFO], latin1(decoded));
}

static int set_target(PyObject *env, struct mc_request *r, struct mc_str mount, int *status)
{
    PyObject *raw = latin1(r->head.target);
    int rc = !raw || set(env, RAW_URI, raw) || set(env, REQUEST_URI, raw) || set_path(env, r, raw, mount, status);
    Py_XDECREF(raw);
    if (!rc && r->uri.query.n)
        rc = put(env, keys[QUERY_STRING], latin1(r->uri.query));
    return rc;
}

/* With proxy_protocol or real_ip_header the client that proxies name; else, as in Gunicorn, whoever has connected. Unix sockets have no address. */
static int set_client(PyObject *template, struct mc_request *r)
{
    struct mc_str text = r->client->family == AF_UNIX ? MC_STR_NONE : mc_request_client(r);
    if (mc_likely(client.template == template && text.n == client.n && memcmp(text.p ? text.p : "", client.text, text.n) == 0))
        return 0;
    MC_ASSERT(text.n <= sizeof(client.text));
    Py_CLEAR(client.template);
    if (put(template, keys[REMOTE_ADDR], latin1(text)) != 0)
        return -1;
    client.template = Py_NewRef(template);
    memcpy(client.text, text.p ? text.p : "", text.n);
    client.n = text.n;
    return 0;
}

static int set_port(PyObject *env, const struct mc_request *r)
{
    if (r->client->family == AF_UNIX)
        return 0;
    unsigned number = mc_sockaddr_port(r->client), i = number / 2 % PORTS; /* Linux gives its clients the even ones first */
    if (!ports[i].str || ports[i].number != number) {
        char text[20];
        PyObject *before = ports[i].str;
        ports[i].str = latin1((struct mc_str){text, mc_str_u64(text, number)});
        ports[i].number = number;
        Py_XDECREF(before);
        if (!ports[i].str)
            return -1;
    }
    return set(env, REMOTE_PORT, ports[i].str);
}

/* A unix socket has no name of its own: Host says what the client meant. */
static int set_host(PyObject *env, const struct mc_request *r)
{
    struct mc_str name = r->head.host, port = r->head.port;
    if (name.n == 0)
        name = MC_STR("localhost");
    if (port.n == 0)
        port = r->https ? MC_STR("443") : MC_STR("80");
    return put(env, keys[SERVER_NAME], latin1(name)) || put(env, keys[SERVER_PORT], latin1(port));
}

/* ---- header fields ---- */

/* Repeated fields are joined (RFC 9110 §5.3; Cookie: RFC 6265 §5.4 needs "; "). */
static int join(PyObject *env, PyObject *key, const struct mc_field *f)
{
    PyObject *old = PyDict_GetItemWithError(env, key); /* borrowed */
    PyObject *value = old || !PyErr_Occurred() ? latin1(f->value) : NULL;
    if (!old || !value)
        return put(env, key, value);
    PyObject *both = PyUnicode_FromFormat(f->id == MC_F_COOKIE ? "%U; %U" : "%U,%U", old, value);
    Py_DECREF(value);
    return put(env, key, both);
}

static bool listed(const struct mc_strv *words, struct mc_str name)
{
    for (size_t i = 0; i < words->n; i++) {
        if (strcmp(words->v[i], "*") == 0 || mc_str_eq_nocase(mc_str(words->v[i]), name))
            return true;
    }
    return false;
}

struct walk {
    PyObject *env;
    struct mc_request *r;
    struct mc_str mount;
    bool careful; /* a name with '_' was let in: it may share its key with one that has '-', so stamps do not tell repeats any more */
};

int mc_environ_admit(struct mc_request *r, const struct mc_field *f, struct mc_str *mount)
{
    const struct mc_values *values = &r->server->set;
    if (listed(&values->forwarder_headers, f->name) && mc_forwarded_trusted(r)) {
        if (mc_str_eq_nocase(f->name, MC_STR("script_name"))) {
            *mount = f->value;
            while (mount->n && mount->p[mount->n - 1] == '/')
                mount->n--;
        }
        return MC_OK;
    }
    if (!values->header_map || strcmp(values->header_map, "drop") == 0)
        return MC_DECLINED;
    return strcmp(values->header_map, "dangerous") == 0 ? MC_OK : 400;
}

static int add_unusual(struct walk *w, const struct mc_field *f, PyObject *known, int *status)
{
    if (memchr(f->name.p, '_', f->name.n)) {
        int rc = mc_environ_admit(w->r, f, &w->mount);
        if (rc != MC_OK) {
            *status = rc > 0 ? rc : MC_OK;
            return rc > 0 ? -1 : 0;
        }
        w->careful = true;
    }
    PyObject *key = known ? Py_NewRef(known) : mc_names_key(&w->r->arena, f->name);
    int rc = key ? join(w->env, key, f) : -1;
    Py_XDECREF(key);
    return rc;
}

static int add_field(struct walk *w, const struct mc_field *f, int *status)
{
    switch (f->id) {
    case MC_F_CONTENT_TYPE:
        return put(w->env, keys[CONTENT_TYPE], latin1(f->value));
    case MC_F_CONTENT_LENGTH:
        return put(w->env, keys[CONTENT_LENGTH], latin1(f->value));
    case MC_F_TRANSFER_ENCODING: /* the body is decoded: CONTENT_LENGTH tells its size */
    case MC_F_PROXY:             /* libraries would take HTTP_PROXY for a setting */
        return 0;
    default:
        break;
    }
    struct mc_name *name = mc_names_find(f->name, f->hash);
    if (mc_unlikely(!name || name->underscore || w->careful || name->stamp == serial))
        return add_unusual(w, f, name ? name->key : NULL, status);
    name->stamp = serial;
    return put(w->env, name->key, latin1(f->value));
}

static int set_fields(struct walk *w, int *status)
{
    const struct mc_fields *fields = &w->r->head.fields;
    serial++;
    for (uint32_t i = 0; i < fields->n; i++) {
        if (add_field(w, &fields->v[i], status) != 0)
            return -1;
    }
    if (w->mount.n != script_name.n || w->mount.p != script_name.p)
        return put(w->env, keys[SCRIPT_NAME], latin1(w->mount));
    return 0;
}

/* RFC 9112 §3.2.2: the host in the target wins over Host; we routed by it, so the app must see the same. */
static int set_authority(PyObject *env, const struct mc_request *r)
{
    return r->uri.authority.p ? put(env, keys[HTTP_HOST], latin1(r->uri.authority)) : 0;
}

/* ---- all of it ---- */

static int set_body(PyObject *env, const struct mc_request *r, PyObject *input)
{
    char text[20];
    if (!input)
        return 0;
    if (r->head.framing == MC_BODY_CHUNKED) {
        size_t n = mc_str_u64(text, (uint64_t)r->body.received);
        if (put(env, keys[CONTENT_LENGTH], latin1((struct mc_str){text, n})) != 0)
            return -1;
    }
    return set(env, WSGI_INPUT, input);
}

static int set_protocol(PyObject *env, const struct mc_request *r, PyObject *trailers)
{
    unsigned version = mc_request_version(r);
    if (mc_likely(version == 11))
        return 0;
    return set(env, SERVER_PROTOCOL, version == 10 ? http10 : http2) || (version == 20 && set(env, SEND_TRAILERS, trailers));
}

PyObject *mc_environ_new(struct mc_request *r, PyObject *input, const struct mc_calls *calls, int *status)
{
    *status = MC_OK;
    PyObject *t = mc_template_find(&templates, r), *env = t && set_client(t, r) == 0 ? PyDict_Copy(t) : NULL;
    struct walk w = {.env = env, .r = r, .mount = script_name};
    if (!env)
        return NULL;
    int rc = set_method(env, r->head.method) || set_port(env, r) || set(env, WSGI_EARLY_HINTS, calls->hints) || set_body(env, r, input) ||
             (r->tls && mc_environ_tls_set(env, r)) || set_protocol(env, r, calls->trailers) || (mc_request_peer(r)->family == AF_UNIX && set_host(env, r)) ||
             set_fields(&w, status) || set_authority(env, r) || set_target(env, r, w.mount, status);
    if (rc != 0)
        Py_CLEAR(env);
    return env;
}
