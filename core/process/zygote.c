/* The zygote, arbiter side: which interpreter, where the extension is, and the exec with descriptors at their fixed numbers.
 * Runs no Python itself: the few lines that load the extension are text here. Called by the arbiter and by its forked child. */
#include "core/config/python.h"
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/process/arbiter.h"
#include "mc_config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What `python3 -c` runs. Old interpreters must understand it well enough to be refused. The directory of '' leaves sys.path first: an app
 * next to us may have a module named like one of the library. ssl and hashlib come before the extension, so that their OpenSSL is the
 * process's first; an interpreter without them is fine. */
static const char boot[] = "import sys, os\n"
                           "if sys.path and sys.path[0] == '': del sys.path[0]\n"
                           "def no(text, code=1):\n"
                           "    import struct\n"
                           "    text = ' '.join(text.split()).encode('utf-8', 'replace')[:239]\n"
                           "    try: os.write(3, struct.pack('=IHHiI240s', 0x4d434d53, 2, 0, code, 0, text))\n"
                           "    except OSError: pass\n"
                           "    os._exit(code)\n"
                           "def main():\n"
                           "    me, v, name = sys.executable, sys.version_info, getattr(sys, 'implementation', None)\n"
                           "    if name is None or name.name != 'cpython' or v < (3, 11):\n"
                           "        no('%s is %s %d.%d: CPython 3.11 or newer is needed' % (me, 'Python' if name is None or name.name == "
                           "'cpython' else name.name, v[0], v[1]))\n"
                           "    if 't' in getattr(sys, 'abiflags', ''):\n"
                           "        no('%s is a free-threaded build of Python %d.%d: a standard build is needed' % (me, v[0], v[1]))\n"
                           "    for module in ('ssl', 'hashlib'):\n"
                           "        try: __import__(module)\n"
                           "        except ImportError: pass\n"
                           "    path, pool = sys.argv[1], int(sys.argv[2])\n"
                           "    try:\n"
                           "        from importlib.machinery import ExtensionFileLoader\n"
                           "        from importlib.util import module_from_spec, spec_from_file_location\n"
                           "        loader = ExtensionFileLoader('_monoceros', path)\n"
                           "        spec = spec_from_file_location('_monoceros', path, loader=loader)\n"
                           "        module = module_from_spec(spec)\n"
                           "        sys.modules['_monoceros'] = module\n"
                           "        loader.exec_module(module)\n"
                           "    except ImportError as e:\n"
                           "        no('%s cannot load %s: %s' % (me, path, e))\n"
                           "    return module.zygote(pool)\n"
                           "code = main()\n"
                           "try: sys.stdout.flush(); sys.stderr.flush()\n"
                           "except Exception: pass\n"
                           "os._exit(code)\n";
_Static_assert(MC_MSG_FAILED == 2 && MC_FD_CHANNEL == 3 && offsetof(struct mc_msg, text) == 16, "as packed in boot");

static bool readable(const char *path)
{
    return access(path, R_OK) == 0;
}

int mc_zygote_find_extension(struct mc_arbiter *a)
{
    static const char name[] = "_monoceros.abi3.so";
    const char *exe = mc_proc_exe(), *slash = strrchr(exe, '/');
    int n = slash ? snprintf(a->extension, sizeof(a->extension), "%.*s/%s", (int)(slash - exe), exe, name) : -1;
    if (n > 0 && (size_t)n < sizeof(a->extension) && readable(a->extension))
        return MC_OK;
    snprintf(a->extension, sizeof(a->extension), "%s", MC_EXTENSION_PATH);
    if (readable(a->extension))
        return MC_OK;
    mc_error("Python apps need %s, which is neither beside %s nor at %s", name, *exe ? exe : "the program", MC_EXTENSION_PATH);
    return MC_ERROR;
}

/* ---- in the forked child ---- */

static const char *home_of(const struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    for (size_t i = 0; i < conf->napps; i++) {
        if (conf->apps[i].pool == pool && conf->apps[i].home)
            return conf->apps[i].home;
    }
    return NULL;
}

/* The fixed numbers may be in use by each other's sources: first all go up out of the way. */
static int place_fds(const struct mc_zygote_exec *x, size_t nlistens)
{
    int from[MC_FD_LISTEN] = {[MC_FD_CHANNEL] = x->channel,
                              [MC_FD_IMAGE] = x->image,
                              [MC_FD_BOARD] = x->board,
                              [MC_FD_ERRORLOG] = x->errorlog,
                              [MC_FD_ACCESSLOG] = x->accesslog,
                              [MC_FD_ZONES] = x->zones};
    int last = MC_FD_LISTEN + (int)nlistens;
    int *high = calloc((size_t)last, sizeof(*high));
    if (!high)
        return MC_ERROR;
    for (int fd = MC_FD_CHANNEL; fd < last; fd++) {
        int source = fd < MC_FD_LISTEN ? from[fd] : x->listen_fds[fd - MC_FD_LISTEN];
        high[fd] = source < 0 ? -1 : fcntl(source, F_DUPFD_CLOEXEC, last);
        if (source >= 0 && high[fd] < 0) {
            free(high);
            return MC_ERROR;
        }
    }
    for (int fd = MC_FD_CHANNEL; fd < last; fd++) {
        if (high[fd] < 0)
            close(fd);
        else
            dup2(high[fd], fd);
    }
    free(high);
    return MC_OK;
}

/* Whoever started us may have left descriptors open that are not CLOEXEC. */
static void hide_above(int first)
{
    enum { CLOEXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC */
    if (syscall(SYS_close_range, (unsigned)first, UINT32_MAX, CLOEXEC) == 0)
        return;
    for (int fd = first; fd < 4096; fd++)
        (void)mc_fd_cloexec(fd, true);
}

/* A sanitized extension needs its runtime before everything else in the process, as we have it ourselves. */
static void preload_sanitizer(void)
{
    size_t n;
    char *maps = mc_fd_read_file("/proc/self/maps", 1 << 22, &n);
    char *at = maps ? strstr(maps, "/libasan.so") : NULL;
    if (maps && !at)
        at = strstr(maps, "/libtsan.so");
    if (at) {
        while (at > maps && at[-1] != ' ' && at[-1] != '\n')
            at--;
        at[strcspn(at, "\n")] = '\0';
        const char *others = getenv("LD_PRELOAD");
        char list[PATH_MAX];
        snprintf(list, sizeof(list), "%s%s%s", at, others ? ":" : "", others ? others : "");
        setenv("LD_PRELOAD", list, 1);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
    }
    free(maps);
}

int mc_zygote_exec(const struct mc_generation *g, const struct mc_conf_pool *pool, const struct mc_zygote_exec *x, const char **path)
{
    static char found[PATH_MAX];
    char index[16];
    *path = mc_python_find(pool->set.python, home_of(g->conf, pool), found, sizeof(found));
    snprintf(index, sizeof(index), "%u", pool->index);
    /* A Ctrl-C reaches everyone; the interpreter would answer with a traceback until the extension has its handlers. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    preload_sanitizer();
    if (place_fds(x, g->conf->nlistens) != MC_OK)
        return x->channel;
    hide_above(MC_FD_LISTEN + (int)g->conf->nlistens);
    char *argv[] = {(char *)(uintptr_t)*path, (char *)(uintptr_t) "-c", (char *)(uintptr_t)boot, (char *)(uintptr_t)g->arbiter->extension, index, NULL};
    execv(*path, argv);
    return MC_FD_CHANNEL;
}
