/* What the arbiter hands to its children, and the channel between them. Included by both sides and by modules/python. */
#ifndef MC_PROCESS_CHILD_H
#define MC_PROCESS_CHILD_H

#include "core/base/base.h"

/* Descriptors that an exec'd zygote finds at fixed numbers; all others are CLOEXEC. */
enum {
    MC_FD_CHANNEL = 3, /* SOCK_SEQPACKET to the arbiter */
    MC_FD_IMAGE = 4,   /* sealed memfd: the configuration in normal form */
    MC_FD_BOARD = 5,   /* scoreboard memfd */
    MC_FD_ERRORLOG = 6,
    MC_FD_ACCESSLOG = 7, /* closed when there is none */
    MC_FD_ZONES = 8,     /* memfd of the zones; closed when there is none */
    MC_FD_LISTEN = 9     /* first listener; the rest follow in conf->listens order */
};

enum mc_msg_kind {
    /* up */
    MC_MSG_PID,    /* a worker names itself (credentials checked by the arbiter) */
    MC_MSG_READY,  /* worker: accepts; zygote: loaded, can spawn */
    MC_MSG_FAILED, /* code = MC_EXIT_BOOT or MC_EXIT_APP; text = one line (value 1: the log has it already); the sender exits with that code */
    /* down */
    MC_MSG_SPAWN, /* zygote: slot index in `value`, in `code` the how-manieth worker of the server it is, text: how many MC_MSG_LISTEN wait in it; fds: the new worker's channel, and its secrets when the pool has any */
    /* worker: finish and leave; value 1: all do and the queues must be served, 0: others take them, but for those of the listeners whose bits are set in
     * text (conf->listens order, the lowest bit of a byte first); zygote: leave */
    MC_MSG_DRAIN,
    MC_MSG_STOP,  /* worker: leave now */
    MC_MSG_LOGS,  /* new log fds: errorlog, then accesslog if value & 1 */
    MC_MSG_CHECK, /* zygote: import the apps, answer READY or FAILED */
    /* up */
    MC_MSG_RECYCLE, /* worker: wants to be replaced (text: why); serves on until told to leave */
    /* down */
    MC_MSG_SECRETS, /* worker: new certificates and keys, one fd: their memfd */
    MC_MSG_SHARE, /* worker: others serve this listener (index in `value`), too, or (code 0) no longer: leave it to them at the end */
    MC_MSG_HOOK, /* zygote: code is an enum mc_hook, with its facts in value and text; answered in turn */
    /* up */
    MC_MSG_HOOKED, /* zygote: a HOOK has been dealt with, or (hooks only) a SPAWN */
    /* up */
    MC_MSG_NO_CLIENTS, /* worker that drains: it has no clients of its own any more, and stays for the other pools' workers */
    /* down */
    MC_MSG_HOPS_END, /* worker: they have gone, too: leave */
    /* up */
    MC_MSG_FILES, /* worker: files that it has loaded, one fd: see mc_watch_files() */
    /* down */
    MC_MSG_LISTEN, /* worker, one fd: accept here, too (a listener of the index in `value`), until nothing comes any more, code 1: another program has it, too; before its birth: its own */
    MC_MSG_KINDS
};

/* What the arbiter tells those of Gunicorn's hooks that are the server's; they run in a zygote. */
enum mc_hook {
    MC_HOOK_STARTING,
    MC_HOOK_READY,
    MC_HOOK_BORN,       /* no hook: value is the pid of a worker, text its age */
    MC_HOOK_GONE,       /* no hook: the same of one that is gone, and another zygote's */
    MC_HOOK_CHILD_EXIT, /* the same of one's own */
    MC_HOOK_NWORKERS,   /* value is how many are wanted, text how many were; "": none yet */
    MC_HOOK_RELOAD,
    MC_HOOK_EXIT,
    MC_HOOK_PRE_EXEC,
};

#define MC_MSG_MAGIC 0x4d434d53u
enum { MC_MSG_TEXT = 240 };

struct mc_msg {
    uint32_t magic; /* MC_MSG_MAGIC, set by mc_channel_send() */
    uint16_t kind;
    uint16_t nfds; /* set by mc_channel_send() */
    int32_t code;
    uint32_t value;
    char text[MC_MSG_TEXT]; /* NUL-terminated */
};

/* MC_OK; MC_AGAIN (would block); MC_ERROR (errno: EBADMSG malformed, ECONNRESET or EPIPE the other side is gone). Fds are CLOEXEC. Never block.
 * pair: fds[0] is the arbiter's end, which learns the sender (SCM_CREDENTIALS) as *sender_pid; elsewhere that is 0. */
int mc_channel_pair(int fds[2]);
int mc_channel_send(int fd, const struct mc_msg *m, const int *fds, int nfds);
int mc_channel_recv(int fd, struct mc_msg *m, int *fds, int maxfds, pid_t *sender_pid);

struct mc_conf;
struct mc_conf_pool;
struct mc_slot;

/* stdio.c: with capture_output, stdout and stderr become the error log. In workers and zygotes, when they begin and when the log was opened again. */
void mc_stdio_capture(const struct mc_conf *conf, int errorlog);

/* ---- worker side: the worker's main, after fork, privileges and parentage are settled ---- */
struct mc_child_start {
    const struct mc_conf *conf;
    const struct mc_conf_pool *pool;
    struct mc_slot *slot;
    struct mc_slot *slots; /* the whole scoreboard */
    unsigned nslots;
    int channel;
    int accesslog; /* -1: none */
    int secrets;   /* -1: none; closed by the worker */
    pid_t arbiter;
    const int *listen_fds; /* conf->listens order; -1 for those of other pools */
};
/* Installs the signal handlers, names itself to the arbiter, opens the worker (apps are imported), serves until told to leave.
 * Returns the exit code. May sleep. */
int mc_child_worker(const struct mc_child_start *start);
/* With `reload`: tell the arbiter which files this worker has loaded (see mc_watch_files). The fd stays the caller's. Any thread. */
void mc_child_files(int fd);

/* ---- zygote side, called by modules/python inside the user's interpreter ---- */
struct mc_zygote_hooks {
    /* Before everything else: what apps expect around them. MC_OK or an exit code, logged, and a line in err. */
    int (*open)(const struct mc_conf *conf, const struct mc_conf_pool *pool, char *err, size_t errcap);
    bool (*tell)(enum mc_hook what, uint32_t value, const char *text); /* MC_MSG_HOOK; true: the server shall not start */
    void (*before_birth)(unsigned age);                                /* a worker is forked next */
    /* Import the pool's apps in this process (preload_app, and MC_MSG_CHECK). MC_OK or an exit code; the traceback is in the error log and a line in err. */
    int (*preload)(const struct mc_conf *conf, const struct mc_conf_pool *pool, char *err, size_t errcap);
    void (*before_fork)(void);
    void (*after_fork_parent)(void);
    void (*after_fork_child)(void); /* in the worker, once its parent is the arbiter */
    /* Called when the zygote waits for a message (release the GIL, run pending signals); may be NULL. */
    void (*before_sleep)(void);
    void (*after_sleep)(void);
};
/* The zygote's life: reads image and board from the fixed fds, answers spawns, returns the exit code when the arbiter says so or dies.
 * In a worker it does not return: it runs mc_child_worker() and calls leave(code). */
int mc_zygote_run(const struct mc_zygote_hooks *hooks, unsigned pool_index, MC_NORETURN void (*leave)(int code));

#endif
