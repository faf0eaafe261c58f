/* An arbiter's nameplate: a memory file that other monoceros processes of this machine find through /proc/PID/fd. It proves that a pid is that of a
 * monoceros, and tells how that one was started, and how its upgrade goes. Whoever may not look into the process may not read it either. */
#ifndef MC_PROCESS_PLATE_H
#define MC_PROCESS_PLATE_H

#include "core/base/base.h"
#include "core/os/shm.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

/* How the upgrade of an arbiter goes. */
enum mc_heir { MC_HEIR_NONE, MC_HEIR_STARTS, MC_HEIR_READY, MC_HEIR_FAILED, MC_HEIR_REFUSED /* the signal was not acted upon */, MC_HEIR_STATES };

struct mc_plate_head {
    uint32_t magic, version;
    uint32_t argc, envc;       /* words behind the head: program, directory, then these */
    _Atomic int32_t pid;       /* whose it is */
    _Atomic int32_t parent;    /* the arbiter before it, while it lives */
    _Atomic int32_t heir;      /* the arbiter after it */
    _Atomic uint32_t state;    /* enum mc_heir */
    _Atomic int32_t code;      /* MC_HEIR_FAILED: how it ended, as waitpid() tells it */
    _Atomic uint32_t attempts; /* upgrades asked for so far, refused ones too */
    char pidfile[PATH_MAX];    /* its own, absolute; "" for none */
    char reason[128];          /* MC_HEIR_REFUSED: why */
};

struct mc_plate {
    struct mc_shm shm;
    struct mc_plate_head *head; /* NULL: none */
};

/* How a program was started, for the next one; in the plate of another process pointers into its mapping. */
struct mc_plate_words {
    const char *program, *dir;
    char **argv, **env; /* NULL at the end */
};

/* Ours. MC_OK or MC_ERROR with errno. */
int mc_plate_make(struct mc_plate *p, pid_t pid, const struct mc_plate_words *w);
/* That of another process, read only. MC_OK; MC_DECLINED: it runs, but is no monoceros arbiter; MC_ERROR with errno: ESRCH, EACCES and others. */
int mc_plate_find(struct mc_plate *p, pid_t pid);
/* Its words: MC_OK (free argv and env with mc_plate_free_words()) or MC_ERROR: they are not well formed, or no memory. */
int mc_plate_read(const struct mc_plate *p, struct mc_plate_words *w);
void mc_plate_free_words(struct mc_plate_words *w);
void mc_plate_close(struct mc_plate *p);

#endif
