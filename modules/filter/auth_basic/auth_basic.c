/* Filter `auth_basic { realm users }`: Basic credentials (RFC 7617) against a file. Decides in access(), later when a hash must be computed.
 * Worker side, on the loop; the file is checked in the arbiter, too. */
#include "modules/filter/auth_basic/auth_basic.h"

#include "core/base/clock.h"
#include "core/config/check.h"
#include "core/config/conf.h"
#include "core/server/conn.h"
#include "core/server/filter.h"

#include <stdio.h>
#include <stdlib.h>

enum { CREDENTIALS_MAX = 512, LOOK_MS = 1000 };

struct auth {
    bool off;
    const char *realm, *path;
    struct mc_auth_users users;
    bool loaded;
    uint64_t look_ms; /* when the file is to be looked at again */
    const char *challenge;
};

/* A question whose answer a thread computes. */
struct question {
    struct mc_request *r;
    struct auth *a;
    struct mc_auth_job *job; /* NULL: answered */
    struct mc_str user;
};

static const struct mc_setting settings[] = {
    { .name = "realm", .type = MC_SET_STRING, .offset = offsetof(struct auth, realm), .dflt = "restricted", .meta = "TEXT", .check = mc_check_text, .doc = "what the browser shows" },
    { .name = "users", .type = MC_SET_STRING, .offset = offsetof(struct auth, path), .meta = "PATH", .doc = "file of NAME:HASH lines, as htpasswd -B makes them" },
    { .name = "off", .type = MC_SET_BOOL, .offset = offsetof(struct auth, off), .doc = "ask for nothing here, whatever is said outside" },
    { .name = NULL },
};

static int check(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct auth *a = s->set;
    struct mc_auth_users users;
    char why[256];
    if (a->off) {
        return MC_OK;
    }
    if (a->path == NULL || a->path[0] != '/') {
        snprintf(err, errcap, "auth_basic: needs users = \"/PATH\"");
        return MC_ERROR;
    }
    if (strpbrk(a->realm, "\"\\")) {
        snprintf(err, errcap, "auth_basic: realm has no quotes and no \\");
        return MC_ERROR;
    }
    a->challenge = mc_arena_printf(&conf->arena, "Basic realm=\"%s\", charset=\"UTF-8\"", a->realm);
    if (a->challenge == NULL) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    if (image) {
        return MC_OK;
    }
    if (mc_auth_users_read(&users, a->path, why, sizeof why) != MC_OK) {
        snprintf(err, errcap, "auth_basic: %s", why);
        return MC_ERROR;
    }
    mc_auth_users_free(&users);
    return MC_OK;
}

static const struct mc_section section = {
    .name = "auth_basic",
    .where = MC_AT_MAIN | MC_AT_SERVER | MC_AT_ROUTE,
    .settings = settings,
    .size = sizeof(struct auth),
    .check = check,
    .doc = "names and passwords (RFC 7617)",
};

/* ---- the file */

static void release(void *data)
{
    struct auth *a = data;
    mc_auth_users_free(&a->users);
}

/* What cannot be read leaves the users as they were; at the start there are none, and nobody is let in. */
static void load(struct auth *a)
{
    struct mc_auth_users fresh;
    char err[256];
    if (mc_auth_users_read(&fresh, a->path, err, sizeof err) != MC_OK) {
        mc_error("auth_basic: %s", err);
        return;
    }
    mc_auth_users_free(&a->users);
    a->users = fresh;
    a->loaded = true;
}

static void look(struct auth *a, uint64_t now)
{
    struct stat st;
    if (now < a->look_ms) {
        return;
    }
    a->look_ms = now + LOOK_MS;
    const struct stat *old = &a->users.st;
    if (stat(a->path, &st) != 0 || (a->loaded && st.st_ino == old->st_ino && st.st_size == old->st_size && st.st_mtim.tv_sec == old->st_mtim.tv_sec
            && st.st_mtim.tv_nsec == old->st_mtim.tv_nsec)) {
        return;
    }
    load(a);
}

static int attach(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_conf_route *route, void **data)
{
    struct mc_conf_section *s = mc_conf_section_for(conf, server, route, &section);
    struct auth *a = s ? s->set : NULL;
    if (a == NULL || a->off) {
        return MC_DECLINED;
    }
    if (!a->loaded) {
        load(a);
        if (mc_arena_cleanup(&conf->arena, release, a) != MC_OK) {
            mc_critical("out of memory");
            return MC_ERROR;
        }
    }
    *data = a;
    return MC_OK;
}

/* ---- credentials */

static int sextet(char c)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? memchr(letters, c, 64) : NULL;
    return at ? (int) (at - letters) : -1;
}

/* base64 without whitespace (RFC 4648 §4); the padding may be missing. Bytes written, or -1. */
static int decode(struct mc_str s, char *out, size_t cap)
{
    unsigned bits = 0, have = 0;
    size_t n = 0;
    while (s.n && s.p[s.n - 1] == '=') {
        s.n--;
    }
    for (size_t i = 0; i < s.n; i++) {
        int v = sextet(s.p[i]);
        if (v < 0 || n == cap) {
            return -1;
        }
        bits = (bits << 6 | (unsigned) v) & 0xfff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char) (bits >> have);
        }
    }
    return (int) n;
}

static int refuse(struct mc_request *r, const struct auth *a)
{
    return mc_fields_add(&r->refusal_fields, &r->arena, MC_STR("WWW-Authenticate"), mc_str(a->challenge)) == MC_OK ? 401 : 503;
}

static void admit(struct mc_request *r, struct mc_str user)
{
    r->user = user;
}

static void on_done(void *data, bool yes)
{
    struct question *q = data;
    q->job = NULL;
    if (yes) {
        admit(q->r, q->user);
    }
    mc_request_admit(q->r, yes ? MC_OK : refuse(q->r, q->a));
}

static void forget(void *data)
{
    struct question *q = data;
    if (q->job) {
        mc_auth_forget(q->job);
    }
}

static int ask(struct mc_request *r, struct auth *a, struct mc_str user, struct mc_str password)
{
    const char *hash = mc_auth_users_find(&a->users, user);
    struct question *q = mc_arena_calloc(&r->arena, sizeof *q);
    if (q == NULL) {
        return 503;
    }
    *q = (struct question){ .r = r, .a = a, .user = mc_arena_dup(&r->arena, user) };
    if (q->user.p == NULL || mc_arena_cleanup(&r->arena, forget, q) != MC_OK) {
        return 503;
    }
    int rc = mc_auth_verify(r->conn->worker, user, password, hash, a->users.v[0].hash, on_done, q, &q->job);
    if (rc == MC_OK) {
        admit(r, q->user);
    }
    return rc;
}

static int access_ok(struct mc_request *r, void *data)
{
    struct auth *a = data;
    char text[CREDENTIALS_MAX];
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_AUTHORIZATION);
    look(a, mc_clock_ms());
    if (f == NULL || f->value.n <= 6 || !mc_str_eq_nocase((struct mc_str){ f->value.p, 6 }, MC_STR("Basic "))) {
        return refuse(r, a);
    }
    int n = decode(mc_str_trim((struct mc_str){ f->value.p + 6, f->value.n - 6 }), text, sizeof text);
    char *colon = n > 0 ? memchr(text, ':', (size_t) n) : NULL;
    if (colon == NULL || colon == text || memchr(text, 0, (size_t) n) || a->users.n == 0) {
        return refuse(r, a);
    }
    struct mc_str user = { text, (size_t) (colon - text) }, password = { colon + 1, (size_t) (text + n - colon) - 1 };
    int rc = mc_field_value_ok(user) ? ask(r, a, user, password) : refuse(r, a);
    explicit_bzero(text, sizeof text);
    return rc;
}

static const struct mc_filter_ops ops = { .phase = MC_FILTER_AUTH, .attach = attach, .access = access_ok };
static const struct mc_section *const sections[] = { &section, NULL };

const struct mc_module mc_module_filter_auth_basic = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "auth_basic",
    .kind = MC_MODULE_FILTER,
    .sections = sections,
    .exit_worker = mc_auth_close,
    .ops.filter = &ops,
};
