/* The arbiter's own records. Private to core/process. One array of kids, index = slot of the scoreboard; one zygote a Python pool. What came of one
 * load of the configuration is a generation: who needs a setting asks the generation of his pool, or that of the arbiter for all others. */
#ifndef MC_PROCESS_ARBITER_H
#define MC_PROCESS_ARBITER_H

#include "core/config/conf.h"
#include "core/event/loop.h"
#include "core/process/child.h"
#include "core/process/policy.h"
#include "core/process/scale.h"
#include "core/process/scoreboard.h"
#include "core/process/tally.h"

#include <signal.h>

enum mc_life {
    MC_LIFE_NONE,
    MC_LIFE_ASKED,   /* the zygote was asked for it; no pid yet */
    MC_LIFE_BOOTING, /* runs, not ready */
    MC_LIFE_READY,
    MC_LIFE_LEAVING, /* was told to leave */
};

/* Why we killed a kid: what the reap line says. */
enum mc_kill { MC_KILL_NONE, MC_KILL_TIMEOUT, MC_KILL_REQUEST, MC_KILL_GRACE, MC_KILL_QUICK, MC_KILL_FORCED, MC_KILL_CHANNEL };

struct mc_arbiter;
struct mc_generation;
struct mc_arb_pool;

/* A worker, or (slot == NULL) a zygote. */
struct mc_kid {
    struct mc_arbiter *arbiter;
    struct mc_arb_pool *pool;
    struct mc_slot *slot;
    unsigned index;
    enum mc_life life;
    pid_t pid;
    struct mc_io io; /* the channel; fd -1: closed */
    uint64_t started_ms, ready_ms;
    bool recycling;        /* it has asked to be replaced… */
    enum mc_restart why;   /* …for this */
    bool proved;           /* see mc_policy_proved() */
    uint64_t aborted_ms;   /* SIGABRT was sent */
    uint64_t kill_ms;      /* SIGKILL is due; 0: never */
    enum mc_kill kill_why; /* the reason of that */
    enum mc_kill killed;   /* a fatal signal was sent, and why */
    int failed;            /* code of MC_MSG_FAILED */
    bool no_clients;       /* it serves the other pools' workers only, and leaves when they have gone */
    unsigned seat;         /* which of the sockets of an address (seats.c) */
    bool owed;             /* new secrets that its channel had no room for */
    unsigned age;          /* the how-manieth worker of this arbiter; 0: a zygote */
    unsigned hooks;        /* zygote: messages for hooks that it has not dealt with yet, since… */
    uint64_t hook_ms;
};

struct mc_arb_pool {
    struct mc_generation *gen;
    const struct mc_conf_pool *conf;
    unsigned wanted;
    bool was_ready; /* a worker of this generation has been ready */
    struct mc_policy_births births;
    struct mc_scale scale;
    unsigned busy, waiting; /* as of the last sample, for the scoreboard */
    unsigned cpus;          /* processors that one worker can make use of */
    int secrets;           /* sealed memfd for its workers; -1: they need none */
    int64_t keys_next;     /* real time, s: gather again; 0: no need */
    bool has_keys; /* certificates and such, beside the secrets of hops */
    pid_t fetcher;         /* a child that asks others for what modules want to know; 0: none */
    int fetched;           /* memfd with its answers */
    int64_t fetch_next;    /* real time, s: no other one before */
    struct mc_kid zygote;
};

/* A loaded configuration and what was made of it. Freed when its last kid has gone. */
struct mc_generation {
    struct mc_arbiter *arbiter;
    struct mc_generation *older; /* the one that served before, while it has kids; NULL: none */
    unsigned number;             /* from 1 */
    bool announced;              /* its hooks know that it has begun */
    struct mc_conf *conf;        /* its own */
    struct mc_arb_pool *pools;   /* conf->pools order */
    int errorlog, accesslog;     /* accesslog -1: none */
    int image;                   /* sealed memfd for zygotes; -1: none */
    struct mc_shm zones;         /* fd -1: none */
    int *listen_fds;             /* conf->listens order; -1 once closed */
    struct mc_arb_place {
        dev_t dev;
        ino_t ino;
        bool given, shared; /* whose the socket is, too: see shares.c */
    } *places; /* the files of unix listeners, in the same order; ino 0: none */
};

enum mc_reload_state {
    MC_RELOAD_NONE,
    MC_RELOAD_LOADING, /* a child reads the configuration */
    MC_RELOAD_PROVING, /* a fresh generation starts its first workers */
    MC_RELOAD_ROLLING, /* it serves; older ones still have workers that were not told to leave */
};

struct mc_reload {
    enum mc_reload_state state;
    uint64_t since_ms; /* of this state */
    bool pending;      /* one is to begin as soon as it may */
    int change;        /* TTIN and TTOU since it was asked for */
    pid_t loader;      /* leader of its process group; 0: none */
    int loaded;        /* memfd: what it writes */
    bool late;         /* it was killed for that */
    unsigned done, failed;
    char failure[512]; /* why the last one failed; "": it did not */
};

enum mc_stopping { MC_STOP_NOT, MC_STOP_GRACEFUL, MC_STOP_QUICK, MC_STOP_FORCED };

struct mc_arbiter {
    struct mc_generation *gen;   /* the one that serves; NULL only before the start and after the end */
    struct mc_generation *fresh; /* the one that has still to prove itself: fresh->older is gen. NULL: none */
    unsigned made;               /* generations so far */
    struct mc_reload reload;
    pid_t pid;
    mode_t umask; /* that we were started with */
    bool check; /* --check-config: import the apps, serve nothing */
    struct mc_loop loop;
    struct mc_io signals;
    uint64_t changed_ms; /* files of secrets have changed: read them then; 0: no */
    struct mc_board board;
    struct mc_seats *seats; /* sockets of reuse_port beyond the first of each address */
    struct mc_tally *tally;
    struct mc_arb_hop *hops; /* hops.c: sockets of pools */
    bool hops_ended;
    struct mc_kid *kids;
    unsigned nkids;
    unsigned born;        /* workers so far */
    struct mc_arb_gone {
        pid_t pid;
        unsigned age;
    } gone[64];           /* workers whose child_exit nobody could take yet */
    unsigned nowed;
    char *pidfile;        /* written by us, as it is called now; NULL: none */
    char extension[4096]; /* path of _monoceros.abi3.so */
    enum mc_stopping stopping;
    uint64_t stop_ms;           /* shutdown_delay runs until then; 0: it does not */
    int code;                   /* exit code */
    const char *reason;         /* of a halt */
    uint64_t awake_ms, next_ms; /* see mc_policy_watch; when to look again */
    uint64_t metrics_ms; /* numbers are due */
    struct mc_log_limit storm;
    int64_t oom_kills; /* of our cgroup, as seen last; -1: unknown */
};

/* ---- arbiter.c ---- */
/* All of it: start, loop, stop; frees conf. Returns the exit code. May sleep. */
int mc_arbiter_run(struct mc_conf *conf, bool check);
/* Name for titles. */
const char *mc_arbiter_name(const struct mc_conf *conf);
/* KEY=VALUE words into our own environment. */
void mc_arbiter_set_env(const struct mc_strv *words);
void mc_arbiter_title(const struct mc_arbiter *a);
/* WINCH: all workers leave; and the contrary: pools without workers get them again. */
void mc_arbiter_step_back(struct mc_arbiter *a);
void mc_arbiter_step_forward(struct mc_arbiter *a);
/* Look again at `when` at the latest. */
void mc_arbiter_wake_at(struct mc_arbiter *a, uint64_t when);


/* ---- generation.c ---- */
/* A generation of this configuration, which becomes its own, with its pools; nothing is opened yet. NULL: no memory, and conf is still the caller's. */
struct mc_generation *mc_generation_make(struct mc_arbiter *a, struct mc_conf *conf, unsigned number);
/* Zones and image. MC_OK or MC_ERROR (logged). */
int mc_generation_prepare(struct mc_generation *g);
/* All that it holds; its listeners are closed, their files stay. It may have no kids any more. */
void mc_generation_free(struct mc_generation **g);
/* Workers of a pool, as its settings say. */
unsigned mc_generation_count(const struct mc_conf_pool *p);
/* Workers that its pools want, together. */
unsigned mc_generation_workers(const struct mc_generation *g);
/* Every pool of it has had a worker that was ready. */
bool mc_generation_ready(const struct mc_generation *g);
/* The pool of that name, or NULL. */
struct mc_arb_pool *mc_generation_pool(const struct mc_generation *g, const char *name);
/* The pools of all generations, the newest first: NULL begins, NULL is the end. */
struct mc_arb_pool *mc_generation_next_pool(const struct mc_arbiter *a, const struct mc_arb_pool *prev);

/* ---- roll.c ---- */
/* As many workers as are wanted: births, those that leave, replacements; and --check-config's children. On each turn. */
void mc_roll_tend(struct mc_arbiter *a);
/* All of a generation are told to leave: it has been given up. */
void mc_roll_dismiss(struct mc_generation *g);
/* Have all workers of older generations been told to leave? */
bool mc_roll_done(const struct mc_arbiter *a);

/* ---- reload.c ---- */
void mc_reload_ask(struct mc_arbiter *a); /* HUP: now, or after the one that is under way */
void mc_reload_tend(struct mc_arbiter *a); /* on each turn */
void mc_reload_stop(struct mc_arbiter *a); /* the server stops */
/* A child that is no kid has ended: was it ours? */
bool mc_reload_reaped(struct mc_arbiter *a, pid_t pid, int status);
/* A birth of the fresh generation has failed. */
void mc_reload_unborn(struct mc_arbiter *a, struct mc_arb_pool *p, const struct mc_policy_end *e);
/* Why the reload fails, if it does; then (fresh generations only) let it fail. */
void mc_reload_note(struct mc_arbiter *a, const char *fmt, ...) MC_PRINTF(2, 3);
void mc_reload_discard(struct mc_arbiter *a);

/* ---- scaling.c ---- */
/* The bounds of a new pool; it begins with what a pool of its name in the generation that serves has come to want, if that follows the load, too. */
void mc_scaling_open(struct mc_arb_pool *p);
/* How many workers it may come to want. */
unsigned mc_scaling_most(const struct mc_arb_pool *p);
/* What a ready worker is busy with: requests, and connections that are not idle. */
unsigned mc_scaling_activity(const struct mc_kid *k);
/* Sample, decide, change what pools want. On each turn. */
void mc_scaling_tend(struct mc_arbiter *a);

/* ---- listeners.c ---- */
/* Bind all, 5 tries 1 s apart. MC_OK or MC_ERROR (logged, or interrupted by a signal). May sleep. */
int mc_listeners_open(struct mc_generation *g);
void mc_listeners_log(struct mc_generation *g);
/* For a generation whose ->older serves: what that has, too, is taken over, the rest is bound at once. MC_OK or MC_ERROR with err. */
int mc_listeners_inherit(struct mc_generation *g, char *err, size_t errcap);
/* Has a configuration the i-th listener of another one? */
bool mc_listeners_has(const struct mc_conf *conf, const struct mc_conf *other, size_t i);
/* Our copies are closed, because a->gen is another one; what it does not have is refused first. */
void mc_listeners_part(struct mc_generation *g);
/* Which listeners of g only its own workers serve: for MC_MSG_DRAIN. */
void mc_listeners_lone(const struct mc_generation *g, struct mc_msg *m);
/* No new connection from now on; those that exist still reach the workers. Then our copies are closed. */
void mc_listeners_refuse(struct mc_generation *g);
/* One of them; also from a worker whose arbiter has died. all_leave: everybody who serves it has been told to; a unix socket never comes back then. */
void mc_listeners_refuse_fd(int fd, const struct mc_addr *addr, bool all_leave);
void mc_listeners_close(struct mc_generation *g);
/* The contrary of mc_listeners_refuse_fd(), for one that another program has switched off. */
void mc_listeners_admit(const struct mc_generation *g, size_t i);

/* ---- announce.c ---- */
/* The service manager: ready, status, watchdog. On each turn. */
void mc_announce_tend(struct mc_arbiter *a);
/* The end begins. */
void mc_announce_stop(struct mc_arbiter *a);
void mc_announce_delay(uint64_t delay_ms);

/* ---- seats.c: reuse_port ---- */
/* A seat for a worker that is about to be born, with its sockets; then its socket for the i-th listener (that of the generation without reuse_port); -1: another pool's. */
void mc_seats_take(struct mc_kid *k);
int mc_seats_fd(const struct mc_kid *k, size_t i);
/* A worker of this newer pool accepts at its seat. */
bool mc_seats_has_heir(const struct mc_kid *k, const struct mc_arb_pool *newer);
/* Fewer workers are wanted: one whose seat is to go. */
bool mc_seats_first_to_leave(const struct mc_kid *k);
/* Its socket for the i-th listener is of a seat that no other program has. */
bool mc_seats_own(const struct mc_kid *k, size_t i);
/* An upgrade begins (shared: all that are there are another program's, too) or ends. */
void mc_seats_share(struct mc_arbiter *a, bool shared);
void mc_seats_backlog(const struct mc_arbiter *a, const struct mc_addr *addr, int backlog);
void mc_seats_tend(struct mc_arbiter *a); /* on each turn: sockets too many, and those without a worker */
void mc_seats_refuse(struct mc_arbiter *a); /* as mc_listeners_refuse() */
void mc_seats_close(struct mc_arbiter *a);
/* For the program after us, and from the one before us. */
void mc_seats_print(const struct mc_arbiter *a, const struct mc_addr *addr, struct mc_sb *out);
void mc_seats_bequeath(const struct mc_arbiter *a, const struct mc_addr *addr);
void mc_seats_inherit(struct mc_arbiter *a);

/* ---- shares.c ---- */
struct mc_inherit;
/* The program after us serves our sockets, too: all of them, or those of these addresses. */
void mc_shares_set(struct mc_arbiter *a, const struct mc_inherit *with);
/* No other program does any more. */
void mc_shares_end(struct mc_arbiter *a);
/* Before a worker's first turn: what of its sockets is not ours alone. */
void mc_shares_tell(struct mc_kid *k);
/* For the program after us: its words, and (in the forked child) the descriptors. */
void mc_shares_print(const struct mc_arbiter *a, struct mc_sb *out);
void mc_shares_bequeath(const struct mc_arbiter *a);

/* ---- logs.c ---- */
/* MC_OK or MC_ERROR (logged). The arbiter itself writes to them from mc_logs_use() on. */
int mc_logs_open(struct mc_generation *g);
void mc_logs_use(struct mc_generation *g);
/* The same for a generation that takes over; older ones that write to the same files get the new descriptors. */
void mc_logs_pass(struct mc_generation *g);
/* Open again (USR1) and send the new descriptors to everyone. */
void mc_logs_reopen(struct mc_arbiter *a);
void mc_logs_daemon(struct mc_generation *g); /* "-" leads nowhere once the terminal is gone */

/* ---- metrics.c ---- */
/* Numbers for log modules (server/sinks.h), and their tick. On each turn. */
void mc_metrics_tend(struct mc_arbiter *a);

/* ---- keys.c ---- */
/* Certificates and keys for the workers of every pool, beside what a pool of the same name has. MC_OK or MC_ERROR (logged). */
int mc_keys_open(struct mc_generation *g);
void mc_keys_tend(struct mc_arbiter *a); /* on each turn */
void mc_keys_reaped(struct mc_arbiter *a, pid_t pid, int status); /* a child that is no kid */
/* Could they be had? MC_OK or MC_ERROR with err. */
int mc_keys_check(const struct mc_conf *conf, char *err, size_t errcap);
void mc_keys_close(struct mc_generation *g);
void mc_keys_changed(struct mc_arbiter *a); /* something has, in a directory that is watched for us */

/* ---- hops.c ---- */
struct mc_secrets;
/* Sockets for the pools that others ask, those that are not there yet; before the secrets of workers are gathered. MC_OK or MC_ERROR (logged). */
int mc_hops_open(struct mc_generation *g);
/* A copy of the one of this listener's pool, or -1 (logged). */
int mc_hops_fd(const struct mc_generation *g, const struct mc_conf_listen *l);
/* What workers of this pool must know of them. MC_OK or MC_ERROR (out of memory). */
int mc_hops_gather(const struct mc_arb_pool *p, struct mc_secrets *out);
/* A graceful stop: when nobody has clients any more, those who served the others leave. On each turn. */
void mc_hops_tend(struct mc_arbiter *a);
/* A generation is gone: drop the sockets of pools that no other one has. */
void mc_hops_sweep(struct mc_arbiter *a);
/* Workers of older generations are left who may ask pools of theirs. */
bool mc_hops_asked(const struct mc_arbiter *a);
void mc_hops_close(struct mc_arbiter *a);

/* ---- spawn.c ---- */
/* Begin the birth of a worker of this pool: directly, or through the pool's zygote. MC_OK, MC_AGAIN (not now), MC_ERROR (counted as a failure). */
int mc_spawn_worker(struct mc_arbiter *a, struct mc_arb_pool *p);
int mc_spawn_zygote(struct mc_arbiter *a, struct mc_arb_pool *p);
/* --check-config: a child, in the zygote's place, that loads the native apps of the pool and ends. */
int mc_spawn_check(struct mc_arbiter *a, struct mc_arb_pool *p);
/* A child without rights, listeners and secrets that has these two descriptors: runs fn and ends with what it returns, 0 or 1; after half a minute it is
 * killed. Its pid, or MC_ERROR (logged). */
pid_t mc_spawn_helper(struct mc_arbiter *a, struct mc_arb_pool *p, int in, int out,
                      int (*fn)(struct mc_arbiter *a, struct mc_arb_pool *p, int in, int out));
/* A child with all rights and this descriptor, alone in a process group of its own: runs fn and ends with what it returns, 0 or 1. Its pid, or MC_ERROR
 * (errno). */
pid_t mc_spawn_loader(struct mc_arbiter *a, int out, int (*fn)(int out));
/* Is there anything to do for it? */
bool mc_spawn_has_check(const struct mc_arb_pool *p);

/* ---- zygote.c ---- */
/* Where the extension is, into a->extension: MC_OK or MC_ERROR (logged). */
int mc_zygote_find_extension(struct mc_arbiter *a);
/* In the forked child: fixed descriptors, exec. Returns only when it failed: errno, the interpreter in *path, and the channel to complain on. */
struct mc_zygote_exec {
    int channel, image, board, errorlog, accesslog, zones;
    const int *listen_fds;
};
int mc_zygote_exec(const struct mc_generation *g, const struct mc_conf_pool *pool, const struct mc_zygote_exec *x, const char **path);

/* ---- kids.c ---- */
const char *mc_kid_kind(const struct mc_kid *k); /* "Worker", "Zygote", "Check": for the log */
/* A kid's channel: watch it; handle what it says. */
int mc_kid_watch(struct mc_kid *k, int fd);
void mc_kid_hear(struct mc_kid *k);   /* what it has said so far */
void mc_kid_forget(struct mc_kid *k); /* the record is free again */
int mc_kid_tell(struct mc_kid *k, enum mc_msg_kind kind);
/* Ask to leave (DRAIN or STOP); SIGKILL is due after limit_ms (0: never). */
void mc_kid_leave(struct mc_kid *k, enum mc_msg_kind kind, uint64_t limit_ms, enum mc_kill why);
void mc_kid_signal(struct mc_kid *k, int sig, enum mc_kill why);
static inline bool mc_kid_live(const struct mc_kid *k)
{
    return k->life != MC_LIFE_NONE && k->life != MC_LIFE_LEAVING;
}
/* Silent kids and due kills. */
void mc_kid_watchdog(struct mc_kid *k, uint64_t now);

/* ---- notice.c: Gunicorn's server hooks ---- */
void mc_notice_zygote(struct mc_kid *k);     /* it can fork now */
void mc_notice_hooked(struct mc_kid *k);     /* it has dealt with one */
void mc_notice_spawned(struct mc_kid *zygote); /* it was asked for a worker: pre_fork */
void mc_notice_born(struct mc_kid *k);       /* a worker has told its pid */
void mc_notice_gone(struct mc_kid *k);       /* a worker is gone: child_exit */
unsigned mc_notice_wanted(const struct mc_arbiter *a);
void mc_notice_count(struct mc_arbiter *a, unsigned before); /* the number of wanted workers has changed */
bool mc_notice_busy(const struct mc_arbiter *a); /* hooks have not dealt with all that they were told */
void mc_notice_exec(struct mc_arbiter *a);   /* pre_exec */
void mc_notice_watch(struct mc_kid *k, uint64_t now);
bool mc_notice_needs(struct mc_arb_pool *p); /* of an older generation: its zygote has hooks to run yet */
bool mc_notice_keeps(struct mc_kid *zygote); /* at a stop it stays until the workers are gone */
void mc_notice_end(struct mc_arbiter *a);    /* on each turn of a stop: on_exit, once they are */

/* ---- reap.c ---- */
void mc_reap_open(struct mc_arbiter *a); /* before the first birth */
void mc_reap_all(struct mc_arbiter *a);
/* A worker that never got a pid: its channel closed. */
void mc_reap_unborn(struct mc_kid *k);

/* ---- stop.c ---- */
/* On TERM: at once, or after shutdown_delay, during which the server goes on as before. */
void mc_stop_ask(struct mc_arbiter *a);
void mc_stop_tend(struct mc_arbiter *a);
void mc_stop_begin(struct mc_arbiter *a, enum mc_stopping how);
/* The start failed: stop the others, exit with code. */
void mc_stop_halt(struct mc_arbiter *a, int code);
bool mc_stop_done(const struct mc_arbiter *a);

#endif
