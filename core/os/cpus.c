/* How many CPUs this process may use: its affinity mask, cut by the CPU quota of its cgroup (v2 cpu.max, v1 cfs quota) and of the
 * cgroups above it. Called at start-up to choose defaults and to warn. */
#include "core/os/fd.h"
#include "core/os/proc.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned affinity(void)
{
    for (int cpus = 1024; cpus <= 65536; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        if (!set)
            return 1;
        int rc = sched_getaffinity(0, size, set), n = rc == 0 ? CPU_COUNT_S(size, set) : 0;
        int why = errno;
        CPU_FREE(set);
        if (rc == 0)
            return n > 0 ? (unsigned)n : 1;
        if (why != EINVAL)
            break; /* EINVAL: the kernel's mask is longer */
    }
    return 1;
}

static char *read_at(const char *root, const char *dir, const char *file)
{
    char path[PATH_MAX];
    size_t n;
    if ((size_t)snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s/%s", root, dir, file) >= sizeof(path))
        return NULL;
    return mc_fd_read_file(path, 4096, &n);
}

static void take_less(unsigned *cpus, long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return;
    long long n = quota / period + (quota % period != 0);
    if (n < *cpus)
        *cpus = n > 0 ? (unsigned)n : 1;
}

static void apply_v2(const char *root, const char *dir, unsigned *cpus)
{
    long long quota, period;
    char *text = read_at(root, dir, "cpu.max");
    if (text && sscanf(text, "%lld %lld", &quota, &period) == 2)
        take_less(cpus, quota, period); /* "max 100000" is no number */
    free(text);
}

static void apply_v1(const char *root, const char *dir, unsigned *cpus)
{
    char *quota = read_at(root, dir, "cpu.cfs_quota_us"), *period = read_at(root, dir, "cpu.cfs_period_us");
    if (quota && period)
        take_less(cpus, atoll(quota), atoll(period));
    free(quota);
    free(period);
}

/* The group itself and all above it. In a container the path may name what is not mounted here: the top is tried in any case. */
static void walk_up(const char *root, const char *mount, const char *group, void (*apply)(const char *, const char *, unsigned *),
                    unsigned *cpus)
{
    char dir[PATH_MAX];
    size_t top = strlen(mount);
    if ((size_t)snprintf(dir, sizeof(dir), "%s%s", mount, group) >= sizeof(dir))
        return;
    for (;;) {
        apply(root, dir, cpus);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < top || strlen(dir) == top)
            return;
        *slash = '\0';
    }
}

static bool names_cpu(const char *controllers)
{
    for (const char *p = controllers; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        if (strcspn(p, ",") == 3 && strncmp(p, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* "0::/user.slice" is v2, "4:cpu,cpuacct:/docker/0123" is v1. */
static void apply_line(const char *root, char *line, unsigned *cpus)
{
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    char mount[64];
    if (!group)
        return;
    *controllers++ = '\0';
    *group++ = '\0';
    if (*controllers == '\0') {
        walk_up(root, "", group, apply_v2, cpus);
        walk_up(root, "/unified", group, apply_v2, cpus);
        return;
    }
    if (!names_cpu(controllers) || (size_t)snprintf(mount, sizeof(mount), "/%s", controllers) >= sizeof(mount))
        return;
    walk_up(root, mount, group, apply_v1, cpus);
    if (strcmp(mount, "/cpu") != 0)
        walk_up(root, "/cpu", group, apply_v1, cpus);
}

unsigned mc_proc_cpus_under(const char *root, unsigned cpus)
{
    char path[PATH_MAX], *state = NULL;
    size_t n;
    if ((size_t)snprintf(path, sizeof(path), "%s/proc/self/cgroup", root) >= sizeof(path))
        return cpus;
    char *text = mc_fd_read_file(path, 65536, &n);
    if (!text)
        return cpus;
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
        apply_line(root, line, &cpus);
    free(text);
    return cpus;
}

unsigned mc_proc_cpus(void)
{
    return mc_proc_cpus_under("", affinity());
}
