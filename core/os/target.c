/* Targets of messages: parse, print, connect. Never waits but for names (mc_target_parse). Used by log modules. */
#include "core/os/target.h"

#include "core/os/fd.h"

#include <errno.h>
#include <stdio.h>

static const char *after(const char *text, const char *start)
{
    size_t n = strlen(start);
    return strncmp(text, start, n) == 0 ? text + n : NULL;
}

/* "PATH#dgram" without its end. */
static int unix_path(const char *path, struct mc_target *out, char copy[MC_TARGET_TEXT], char *err, size_t errcap)
{
    const char *kind = strchr(path, '#');
    size_t n = kind ? (size_t)(kind - path) : strlen(path);
    if (kind && strcmp(kind, "#dgram") != 0 && strcmp(kind, "#stream") != 0) {
        snprintf(err, errcap, "'%s': a socket is '#dgram' or '#stream'", path);
        return MC_ERROR;
    }
    out->type = kind && strcmp(kind, "#stream") == 0 ? SOCK_STREAM : SOCK_DGRAM;
    if ((size_t)snprintf(copy, MC_TARGET_TEXT, "unix:%.*s", (int)n, path) >= MC_TARGET_TEXT) {
        snprintf(err, errcap, "'%.60s…' is too long", path);
        return MC_ERROR;
    }
    return MC_OK;
}

/* Sorts out type and address; *address is to be given to mc_addr_parse(). */
static int split(const char *text, unsigned port, struct mc_target *out, char address[MC_TARGET_TEXT], char *err, size_t errcap)
{
    const char *rest = after(text, "unix://");
    struct mc_str host, number;
    if (!rest)
        rest = after(text, "unix:");
    if (rest)
        return unix_path(rest, out, address, err, errcap);
    rest = after(text, "tcp://");
    out->type = rest ? SOCK_STREAM : SOCK_DGRAM;
    if (!rest)
        rest = after(text, "udp://");
    if (!rest)
        rest = text;
    if (*rest == '\0')
        rest = "localhost";
    uint64_t value = port;
    bool bad = strpbrk(rest, "/ \t") != NULL || mc_addr_split(rest, &host, &number, err, errcap) != MC_OK || host.n == 0;
    if (bad || (number.p && (mc_str_to_u64(number, 65535, &value) != MC_OK || value == 0))) {
        snprintf(err, errcap, "expected udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, not '%.80s'", text);
        return MC_ERROR;
    }
    bool v6 = rest[0] == '[';
    snprintf(address, MC_TARGET_TEXT, "%s%.*s%s:%u", v6 ? "[" : "", host.n > 100 ? 100 : (int)host.n, host.p, v6 ? "]" : "", (unsigned)value);
    return MC_OK;
}

int mc_target_check(const char *text, char *err, size_t errcap)
{
    struct mc_target t;
    char address[MC_TARGET_TEXT];
    return split(text, 1, &t, address, err, errcap);
}

int mc_target_parse(const char *text, unsigned port, struct mc_target *out, char *err, size_t errcap)
{
    char address[MC_TARGET_TEXT];
    int rc = split(text, port, out, address, err, errcap);
    return rc == MC_OK ? mc_addr_parse(address, &out->addr, err, errcap) : rc;
}

void mc_target_print(const struct mc_target *t, char out[MC_TARGET_TEXT])
{
    char text[MC_TARGET_TEXT - 16];
    mc_addr_print(&t->addr, text, sizeof(text));
    bool stream = t->type == SOCK_STREAM;
    if (t->addr.family == AF_UNIX)
        snprintf(out, MC_TARGET_TEXT, "unix://%s%s", text + 5, stream ? "#stream" : "#dgram");
    else
        snprintf(out, MC_TARGET_TEXT, "%s://%s", stream ? "tcp" : "udp", text);
}

int mc_target_connect(const struct mc_target *t)
{
    int fd = socket(t->addr.family, t->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, &t->addr.u.sa, t->addr.len) < 0 && errno != EINPROGRESS)
        mc_fd_close(&fd);
    return fd;
}

void mc_target_forget(const struct mc_target *t, int *fd)
{
    union {
        struct sockaddr sa;
        struct sockaddr_storage room;
    } peer;
    socklen_t n = sizeof(peer);
    if (*fd >= 0 && getpeername(*fd, &peer.sa, &n) == 0 && n <= t->addr.len && memcmp(&peer, &t->addr.u, n) == 0)
        mc_fd_close(fd);
    *fd = -1;
}
