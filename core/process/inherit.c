/* Sockets that we were born with, matched to the addresses of our settings; and the words that hand our own on.
 * Never binds, never accepts. Called by the arbiter at start and at an upgrade. */
#include "core/process/inherit.h"
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int bad(char *err, size_t errcap, const char *word, const char *what)
{
    snprintf(err, errcap, "%s: %s", word, what);
    return MC_ERROR;
}

static struct mc_inherited *add(struct mc_inherit *in, int fd)
{
    struct mc_inherited *more = in->n < MC_INHERIT_MAX ? realloc(in->v, (in->n + 1) * sizeof(*more)) : NULL;
    if (!more)
        return NULL;
    in->v = more;
    more += in->n++;
    *more = (struct mc_inherited){.fd = fd};
    return more;
}

/* An address without its escapes; NULL: not well written, or no memory. */
static char *unescape(struct mc_str s)
{
    char *out = malloc(s.n + 1), *to = out;
    for (size_t i = 0; out && i < s.n; i++) {
        if (s.p[i] != '%') {
            *to++ = s.p[i];
            continue;
        }
        int high = i + 2 < s.n ? mc_hex_digit((unsigned char)s.p[i + 1]) : -1, low = high < 0 ? -1 : mc_hex_digit((unsigned char)s.p[i + 2]);
        if (low < 0 || (high == 0 && low == 0)) {
            free(out);
            return NULL;
        }
        *to++ = (char)(high << 4 | low);
        i += 2;
    }
    if (out)
        *to = '\0';
    return out;
}

/* "127.0.0.1:8000=5" */
static int parse_pair(struct mc_inherit *in, struct mc_str pair)
{
    uint64_t fd;
    size_t at = pair.n;
    while (at > 0 && pair.p[at - 1] != '=')
        at--;
    if (at == 0 || mc_str_to_u64((struct mc_str){pair.p + at, pair.n - at}, INT_MAX, &fd) != MC_OK)
        return MC_ERROR;
    if (at == 1) {
        in->channel = (int)fd;
        return MC_OK;
    }
    for (size_t i = 0; i < in->n; i++) {
        if (in->v[i].fd == (int)fd)
            return MC_ERROR;
    }
    struct mc_inherited *one = add(in, (int)fd);
    if (one)
        one->text = unescape((struct mc_str){pair.p, at - 1});
    return one && one->text ? MC_OK : MC_ERROR;
}

int mc_inherit_parse(struct mc_inherit *in, const char *fds, char *err, size_t errcap)
{
    *in = (struct mc_inherit){.channel = -1};
    for (const char *p = fds; *p;) {
        size_t n = strcspn(p, ";");
        if (parse_pair(in, (struct mc_str){p, n}) != MC_OK) {
            mc_inherit_close(in);
            return bad(err, errcap, "MONOCEROS_FD", "not as monoceros writes it");
        }
        p += n + (p[n] == ';');
    }
    return MC_OK;
}

int mc_inherit_parse_systemd(struct mc_inherit *in, const char *count, const char *names, char *err, size_t errcap)
{
    uint64_t n;
    if (mc_str_to_u64(mc_str(count), MC_INHERIT_MAX, &n) != MC_OK)
        return bad(err, errcap, "LISTEN_FDS", "not a number");
    for (uint64_t i = 0; i < n; i++) {
        size_t len = names ? strcspn(names, ":") : 0;
        struct mc_inherited *one = add(in, MC_INHERIT_FIRST + (int)i);
        if (!one)
            return bad(err, errcap, "LISTEN_FDS", "out of memory");
        one->systemd = true;
        one->text = len ? strndup(names, len) : NULL;
        if (names)
            names = names[len] ? names + len + 1 : NULL;
    }
    return MC_OK;
}

void mc_inherit_print(struct mc_sb *out, const char *address, int fd)
{
    if (out->n)
        mc_sb_addc(out, ';');
    for (const unsigned char *p = (const unsigned char *)(address ? address : ""); *p; p++) {
        if (*p == '%' || *p == ';' || *p < 0x20 || *p == 0x7f)
            mc_sb_addf(out, "%%%02X", *p);
        else
            mc_sb_addc(out, (char)*p);
    }
    mc_sb_addf(out, "=%d", fd);
}

/* It must listen: a descriptor of something else under this number means that the words are not for us. */
static int look_at(struct mc_inherited *one, char *err, size_t errcap)
{
    int listens = 0;
    socklen_t n = sizeof(listens);
    int rc = getsockopt(one->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 ? mc_addr_of_fd(one->fd, &one->addr) : MC_ERROR;
    if (rc == MC_OK && listens)
        return mc_fd_cloexec(one->fd, true);
    snprintf(err, errcap, "descriptor %d, handed down as %s, is no listening socket: %s", one->fd, one->text ? one->text : "LISTEN_FDS",
             rc == MC_OK ? "it does not listen" : strerror(errno));
    return MC_ERROR;
}

static char *take_word(const char *name)
{
    const char *value = getenv(name);
    char *copy = value ? strdup(value) : NULL;
    unsetenv(name);
    return copy;
}

static int open_ours(struct mc_inherit *in, const char *pid, const char *fds, char *err, size_t errcap)
{
    uint64_t parent;
    /* Words for somebody else: left in the environment by a program that knows nothing of them. */
    if (!pid || !fds || mc_str_to_u64(mc_str(pid), INT_MAX, &parent) != MC_OK || parent == 0)
        return MC_OK;
    if (mc_inherit_parse(in, fds, err, errcap) != MC_OK)
        return MC_ERROR;
    in->parent = (pid_t)parent;
    if (in->channel >= 0 && mc_fd_cloexec(in->channel, true) != MC_OK)
        return bad(err, errcap, "MONOCEROS_FD", strerror(errno));
    return MC_OK;
}

int mc_inherit_open(struct mc_inherit *in, char *err, size_t errcap)
{
    char *pid = take_word("MONOCEROS_PID"), *fds = take_word("MONOCEROS_FD");
    char *listen_pid = take_word("LISTEN_PID"), *count = take_word("LISTEN_FDS"), *names = take_word("LISTEN_FDNAMES");
    uint64_t who = 0;
    *in = (struct mc_inherit){.channel = -1};
    unsetenv("LISTEN_PIDFDID");
    int rc = open_ours(in, pid, fds, err, errcap);
    bool for_us = listen_pid && count && mc_str_to_u64(mc_str(listen_pid), INT_MAX, &who) == MC_OK && (pid_t)who == getpid();
    if (rc == MC_OK && for_us)
        rc = mc_inherit_parse_systemd(in, count, names, err, errcap);
    for (size_t i = 0; rc == MC_OK && i < in->n; i++)
        rc = look_at(&in->v[i], err, errcap);
    free(pid);
    free(fds);
    free(listen_pid);
    free(count);
    free(names);
    return rc;
}

/* systemd's "ListenStream=80" is [::]:80, which takes IPv4, too. */
static bool covers(const struct mc_addr *have, const struct mc_addr *want)
{
    return have->family == AF_INET6 && want->family == AF_INET && want->u.in.sin_addr.s_addr == htonl(INADDR_ANY) &&
           IN6_IS_ADDR_UNSPECIFIED(&have->u.in6.sin6_addr) && have->u.in6.sin6_port == want->u.in.sin_port;
}

enum how { BY_TEXT, BY_ADDRESS, BY_COVER, HOWS };

static bool matches(const struct mc_inherited *one, const struct mc_addr *addr, const char *text, enum how how)
{
    if (how == BY_TEXT)
        return !one->systemd && strcmp(one->text, text) == 0;
    return how == BY_ADDRESS ? mc_addr_equal(&one->addr, addr) : one->systemd && covers(&one->addr, addr);
}

int mc_inherit_take(struct mc_inherit *in, const struct mc_addr *addr, const char *text, bool *given)
{
    *given = false;
    if (addr->fd >= 0)
        return -1;
    for (enum how how = BY_TEXT; how < HOWS; how++) {
        for (size_t i = 0; i < in->n; i++) {
            struct mc_inherited *one = &in->v[i];
            if (one->taken || !matches(one, addr, text, how))
                continue;
            int fd = one->systemd ? fcntl(one->fd, F_DUPFD_CLOEXEC, MC_INHERIT_FIRST) : one->fd;
            one->taken = fd >= 0;
            *given = one->systemd;
            return fd;
        }
    }
    return -1;
}

int mc_inherit_take_same(struct mc_inherit *in, const char *text)
{
    for (size_t i = 0; i < in->n; i++) {
        struct mc_inherited *one = &in->v[i];
        if (one->taken || one->systemd || strcmp(one->text, text) != 0)
            continue;
        one->taken = true;
        return one->fd;
    }
    return -1;
}

size_t mc_inherit_systemd(const struct mc_inherit *in)
{
    size_t n = 0;
    for (size_t i = 0; i < in->n; i++)
        n += in->v[i].systemd;
    return n;
}

void mc_inherit_close(struct mc_inherit *in)
{
    size_t kept = 0;
    for (size_t i = 0; i < in->n; i++) {
        struct mc_inherited *one = &in->v[i];
        if (one->systemd) {
            in->v[kept++] = *one;
            continue;
        }
        if (!one->taken)
            mc_fd_close(&one->fd);
        free(one->text);
    }
    in->n = kept;
    if (kept > 0)
        return;
    free(in->v);
    in->v = NULL;
}

struct mc_inherit *mc_inherit_ours(void)
{
    static struct mc_inherit ours = {.channel = -1};
    return &ours;
}
