/* The process title: overwrites the memory of the arguments that the kernel shows in /proc/PID/cmdline. The place comes from
 * /proc/self/stat, because a foreign interpreter owns main() there. The room of the environment is used only by our own program, which
 * says so with mc_proc_title_own() and has its environment moved away first.
 * Called by every process of the server, by the thread that starts it. */
#include "core/os/fd.h"
#include "core/os/proc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct {
    bool known;
    char *start;
    size_t room; /* bytes of the arguments, with mc_proc_title_own() also of the environment behind them */
} area;

/* Numbers 48 to 51 of proc(5) stat; the name in field 2 may hold blanks and brackets. */
static int read_stat(unsigned long where[4])
{
    enum { FIRST = 48, AFTER_NAME = 3 };
    size_t n;
    char *text = mc_fd_read_file("/proc/self/stat", 8192, &n);
    char *p = text ? strrchr(text, ')') : NULL;
    for (int field = AFTER_NAME; p && field <= FIRST; field++) {
        p = strchr(p + 1, ' ');
    }
    int found = p ? sscanf(p, "%lu %lu %lu %lu", &where[0], &where[1], &where[2], &where[3]) : 0;
    free(text);
    return found == 4 ? MC_OK : MC_ERROR;
}

/* An emulator (valgrind) runs this process with arguments elsewhere; what the kernel knows is its own, and it still reads them. */
static bool ours(unsigned long start, unsigned long end)
{
    uintptr_t first = (uintptr_t)program_invocation_name;
    return first >= start && first < end;
}

static bool locate(void)
{
    unsigned long w[4];
    if (area.known)
        return area.start != NULL;
    area.known = true;
    if (read_stat(w) != MC_OK || w[0] == 0 || w[1] <= w[0])
        return false;
    if (!ours(w[0], w[1]))
        return false;
    area.start = (char *)(uintptr_t)w[0];
    area.room = w[1] - w[0];
    return true;
}

/* Own copies of the strings; what the vector itself is does not matter to the kernel. */
static int move_environment(void)
{
    static char **copy, *text; /* setenv() takes another vector, unsetenv() forgets strings: both must be known to somebody then */
    size_t n = 0, bytes = 1;
    for (; environ && environ[n]; n++)
        bytes += strlen(environ[n]) + 1;
    copy = calloc(n + 1, sizeof(*copy));
    text = malloc(bytes);
    if (!copy || !text) {
        free(copy);
        free(text);
        return MC_ERROR;
    }
    char *at = text;
    for (size_t i = 0; i < n; i++) {
        copy[i] = at;
        at = stpcpy(at, environ[i]) + 1;
    }
    environ = copy;
    return MC_OK;
}

int mc_proc_title_own(void)
{
    unsigned long w[4];
    if (!locate() || read_stat(w) != MC_OK || move_environment() != MC_OK)
        return MC_ERROR;
    if (w[1] == w[2] && w[3] > w[2])
        area.room = w[3] - w[0];
    return MC_OK;
}

/* The name of the thread, which is what `ps -e`, top and killall show: the first word of the title. */
static void set_name(const char *title)
{
    char name[16];
    size_t n = strcspn(title, ": ");
    snprintf(name, sizeof(name), "%.*s", (int)n, title);
    prctl(PR_SET_NAME, name, 0, 0, 0);
}

void mc_proc_title(const char *fmt, ...)
{
    char title[512];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(title, sizeof(title), fmt, ap);
    va_end(ap);
    if (len < 0)
        return;
    set_name(title);
    if (!locate())
        return;
    size_t n = strlen(title);
    if (n >= area.room)
        n = area.room - 1;
    /* The kernel goes on into the environment only when the last byte of the arguments is not NUL. */
    memset(area.start, 0, area.room);
    memcpy(area.start, title, n);
}
