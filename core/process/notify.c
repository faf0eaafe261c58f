/* sd_notify, without libsystemd: the protocol is a text of NAME=VALUE lines in one datagram, to a unix socket that may be abstract.
 * Never waits: a manager that does not read loses a message, not us. Used by the arbiter only. */
#include "core/process/notify.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/os/fd.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    int fd;
    struct sockaddr_un to;
    socklen_t len; /* 0: nobody listens */
    bool main, ready;
    uint64_t every_ms, next_ms; /* of the watchdog */
    char status[256];
} self = {.fd = -1};

socklen_t mc_notify_address(const char *text, struct sockaddr_un *out)
{
    size_t n = text ? strlen(text) : 0;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    /* A file's name ends with a NUL, an abstract one with its length. */
    if (n < 2 || (text[0] != '/' && text[0] != '@') || n + (text[0] == '/') > sizeof(out->sun_path))
        return 0;
    memcpy(out->sun_path, text, n);
    if (text[0] == '@')
        out->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (text[0] == '/'));
}

uint64_t mc_notify_watchdog(const char *usec, const char *pid, pid_t own)
{
    uint64_t us, who;
    if (!usec || mc_str_to_u64(mc_str(usec), UINT64_MAX, &us) != MC_OK || us == 0)
        return 0;
    if (pid && (mc_str_to_u64(mc_str(pid), INT_MAX, &who) != MC_OK || (pid_t)who != own))
        return 0;
    return us < 2000 ? 1 : us / 2000;
}

static void send_text(const char *text)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (!self.len || !self.main)
        return;
    ssize_t n = sendto(self.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&self.to, self.len);
    if (n < 0 && mc_log_limited(&limit, &missed))
        mc_warn("cannot tell the service manager (NOTIFY_SOCKET): %m");
}

void mc_notify_open(bool main)
{
    const char *where = getenv("NOTIFY_SOCKET");
    self.main = main;
    self.len = mc_notify_address(where, &self.to);
    self.every_ms = mc_notify_watchdog(getenv("WATCHDOG_USEC"), main ? getenv("WATCHDOG_PID") : NULL, getpid());
    if (where && !self.len)
        mc_warn("NOTIFY_SOCKET is neither a path nor an abstract name: the service manager is told nothing");
    if (self.len && (self.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) {
        mc_warn("cannot tell the service manager (NOTIFY_SOCKET): %m");
        self.len = 0;
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void mc_notify_promote(uint64_t now)
{
    char text[sizeof(self.status) + 32];
    if (self.main)
        return;
    self.main = true;
    self.next_ms = now;
    snprintf(text, sizeof(text), "%s%s%s", self.ready ? "READY=1\n" : "", *self.status ? "STATUS=" : "", self.status);
    send_text(text);
}

void mc_notify_close(void)
{
    mc_fd_close(&self.fd);
    self.len = 0;
}

void mc_notify_ready(void)
{
    if (self.ready)
        return;
    self.ready = true;
    send_text("READY=1");
}

void mc_notify_status(const char *fmt, ...)
{
    char text[sizeof(self.status)], line[sizeof(self.status) + 8];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!self.len || strcmp(text, self.status) == 0)
        return;
    memcpy(self.status, text, sizeof(text));
    snprintf(line, sizeof(line), "STATUS=%s", text);
    send_text(line);
}

uint64_t mc_notify_alive(uint64_t now)
{
    if (!self.len || !self.main || !self.every_ms)
        return 0;
    if (now >= self.next_ms) {
        send_text("WATCHDOG=1");
        self.next_ms = now + self.every_ms;
    }
    return self.next_ms;
}

void mc_notify_reloading(void)
{
    char text[64];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)mc_clock_ns() / 1000);
    self.ready = false;
    send_text(text);
}

void mc_notify_extend(uint64_t ms)
{
    char text[64];
    snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long)ms * 1000);
    send_text(text);
}

void mc_notify_stopping(uint64_t limit_ms)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "STOPPING=1");
    if (limit_ms)
        snprintf(text + n, sizeof(text) - (size_t)n, "\nEXTEND_TIMEOUT_USEC=%llu", (unsigned long long)limit_ms * 1000);
    send_text(text);
}

void mc_notify_main(pid_t pid)
{
    char text[64];
    snprintf(text, sizeof(text), "MAINPID=%ld", (long)pid);
    send_text(text);
    self.main = false;
}
