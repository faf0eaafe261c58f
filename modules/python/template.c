/* What WSGI's environ and ASGI's scope have in common: dicts that are made once a listener and scheme and copied for each request, and how a
 * listener's address reads. Worker side, GIL held. */
#include "modules/python/python.h"
#include "core/server/conn.h"
#include "core/server/hop.h"

#include <stdlib.h>

static PyObject *find_passed_on(struct mc_templates *t, const struct mc_addr *listen, bool https)
{
    for (size_t i = 0; i < MC_COUNT(t->passed_on); i++) {
        if (t->passed_on[i].dict && t->passed_on[i].https == https && mc_addr_equal(&t->passed_on[i].listen, listen))
            return t->passed_on[i].dict;
    }
    unsigned i = t->next++ % MC_COUNT(t->passed_on);
    Py_XDECREF(t->passed_on[i].dict);
    t->passed_on[i].dict = t->make(listen, listen->family, https);
    t->passed_on[i].listen = *listen;
    t->passed_on[i].https = https;
    return t->passed_on[i].dict;
}

PyObject *mc_template_find(struct mc_templates *t, const struct mc_request *r)
{
    const struct mc_listener *l = r->conn->listener;
    if (r->hop)
        return find_passed_on(t, &r->hop->listen, r->https);
    size_t i = 2 * l->conf->index + r->https;
    MC_ASSERT(i < t->n);
    if (mc_likely(t->own[i] != NULL))
        return t->own[i];
    return t->own[i] = t->make(&l->addr, l->conf->addr.family, r->https);
}

int mc_template_init(struct mc_templates *t, const struct mc_worker *w)
{
    t->n = 2 * w->conf->nlistens;
    t->own = calloc(t->n, sizeof(*t->own));
    if (t->own)
        return MC_OK;
    PyErr_NoMemory();
    return MC_ERROR;
}

void mc_template_fini(struct mc_templates *t)
{
    for (size_t i = 0; i < t->n; i++)
        Py_CLEAR(t->own[i]);
    free(t->own);
    t->own = NULL;
    t->n = 0;
    for (size_t i = 0; i < MC_COUNT(t->passed_on); i++)
        Py_CLEAR(t->passed_on[i].dict);
}

bool mc_template_split(const struct mc_addr *addr, char text[static MC_TEMPLATE_TEXT], const char **name, const char **port)
{
    mc_addr_print(addr, text, MC_TEMPLATE_TEXT);
    char *colon = strrchr(text, ':');
    if ((addr->family != AF_INET && addr->family != AF_INET6) || !colon)
        return false;
    *colon = '\0';
    *name = text;
    *port = colon + 1;
    if (text[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        *name = text + 1;
    }
    return true;
}
