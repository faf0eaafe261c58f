#include "tests/unit/lib/rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

uint64_t rig_now = 1000000;
const char *rig_worker = "sync";
extern const struct mc_module mc_module_worker_sync; /* here in every build */

static uint64_t fake(void)
{
    return rig_now;
}

static struct rig *rig_of(const struct mc_stream *s)
{
    return mc_container(mc_container(s, struct mc_conn, stream)->worker, struct rig, w);
}

static int t_open(struct mc_stream *s)
{
    (void) s;
    return MC_OK;
}

static ssize_t t_recv(struct mc_stream *s, void *p, size_t n)
{
    struct rig *g = rig_of(s);
    if (g->dead) {
        return MC_ERROR;
    }
    if (g->in_pos == g->in_len) {
        return g->eof ? 0 : MC_AGAIN;
    }
    if (g->again) {
        g->again_now = !g->again_now;
        if (g->again_now) {
            return MC_AGAIN;
        }
    }
    size_t k = g->in_len - g->in_pos;
    k = g->per_recv && k > g->per_recv ? g->per_recv : k;
    k = k > n ? n : k;
    memcpy(p, g->in + g->in_pos, k);
    g->in_pos += k;
    return (ssize_t) k;
}

static void keep(struct rig *g, const void *p, size_t n)
{
    if (g->out_len + n + 1 > g->out_cap) {
        g->out_cap = (g->out_len + n + 1) * 2;
        g->out = realloc(g->out, g->out_cap);
        MC_ASSERT(g->out != NULL);
    }
    memcpy(g->out + g->out_len, p, n);
    g->out_len += n;
    g->out[g->out_len] = '\0';
}

static ssize_t t_send(struct mc_stream *s, const struct iovec *iov, int n)
{
    struct rig *g = rig_of(s);
    ssize_t done = 0;
    if (g->dead) {
        return MC_ERROR;
    }
    if (g->room == 0) {
        return MC_AGAIN;
    }
    g->sends++;
    g->last = s->last;
    for (int i = 0; i < n && g->room > 0; i++) {
        size_t k = iov[i].iov_len > g->room ? g->room : iov[i].iov_len;
        keep(g, iov[i].iov_base, k);
        g->room -= k;
        done += (ssize_t) k;
    }
    return done;
}

static ssize_t t_sendfile(struct mc_stream *s, int fd, off_t off, size_t n)
{
    struct rig *g = rig_of(s);
    char buf[8192];
    if (g->room == 0) {
        return MC_AGAIN;
    }
    n = n > sizeof buf ? sizeof buf : n;
    n = n > g->room ? g->room : n;
    ssize_t got = pread(fd, buf, n, off);
    if (got > 0) {
        keep(g, buf, (size_t) got);
        g->room -= (size_t) got;
    }
    return got;
}

static bool t_pending(const struct mc_stream *s)
{
    (void) s;
    return false;
}

static int t_shutdown(struct mc_stream *s)
{
    rig_of(s)->was_shutdown = true;
    return MC_OK;
}

static void t_close(struct mc_stream *s)
{
    struct rig *g = rig_of(s);
    g->closed = true;
    g->was_reset = s->reset;
    g->c = NULL;
}

static const struct mc_transport_ops scripted = { "scripted", t_open, t_recv, t_send, t_sendfile, t_pending, t_shutdown, t_close, NULL };

static void defaults(struct mc_values *v)
{
    *v = (struct mc_values){
        .tmp_upload_dir = "/tmp", .worker_connections = 100, .timeout = 30000, .graceful_timeout = 30000, .keepalive = 5000,
        .limit_request_line = 4094, .limit_request_fields = 100, .limit_request_field_size = 8190, .limit_request_head = 65536,
        .limit_request_body = 1 << 20, .header_timeout = 10000, .body_timeout = 20000, .send_timeout = 30000,
        .body_buffer = 65536, .response_buffer = 65536, .response_buffer_file = 1 << 30, .server_tokens = "off", .proxy_protocol = "off", .http2_cleartext = "off",
        .http2_max_concurrent_streams = 100, .http2_initial_window_size = 65535, .http2_max_frame_size = 16384, .http2_max_header_list_size = 65536,
        .http2_max_resets = 500, .http2_max_settings = 20, .http2_max_pings = 100, .http2_max_priorities = 1000, .http2_max_empty_frames = 100,
        .http2_max_window_updates = 2000, .http2_max_continuations = 200,
    };
}

void rig_open(struct rig *g)
{
    rig_open_apps(g, NULL, 0);
}

void rig_open_apps(struct rig *g, struct mc_conf_app *apps, size_t n)
{
    memset(g, 0, sizeof *g);
    mc_clock_fake(fake);
    mc_arena_init(&g->conf.arena);
    struct mc_values v;
    defaults(&v);
    g->room = SIZE_MAX / 2;
    g->conf.set = g->pool.set = g->server.set = v;
    g->pool.name = "rig";
    g->pool.worker = strcmp(rig_worker, "sync") == 0 ? &mc_module_worker_sync : mc_module_find(MC_MODULE_WORKER, rig_worker);
    g->servers[0] = &g->server;
    g->server.name = "rig";
    g->server.routes = g->routes;
    g->server.pool = &g->pool;
    g->listen = (struct mc_conf_listen){ .text = "rig", .pool = &g->other, .servers = g->servers, .nservers = 1 };
    g->conf.listens = &g->listen;
    g->conf.nlistens = 1;
    g->conf.servers = &g->server;
    g->conf.nservers = 1;
    g->conf.pools = &g->pool;
    g->conf.npools = 1;
    g->conf.apps = apps;
    g->conf.napps = n;
    for (size_t i = 0; i < n; i++) {
        apps[i].pool = &g->pool;
        apps[i].index = (unsigned) i;
    }
    int none = -1;
    MC_ASSERT(g->pool.worker != NULL);
    MC_ASSERT(mc_worker_open(&g->w, &g->conf, &g->pool, &g->slot, &none) == MC_OK);
    g->listener.worker = &g->w;
    g->listener.conf = &g->listen;
    g->listener.transport = &mc_transport_plain;
}

void rig_route(struct rig *g, const char *prefix, const struct mc_handler_ops *ops)
{
    size_t i = g->server.nroutes++;
    MC_ASSERT(i < RIG_ROUTES);
    g->modules[i] = (struct mc_module){ .name = "test", .kind = MC_MODULE_HANDLER, .ops.handler = ops };
    g->routes[i] = (struct mc_conf_route){ .name = prefix, .match = MC_MATCH_PREFIX, .pattern = mc_str(prefix), .module = &g->modules[i], .set = g->server.set };
}

void rig_route_app(struct rig *g, const char *prefix, struct mc_conf_app *app)
{
    size_t i = g->server.nroutes++;
    MC_ASSERT(i < RIG_ROUTES);
    g->routes[i] = (struct mc_conf_route){ .name = prefix, .match = MC_MATCH_PREFIX, .pattern = mc_str(prefix), .app = app, .set = g->server.set };
}

void rig_connect(struct rig *g)
{
    int sv[2];
    union mc_sockaddr peer = { .family = AF_UNIX };
    if (g->peer_fd > 0) {
        close(g->peer_fd);
    }
    MC_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) == 0);
    g->peer_fd = sv[1];
    g->closed = false;
    g->c = mc_conn_open(&g->w, &g->listener, sv[0], &peer, &scripted);
    MC_ASSERT(g->c != NULL);
}

void rig_send(struct rig *g, const char *bytes, size_t n)
{
    if (g->in_pos > 0) {
        memmove(g->in, g->in + g->in_pos, g->in_len - g->in_pos);
        g->in_len -= g->in_pos;
        g->in_pos = 0;
    }
    g->in = realloc(g->in, g->in_len + n + 1);
    MC_ASSERT(g->in != NULL);
    memcpy(g->in + g->in_len, bytes, n);
    g->in_len += n;
}

void rig_sendz(struct rig *g, const char *z)
{
    rig_send(g, z, strlen(z));
}

void rig_turn(struct rig *g)
{
    for (int idle = 0, i = 0; idle < 4 && i < 100000; i++) {
        size_t in = g->in_pos, out = g->out_len;
        if (g->c && !g->c->lent) {
            g->c->io.ready |= MC_WANT_READ;
            if (g->room > 0) {
                g->c->io.ready |= MC_WANT_WRITE;
            }
            mc_conn_step(g->c);
        }
        mc_loop_turn(&g->w.loop, 0);
        idle = in == g->in_pos && out == g->out_len ? idle + 1 : 0;
    }
}

void rig_pass(struct rig *g, uint64_t ms)
{
    rig_now += ms;
    mc_loop_turn(&g->w.loop, 0);
    mc_loop_turn(&g->w.loop, 0);
}

void rig_more_room(struct rig *g, size_t n)
{
    g->room += n;
    rig_turn(g);
}

const char *rig_text(struct rig *g)
{
    return g->out ? g->out : "";
}

unsigned rig_count(struct rig *g, const char *needle)
{
    unsigned n = 0;
    for (const char *p = rig_text(g); (p = strstr(p, needle)) != NULL; p++) {
        n++;
    }
    return n;
}

void rig_close(struct rig *g)
{
    mc_worker_close(&g->w);
    mc_arena_fini(&g->conf.arena);
    if (g->peer_fd > 0) {
        close(g->peer_fd);
    }
    free(g->in);
    free(g->out);
    mc_clock_fake(NULL);
}
