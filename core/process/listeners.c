/* The listening sockets: bound by the arbiter, inherited by workers, and switched off at a stop so that nothing accepted is lost.
 * Never accepts. Called by the arbiter. Why a filter and not close() or shutdown(): both reset the connections that wait in the queue. */
#include "core/os/fd.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/process/inherit.h"
#include "core/process/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 5, PAUSE_MS = 1000 };

/* Sleep in the loop; false when a signal to stop came. */
static bool pause_unless_stopped(struct mc_arbiter *a, uint64_t until)
{
    while (mc_loop_refresh(&a->loop) < until && a->stopping == MC_STOP_NOT)
        mc_loop_turn(&a->loop, (int)(until - a->loop.now));
    return a->stopping == MC_STOP_NOT;
}

/* 0.0.0.0:443 and [::]:443 side by side: the latter must leave IPv4 to the former. Alone it takes both, as the system has it. */
static bool has_v4_twin(const struct mc_conf *conf, const struct mc_addr *addr)
{
    if (addr->family != AF_INET6)
        return false;
    for (size_t i = 0; i < conf->nlistens; i++) {
        const struct mc_addr *other = &conf->listens[i].addr;
        if (other->family == AF_INET && other->u.in.sin_port == addr->u.in6.sin6_port)
            return true;
    }
    return false;
}

/* One try: fd, or -1 with errno. */
static int bind_one(const struct mc_generation *g, const struct mc_conf_listen *l)
{
    struct mc_listen_opts o = {
        .backlog = (int)g->conf->set.backlog,
        .umask = (mode_t)g->conf->set.umask_,
        .uid = g->conf->uid,
        .gid = g->conf->gid,
        .v6only = has_v4_twin(g->conf, &l->addr),
        .defer_accept = true,
    };
    return mc_socket_listen(&l->addr, &o);
}

static int open_one(struct mc_generation *g, const struct mc_conf_listen *l)
{
    struct mc_arbiter *a = g->arbiter;
    for (int i = 1;; i++) {
        int fd = bind_one(g, l);
        if (fd >= 0)
            return fd;
        if (errno == EADDRINUSE)
            mc_error("Connection in use: %s", l->text);
        else
            mc_error("cannot listen at %s: %m", l->text);
        /* Only an address in use may become free. */
        if (errno != EADDRINUSE && errno != EADDRNOTAVAIL)
            return -1;
        if (i == TRIES)
            break;
        mc_error("Retrying in 1 second.");
        if (!pause_unless_stopped(a, a->loop.now + PAUSE_MS))
            return -1;
    }
    mc_error("Can't connect to %s", l->text);
    return -1;
}

static const char *path_of(const struct mc_addr *addr)
{
    return addr->fd < 0 && addr->family == AF_UNIX ? addr->u.un.sun_path : NULL;
}

static struct mc_arb_place place_of(const char *path)
{
    struct stat st;
    if (!path || lstat(path, &st) < 0)
        return (struct mc_arb_place){.ino = 0};
    return (struct mc_arb_place){.dev = st.st_dev, .ino = st.st_ino};
}

/* What somebody before us has bound: as it stands, but for what workers need of it. */
static int take_inherited(const struct mc_conf_listen *l, bool *given)
{
    char text[160];
    mc_addr_print(&l->addr, text, sizeof(text));
    int fd = mc_inherit_take(mc_inherit_ours(), &l->addr, text, given);
    if (fd >= 0)
        (void)mc_fd_nonblock(fd, true);
    return fd;
}

int mc_listeners_open(struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        const struct mc_conf_listen *l = &g->conf->listens[i];
        bool given = false, inherited;
        g->listen_fds[i] = l->hop ? mc_hops_fd(g, l) : take_inherited(l, &given);
        inherited = g->listen_fds[i] >= 0 && !l->hop;
        if (!inherited && !l->hop)
            g->listen_fds[i] = open_one(g, l);
        if (g->listen_fds[i] < 0)
            return MC_ERROR;
        g->places[i] = place_of(path_of(&l->addr));
        g->places[i].given = given;
        g->places[i].shared = inherited && !given && mc_upgrade_pending();
    }
    return MC_OK;
}

void mc_listeners_log(struct mc_generation *g)
{
    struct mc_sb line;
    mc_sb_init(&line, 65536);
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        const struct mc_conf_listen *l = &g->conf->listens[i];
        struct mc_addr real;
        char text[160];
        if (l->hop)
            continue;
        /* Port 0 became a real one. */
        if (mc_addr_of_fd(g->listen_fds[i], &real) == MC_OK)
            mc_addr_print(&real, text, sizeof(text));
        else
            mc_addr_print(&l->addr, text, sizeof(text));
        if (i)
            mc_sb_addc(&line, ',');
        if (strncmp(text, "unix:", 5) != 0)
            mc_sb_addz(&line, l->tls ? "https://" : "http://");
        mc_sb_addz(&line, text);
    }
    mc_tally_listening(g->arbiter, mc_sb_z(&line));
    mc_info("Listening at: %s (%ld)", mc_sb_z(&line), (long)g->arbiter->pid);
    mc_sb_fini(&line);
}

/* New SYNs are dropped, all else passes: handshakes under way end well and land in the queue. A dropped SYN is repeated after a second and
 * finds the port closed: a refused connection, which the client may safely try elsewhere. No listen(fd, 0) then: a queue that counts as full
 * drops the last ACK of handshakes under way, and their clients would learn of it by a reset. */
static void drop_syns(int fd)
{
    enum { FLAGS_BYTE = 13, SYN = 0x02, SYN_OR_ACK = 0x12 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_BYTE), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_OR_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = MC_COUNT(code), .filter = code};
    int off = 0;
    /* Where only root may do that: SYNs with less than the highest TTL, which are those of nearly everybody. */
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 && mc_socket_min_ttl(fd, 255) != MC_OK) {
        mc_warn("cannot switch off new connections: %m");
        listen(fd, 0);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off, sizeof(off));
}

/* listen(fd, 0) lets one connection wait at a time: under load some client always gets in, and a queue never ends whose path cannot be unlinked. A
 * shutdown ends it, but wakes without end everybody who watches the socket: it is for those who all leave at once. */
void mc_listeners_refuse_fd(int fd, const struct mc_addr *addr, bool all_leave)
{
    /* A socket that we were given (fd://) goes on living with its owner, queue and all. */
    if (addr->fd >= 0)
        return;
    if (addr->family != AF_UNIX)
        drop_syns(fd);
    else if (!all_leave || shutdown(fd, SHUT_RD) < 0)
        listen(fd, 0);
}

void mc_listeners_admit(const struct mc_generation *g, size_t i)
{
    int fd = g->listen_fds[i], on = 1;
    (void)listen(fd, (int)g->conf->set.backlog);
    if (g->conf->listens[i].addr.family == AF_UNIX)
        return;
    setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof(on));
    (void)mc_socket_min_ttl(fd, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof(on));
}

/* Unless another server has taken the path over. No other file has our inode's number: our socket, still open, holds it. */
static void unlink_path(const struct mc_generation *g, size_t i)
{
    const char *path = path_of(&g->conf->listens[i].addr);
    struct mc_arb_place now = place_of(path);
    if (g->places[i].shared || g->places[i].given)
        return;
    if (now.ino != 0 && now.ino == g->places[i].ino && now.dev == g->places[i].dev)
        unlink(path);
}

void mc_listeners_refuse(struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        if (g->listen_fds[i] < 0 || g->conf->listens[i].hop) /* those who drain still ask there */
            continue;
        unlink_path(g, i);
        if (!g->places[i].shared && !g->places[i].given)
            mc_listeners_refuse_fd(g->listen_fds[i], &g->conf->listens[i].addr, true);
        mc_fd_close(&g->listen_fds[i]);
    }
}

void mc_listeners_close(struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        if (g->listen_fds[i] < 0)
            continue;
        unlink_path(g, i);
        mc_fd_close(&g->listen_fds[i]);
    }
}

/* ---- a reload: listeners are the same when their addresses are; of equal ones (port 0) the first is the first ---- */

static size_t find(const struct mc_conf *conf, const struct mc_conf *other, size_t i)
{
    const char *text = other->listens[i].text;
    size_t before = 0;
    for (size_t j = 0; j < i; j++)
        before += strcmp(other->listens[j].text, text) == 0;
    for (size_t j = 0; j < conf->nlistens; j++) {
        if (strcmp(conf->listens[j].text, text) == 0 && before-- == 0)
            return j;
    }
    return SIZE_MAX;
}

bool mc_listeners_has(const struct mc_conf *conf, const struct mc_conf *other, size_t i)
{
    return find(conf, other, i) != SIZE_MAX;
}

/* Queue and all. */
static int keep(struct mc_generation *g, size_t i, size_t j)
{
    const struct mc_generation *from = g->older;
    const struct mc_conf_listen *l = &g->conf->listens[i];
    int fd = from->listen_fds[j] < 0 ? -1 : fcntl(from->listen_fds[j], F_DUPFD_CLOEXEC, 3);
    if (fd >= 0 && !l->hop && l->addr.fd < 0 && g->conf->set.backlog != from->conf->set.backlog) {
        listen(fd, (int)g->conf->set.backlog);
        mc_seats_backlog(g->arbiter, &l->addr, (int)g->conf->set.backlog);
    }
    g->places[i] = from->places[j];
    return fd;
}

int mc_listeners_inherit(struct mc_generation *g, char *err, size_t errcap)
{
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        const struct mc_conf_listen *l = &g->conf->listens[i];
        size_t j = find(g->older->conf, g->conf, i);
        bool given = false;
        g->listen_fds[i] = j != SIZE_MAX ? keep(g, i, j) : l->hop ? mc_hops_fd(g, l) : take_inherited(l, &given);
        if (j == SIZE_MAX && !l->hop && g->listen_fds[i] < 0)
            g->listen_fds[i] = bind_one(g, l);
        if (g->listen_fds[i] < 0) {
            snprintf(err, errcap, errno == EADDRINUSE ? "Connection in use: %s" : "cannot listen at %s: %m", l->text);
            return MC_ERROR;
        }
        if (j != SIZE_MAX || l->hop)
            continue;
        g->places[i] = place_of(path_of(&l->addr));
        g->places[i].given = given;
        mc_info("Reload: listening at %s as well", l->text);
    }
    return MC_OK;
}

void mc_listeners_part(struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        const struct mc_conf_listen *l = &g->conf->listens[i];
        if (g->listen_fds[i] < 0)
            continue;
        if (!l->hop && !mc_listeners_has(g->arbiter->gen->conf, g->conf, i)) {
            mc_info("Reload: no longer listening at %s", l->text);
            unlink_path(g, i);
            if (!g->places[i].shared && !g->places[i].given)
                mc_listeners_refuse_fd(g->listen_fds[i], &l->addr, false);
        }
        mc_fd_close(&g->listen_fds[i]);
    }
}

void mc_listeners_lone(const struct mc_generation *g, struct mc_msg *m)
{
    const struct mc_conf *now = g->arbiter->gen->conf;
    if (g == g->arbiter->gen)
        return;
    for (size_t i = 0; i < g->conf->nlistens && i / 8 < sizeof(m->text) - 1; i++) {
        if (!mc_listeners_has(now, g->conf, i))
            m->text[i / 8] |= (char)(1 << i % 8);
    }
}
