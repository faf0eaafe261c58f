/* reuse_port: an address has a socket for each seat, a worker accepts at that of its seat, and the kernel spreads connections over them. The arbiter holds
 * them all, so a queue outlives its worker: the next one on the seat inherits it. Seat 0 is the socket of the generation's listener, the others are here, by
 * address, over reloads and upgrades. A socket too many is first left out of the kernel's choice, then emptied by the workers that are there, then closed.
 * Called by the arbiter's loop; never waits. */
#include "core/os/fd.h"
#include "core/process/arbiter.h"
#include "core/process/inherit.h"
#include "core/process/upgrade.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SETTLE_MS = 1000, AGAIN_MS = 500, MAX_SEATS = 4096, UNKNOWN = MAX_SEATS + 2 };

/* The sockets of seats 1, 2, … of an address. */
struct mc_seats {
    struct mc_seats *next;
    char text[160];
    int *fds;
    unsigned n;
    unsigned choice;   /* how many the kernel chooses among; 0: all; UNKNOWN: another program may have told it */
    unsigned common;   /* so many, the first, are the other program's of an upgrade, too */
    uint64_t quiet_ms; /* since when the last of them is too many, and empty; 0: it is not */
    uint64_t lone_ms;  /* since when some seat has nobody; 0: each has somebody */
    uint64_t told_ms;  /* workers were given one that is not theirs */
};

static bool seated(const struct mc_generation *g, size_t i)
{
    const struct mc_conf_listen *l = &g->conf->listens[i];
    return g->conf->set.reuse_port && l->addr.fd < 0 && !g->places[i].given && (l->addr.family == AF_INET || l->addr.family == AF_INET6);
}

static struct mc_seats *find(const struct mc_arbiter *a, const struct mc_addr *addr)
{
    char text[160];
    struct mc_seats *s = a->seats;
    mc_addr_print(addr, text, sizeof(text));
    while (s && strcmp(s->text, text) != 0)
        s = s->next;
    return s;
}

static struct mc_seats *find_or_make(struct mc_arbiter *a, const struct mc_addr *addr)
{
    struct mc_seats *s = find(a, addr);
    if (s || !(s = calloc(1, sizeof(*s))))
        return s;
    mc_addr_print(addr, s->text, sizeof(s->text));
    s->next = a->seats;
    a->seats = s;
    return s;
}

static int append(struct mc_seats *s, int fd)
{
    int *more = s->n < MAX_SEATS ? realloc(s->fds, (s->n + 1) * sizeof(*more)) : NULL;
    if (!more)
        return MC_ERROR;
    s->fds = more;
    s->fds[s->n++] = fd;
    return MC_OK;
}

/* ---- who is chosen: the kernel numbers the sockets of an address in the order in which they began to listen, which is that of the seats ---- */

static void choose(struct mc_seats *s, int fd, unsigned n)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = MC_COUNT(code), .filter = code};
    if (s->choice == n)
        return;
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0)
        mc_warn("reuse_port: cannot choose among %u sockets of %s: %m", n, s->text);
    s->choice = n;
}

/* ---- sockets of seats ---- */

static int open_one(const struct mc_generation *g, size_t i, struct mc_seats *s)
{
    struct mc_listen_opts o = {.backlog = (int)g->conf->set.backlog, .uid = (uid_t)-1, .gid = (gid_t)-1, .reuse_port = true, .defer_accept = true};
    struct mc_addr real;
    int on = 1, fd = -1, v6only = 0;
    socklen_t size = sizeof(v6only);
    /* One that was bound before reuse_port was asked for may still be joined. */
    if (setsockopt(g->listen_fds[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0 && mc_addr_of_fd(g->listen_fds[i], &real) == MC_OK) {
        if (real.family == AF_INET6)
            (void)getsockopt(g->listen_fds[i], IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &size);
        o.v6only = v6only != 0;
        fd = mc_socket_listen(&real, &o);
    }
    if (fd >= 0 && append(s, fd) == MC_OK) {
        s->quiet_ms = 0;
        if (s->choice && !mc_upgrade_has_heir())
            choose(s, g->listen_fds[i], s->n + 1);
        return MC_OK;
    }
    mc_warn("reuse_port: cannot listen at %s once more, a worker shares its socket with another: %m", s->text);
    mc_fd_close(&fd);
    return MC_ERROR;
}

int mc_seats_fd(const struct mc_kid *k, size_t i)
{
    const struct mc_generation *g = k->pool->gen;
    const struct mc_conf_listen *l = &g->conf->listens[i];
    const struct mc_seats *s = k->seat && seated(g, i) ? find(k->arbiter, &l->addr) : NULL;
    if (l->pool != k->pool->conf)
        return -1;
    return s && s->n >= k->seat ? s->fds[k->seat - 1] : g->listen_fds[i];
}

/* Its sockets, and those of the seats before it. */
static void open_all(const struct mc_kid *k)
{
    const struct mc_generation *g = k->pool->gen;
    for (size_t i = 0; k->seat > 0 && i < g->conf->nlistens; i++) {
        const struct mc_conf_listen *l = &g->conf->listens[i];
        struct mc_seats *s = l->pool == k->pool->conf && seated(g, i) ? find_or_make(k->arbiter, &l->addr) : NULL;
        while (s && s->n < k->seat && open_one(g, i, s) == MC_OK)
            continue;
    }
}

/* The seat with the fewest on it; who asked to be replaced, or leaves, does not count: the seat is its successor's. */
void mc_seats_take(struct mc_kid *k)
{
    const struct mc_arbiter *a = k->arbiter;
    unsigned wanted = k->pool->wanted ? k->pool->wanted : 1, best = 0, least = UINT32_MAX;
    for (unsigned seat = 0; seat < wanted && least > 0; seat++) {
        unsigned on = 0;
        for (unsigned i = 0; i < a->nkids; i++) {
            const struct mc_kid *other = &a->kids[i];
            on += other != k && other->pool == k->pool && mc_kid_live(other) && !other->recycling && other->seat == seat;
        }
        if (on < least) {
            least = on;
            best = seat;
        }
    }
    k->seat = best;
    open_all(k);
}

bool mc_seats_has_heir(const struct mc_kid *k, const struct mc_arb_pool *newer)
{
    const struct mc_arbiter *a = k->arbiter;
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *other = &a->kids[i];
        if (other->pool == newer && other->life == MC_LIFE_READY && other->seat == k->seat)
            return true;
    }
    return false;
}

bool mc_seats_first_to_leave(const struct mc_kid *k)
{
    return k->pool->gen->conf->set.reuse_port && k->seat >= k->pool->wanted;
}

/* ---- too many ---- */

static const struct mc_generation *newest(const struct mc_arbiter *a)
{
    return a->fresh ? a->fresh : a->gen;
}

/* The listener of this address in a generation, or -1. */
static ptrdiff_t listener(const struct mc_generation *g, const struct mc_seats *s)
{
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        char text[160];
        mc_addr_print(&g->conf->listens[i].addr, text, sizeof(text));
        if (strcmp(text, s->text) == 0)
            return (ptrdiff_t)i;
    }
    return -1;
}

/* How many sockets have, or are to have, a worker. */
static unsigned needed(const struct mc_arbiter *a, const struct mc_seats *s)
{
    unsigned n = 1;
    for (const struct mc_generation *g = newest(a); g; g = g->older) {
        ptrdiff_t i = listener(g, s);
        const struct mc_conf_pool *pool = i < 0 ? NULL : g->conf->listens[i].pool;
        if (!pool)
            continue;
        unsigned wanted = g->pools[pool->index].wanted;
        if ((g == a->gen || g == a->fresh) && seated(g, (size_t)i) && wanted > n)
            n = wanted;
        for (unsigned j = 0; j < a->nkids; j++) {
            const struct mc_kid *k = &a->kids[j];
            if (k->pool && k->pool->conf == pool && mc_kid_live(k) && seated(g, (size_t)i) && k->seat + 1 > n)
                n = k->seat + 1;
        }
    }
    return n;
}

/* Connections that wait to be accepted. */
static unsigned queued(int fd)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 ? info.tcpi_unacked : 0;
}

/* Another program has this one, too. */
static bool foreign(const struct mc_generation *g, size_t i, const struct mc_seats *s, unsigned seat)
{
    return g->places[i].shared && seat <= s->common;
}

/* Every ready worker of the address may empty it. */
static void hand_round(struct mc_arbiter *a, struct mc_seats *s, size_t i, unsigned seat)
{
    struct mc_msg m = {.kind = MC_MSG_LISTEN, .value = (uint32_t)i, .code = foreign(a->gen, i, s, seat)};
    int fd = seat ? s->fds[seat - 1] : a->gen->listen_fds[i];
    for (unsigned j = 0; j < a->nkids; j++) {
        struct mc_kid *k = &a->kids[j];
        if (k->life == MC_LIFE_READY && k->pool->gen == a->gen && a->gen->conf->listens[i].pool == k->pool->conf &&
            mc_channel_send(k->io.fd, &m, &fd, 1) == MC_OK)
            s->told_ms = a->loop.now;
    }
}

static void shrink(struct mc_arbiter *a, struct mc_seats *s, unsigned n)
{
    ptrdiff_t i = listener(a->gen, s);
    int *last = &s->fds[s->n - 1], off = 0;
    uint64_t now = a->loop.now;
    choose(s, a->gen->listen_fds[i], n);
    if (s->quiet_ms == 0) {
        (void)setsockopt(*last, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off, sizeof(off));
        s->quiet_ms = now;
        s->told_ms = 0;
    }
    if (queued(*last) > 0) {
        s->quiet_ms = now;
        if (now >= s->told_ms + AGAIN_MS)
            hand_round(a, s, (size_t)i, s->n);
    }
    mc_arbiter_wake_at(a, now + AGAIN_MS / 10);
    if (now < s->quiet_ms + SETTLE_MS)
        return;
    mc_fd_close(last);
    s->n--;
    s->quiet_ms = 0;
}

/* None is too many (any more). */
static void keep(const struct mc_arbiter *a, struct mc_seats *s, size_t i)
{
    int on = 1;
    if (s->choice)
        choose(s, a->gen->listen_fds[i], s->n + 1);
    if (s->quiet_ms)
        (void)setsockopt(s->fds[s->n - 1], IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof(on));
    s->quiet_ms = 0;
}

/* ---- a seat without a worker for long, as births fail: the others serve its queue ---- */

static bool taken(const struct mc_arbiter *a, const struct mc_conf_pool *pool, unsigned seat)
{
    for (unsigned j = 0; j < a->nkids; j++) {
        const struct mc_kid *k = &a->kids[j];
        if (k->pool && strcmp(k->pool->conf->name, pool->name) == 0 && mc_kid_live(k) && k->seat == seat)
            return true;
    }
    return false;
}

static void help(struct mc_arbiter *a, struct mc_seats *s, size_t i)
{
    uint64_t now = a->loop.now;
    bool lone = false, may = s->lone_ms && now >= s->lone_ms + SETTLE_MS && now >= s->told_ms + AGAIN_MS;
    for (unsigned seat = 0; seat <= s->n; seat++) {
        int fd = seat ? s->fds[seat - 1] : a->gen->listen_fds[i];
        if (taken(a, a->gen->conf->listens[i].pool, seat))
            continue;
        lone = true;
        if (may && queued(fd) > 0)
            hand_round(a, s, i, seat);
    }
    if (!lone)
        s->lone_ms = 0;
    else if (!s->lone_ms)
        s->lone_ms = now;
    if (lone)
        mc_arbiter_wake_at(a, now + AGAIN_MS);
}

/* ---- what another program has, too, is not switched off ---- */

bool mc_seats_own(const struct mc_kid *k, size_t i)
{
    const struct mc_seats *s = k->seat && seated(k->pool->gen, i) ? find(k->arbiter, &k->pool->gen->conf->listens[i].addr) : NULL;
    return s && s->n >= k->seat && k->seat > s->common;
}

void mc_seats_share(struct mc_arbiter *a, bool shared)
{
    for (struct mc_seats *s = a->seats; s; s = s->next) {
        s->common = shared ? s->n : 0;
        s->choice = UNKNOWN;
    }
}

/* The address is no longer ours: whoever still has its worker's socket serves that to the end. */
static void part(struct mc_arbiter *a, struct mc_seats *s)
{
    const struct mc_generation *g = a->gen;
    ptrdiff_t i = -1;
    while (g && (i = listener(g, s)) < 0)
        g = g->older;
    /* The program before us goes on, with those that it has. */
    if (g && g->places[i].shared && mc_upgrade_pending() && g->listen_fds[i] >= 0)
        choose(s, g->listen_fds[i], s->common + 1);
    for (; s->n > 0; s->n--) {
        if (g && !foreign(g, (size_t)i, s, s->n))
            mc_listeners_refuse_fd(s->fds[s->n - 1], &g->conf->listens[i].addr, false);
        mc_fd_close(&s->fds[s->n - 1]);
    }
}

void mc_seats_tend(struct mc_arbiter *a)
{
    for (struct mc_seats *s = a->seats; s && a->stopping == MC_STOP_NOT; s = s->next) {
        ptrdiff_t i = listener(a->gen, s);
        if (i < 0 && !a->fresh)
            part(a, s);
        /* Without workers (WINCH) somebody else serves them. */
        if (i < 0 || s->n == 0 || a->gen->pools[a->gen->conf->listens[i].pool->index].wanted == 0)
            continue;
        unsigned n = needed(a, s);
        bool theirs = mc_upgrade_has_heir() && foreign(a->gen, (size_t)i, s, s->n); /* who may need them all */
        if (s->n + 1 > n && !theirs)
            shrink(a, s, n);
        else if (!mc_upgrade_has_heir())
            keep(a, s, (size_t)i);
        if (seated(a->gen, (size_t)i))
            help(a, s, (size_t)i);
    }
}

void mc_seats_backlog(const struct mc_arbiter *a, const struct mc_addr *addr, int backlog)
{
    const struct mc_seats *s = find(a, addr);
    for (unsigned i = 0; s && i < s->n; i++)
        (void)listen(s->fds[i], backlog);
}

/* ---- the end, and the program after us ---- */

void mc_seats_refuse(struct mc_arbiter *a)
{
    for (struct mc_seats *s = a->seats; s; s = s->next)
        part(a, s);
}

void mc_seats_close(struct mc_arbiter *a)
{
    while (a->seats) {
        struct mc_seats *s = a->seats;
        a->seats = s->next;
        while (s->n > 0)
            mc_fd_close(&s->fds[--s->n]);
        free(s->fds);
        free(s);
    }
}

void mc_seats_print(const struct mc_arbiter *a, const struct mc_addr *addr, struct mc_sb *out)
{
    const struct mc_seats *s = find(a, addr);
    for (unsigned i = 0; s && i < s->n; i++)
        mc_inherit_print(out, s->text, s->fds[i]);
}

void mc_seats_bequeath(const struct mc_arbiter *a, const struct mc_addr *addr)
{
    const struct mc_seats *s = find(a, addr);
    for (unsigned i = 0; s && i < s->n; i++)
        (void)mc_fd_cloexec(s->fds[i], false);
}

void mc_seats_inherit(struct mc_arbiter *a)
{
    struct mc_inherit *in = mc_inherit_ours();
    for (size_t i = 0; i < a->gen->conf->nlistens; i++) {
        const struct mc_addr *addr = &a->gen->conf->listens[i].addr;
        char text[160];
        mc_addr_print(addr, text, sizeof(text));
        for (int fd; addr->fd < 0 && (fd = mc_inherit_take_same(in, text)) >= 0;) {
            struct mc_seats *s = find_or_make(a, addr);
            if (!s || append(s, fd) != MC_OK)
                mc_fd_close(&fd);
        }
    }
    mc_seats_share(a, mc_upgrade_pending());
}
