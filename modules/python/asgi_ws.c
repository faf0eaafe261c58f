/* WebSockets of ASGI apps: their events and messages over core/server/websocket.h. Closing by the client, by the app, or by nobody ends in the same
 * websocket.disconnect. Worker side, GIL held. */
#include "modules/python/asgi.h"
#include "core/http/fields.h"

static PyObject *type_name, *receive_name, *text_name, *bytes_name, *code_name, *reason_name, *subprotocol_name, *headers_name;
static PyObject *connect_event;

int mc_asgi_ws_init(void)
{
    type_name = PyUnicode_InternFromString("type");
    receive_name = PyUnicode_InternFromString("websocket.receive");
    text_name = PyUnicode_InternFromString("text");
    bytes_name = PyUnicode_InternFromString("bytes");
    code_name = PyUnicode_InternFromString("code");
    reason_name = PyUnicode_InternFromString("reason");
    subprotocol_name = PyUnicode_InternFromString("subprotocol");
    headers_name = PyUnicode_InternFromString("headers");
    connect_event = Py_BuildValue("{s:s}", "type", "websocket.connect");
    return PyErr_Occurred() ? MC_ERROR : MC_OK;
}

/* ---- receive ---- */

static PyObject *disconnect(struct mc_exchange *x)
{
    mc_asgi_ws_note(x);
    PyObject *reason = x->reason ? Py_NewRef(x->reason) : PyUnicode_FromString("");
    return reason ? Py_BuildValue("{s:s,s:I,s:N}", "type", "websocket.disconnect", "code", x->code ? x->code : MC_WS_ABNORMAL, "reason", reason) : NULL;
}

static PyObject *message_event(const struct mc_ws_message *m)
{
    PyObject *event = PyDict_New(), *data = NULL;
    if (event)
        data = m->text ? PyUnicode_DecodeUTF8(m->n ? m->p : "", (Py_ssize_t)m->n, NULL) : PyBytes_FromStringAndSize(m->p, (Py_ssize_t)m->n);
    if (!data || PyDict_SetItem(event, type_name, receive_name) < 0 || PyDict_SetItem(event, m->text ? text_name : bytes_name, data) < 0)
        Py_CLEAR(event);
    Py_XDECREF(data);
    return event;
}

PyObject *mc_asgi_ws_event(struct mc_exchange *x)
{
    struct mc_ws_message m;
    if (!x->taken) {
        x->taken = true;
        return PyDict_Copy(connect_event);
    }
    if (!x->r || (!x->ws && x->next == MC_ASGI_OVER))
        return disconnect(x);
    if (!x->ws)
        return NULL;
    struct mc_request *r = x->r;
    int rc = mc_ws_next(x->ws, &m);
    PyObject *event = rc == MC_OK ? message_event(&m) : rc == MC_DECLINED ? disconnect(x) : NULL;
    mc_asgi_touch(r);
    return event;
}

void mc_asgi_ws_note(struct mc_exchange *x)
{
    struct mc_str reason = MC_STR_NONE;
    if (!x->ws || x->code)
        return;
    x->code = mc_ws_ended(x->ws, &reason);
    if (x->code && reason.n) {
        x->reason = PyUnicode_DecodeUTF8(reason.p, (Py_ssize_t)reason.n, "replace");
        PyErr_Clear();
    }
}

/* ---- send ---- */

/* Borrowed; NULL for what is not there, and for None. */
static PyObject *get(PyObject *message, PyObject *name)
{
    PyObject *o = PyDict_GetItemWithError(message, name);
    return o == Py_None ? NULL : o;
}

/* str as UTF-8, held by the request. */
static int text_slice(struct mc_request *r, PyObject *o, const char *what, struct mc_str *out)
{
    Py_ssize_t n;
    if (!PyUnicode_CheckExact(o) && !PyUnicode_Check(o)) {
        PyErr_Format(PyExc_TypeError, "%s must be str, not %R", what, (PyObject *)Py_TYPE(o));
        return MC_ERROR;
    }
    const char *p = PyUnicode_AsUTF8AndSize(o, &n);
    if (!p)
        return MC_ERROR;
    *out = (struct mc_str){p, (size_t)n};
    return r ? mc_interp_hold(r, Py_NewRef(o)) : MC_OK;
}

static struct mc_fields *collecting; /* what add_field() fills, during one call */

/* As mc_response_field(). */
static int add_field(struct mc_request *r, struct mc_str name, struct mc_str value)
{
    if (!mc_field_name_ok(name) || !mc_field_value_ok(value) || mc_fields_add(collecting, &r->arena, name, value) != MC_OK)
        return MC_ERROR;
    enum mc_field_id id = collecting->v[collecting->n - 1].id;
    bool ours = mc_field_hop_by_hop(id) || id == MC_F_CONTENT_LENGTH || (name.n > 14 && mc_str_eq_nocase((struct mc_str){name.p, 14}, MC_STR("sec-websocket-")));
    collecting->n -= ours;
    return ours ? MC_DECLINED : MC_OK;
}

int mc_asgi_ws_accept(struct mc_exchange *x, PyObject *message)
{
    struct mc_str subprotocol = MC_STR_NONE;
    struct mc_fields fields = {.n = 0};
    PyObject *sub = get(message, subprotocol_name), *headers = get(message, headers_name);
    if (PyErr_Occurred() || (sub && text_slice(x->r, sub, "subprotocol", &subprotocol) != MC_OK))
        return MC_ERROR;
    if (subprotocol.n && !mc_field_name_ok(subprotocol)) {
        PyErr_Format(PyExc_ValueError, "subprotocol must be a token, not %R", sub);
        return MC_ERROR;
    }
    collecting = &fields;
    if (headers && mc_asgi_fields(x->r, headers, add_field) != MC_OK)
        return MC_ERROR;
    x->ws = mc_ws_open(x->r, subprotocol, &fields);
    if (!x->ws) {
        x->lost = true;
        mc_asgi_lost();
        return MC_ERROR;
    }
    x->next = MC_ASGI_WS_OPEN;
    mc_asgi_news(x);
    return MC_OK;
}

static int sent(struct mc_exchange *x, int rc)
{
    if (rc != MC_ERROR)
        return rc;
    x->lost = true;
    mc_asgi_lost();
    return MC_ERROR;
}

int mc_asgi_ws_send(struct mc_exchange *x, PyObject *message)
{
    PyObject *text = get(message, text_name), *bytes = get(message, bytes_name);
    struct mc_str slice;
    Py_buffer view;
    if (PyErr_Occurred())
        return MC_ERROR;
    if (!text == !bytes) {
        PyErr_SetString(PyExc_ValueError, "websocket.send needs text or bytes, and not both");
        return MC_ERROR;
    }
    if (text)
        return text_slice(NULL, text, "text", &slice) == MC_OK ? sent(x, mc_ws_send(x->ws, true, slice.p, slice.n)) : MC_ERROR;
    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE) < 0)
        return MC_ERROR;
    int rc = mc_ws_send(x->ws, false, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return sent(x, rc);
}

/* Before it was accepted: 403. */
static int refuse(struct mc_exchange *x)
{
    x->next = MC_ASGI_OVER;
    x->code = MC_WS_ABNORMAL;
    return sent(x, mc_response_error(x->r, 403));
}

int mc_asgi_ws_close(struct mc_exchange *x, PyObject *message)
{
    PyObject *code = get(message, code_name), *reason = get(message, reason_name);
    struct mc_str text = MC_STR_NONE;
    if (PyErr_Occurred())
        return MC_ERROR;
    if (!x->ws)
        return refuse(x);
    long n = code ? PyLong_AsLong(code) : MC_WS_NORMAL;
    if (PyErr_Occurred() || (reason && text_slice(NULL, reason, "reason", &text) != MC_OK))
        return MC_ERROR;
    if (n < 0 || n > 65535 || !mc_ws_code_ok((unsigned)n) || text.n > 123) {
        PyErr_Format(PyExc_ValueError, text.n > 123 ? "a reason has at most 123 bytes, not %S" : "invalid code for a close: %S",
                     text.n > 123 ? reason : code);
        return MC_ERROR;
    }
    x->next = MC_ASGI_OVER;
    (void)mc_ws_close(x->ws, (unsigned)n, text); /* the client may have been quicker */
    mc_asgi_news(x);
    return MC_OK;
}

/* ---- both ends ---- */

int mc_asgi_ws_resume(struct mc_exchange *x, enum mc_resume why)
{
    struct mc_str reason;
    bool news = x->ws && mc_ws_pump(x->ws) == MC_OK;
    if (x->ws && x->next == MC_ASGI_WS_OPEN && (mc_ws_ended(x->ws, &reason) || x->r->resp.cut))
        x->lost = true;
    if (news || why == MC_RESUME_ROOM)
        mc_asgi_news(x);
    return MC_OK;
}

void mc_asgi_ws_over(struct mc_exchange *x, bool failed)
{
    x->next = MC_ASGI_OVER;
    (void)mc_ws_close(x->ws, failed ? MC_WS_INTERNAL : MC_WS_NORMAL, MC_STR_NONE);
}
