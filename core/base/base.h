/* Return codes, assertions and the few macros that every file uses. Knows no socket and no HTTP. */
#ifndef MC_BASE_BASE_H
#define MC_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Results of functions that return int; a positive value is an HTTP status. */
enum {
    MC_OK = 0,
    MC_ERROR = -1,
    MC_AGAIN = -2,    /* not now: what is waited for stands in the object */
    MC_DECLINED = -3, /* not mine: let the next one try */
};

/* Exit codes that the arbiter knows (reference: Gunicorn's 3 and 4). */
enum {
    MC_EXIT_OK = 0,
    MC_EXIT_FAIL = 1,  /* configuration, bind, pidfile */
    MC_EXIT_USAGE = 2, /* command line */
    MC_EXIT_BOOT = 3,  /* a worker failed to boot */
    MC_EXIT_APP = 4,   /* the app was not found */
};

#define mc_likely(x) __builtin_expect(!!(x), 1)
#define mc_unlikely(x) __builtin_expect(!!(x), 0)
#define MC_PRINTF(f, a) __attribute__((format(printf, f, a)))
/* For what is rarely called by what often runs, so that the caller saves no registers for it. */
#define MC_NOINLINE __attribute__((noinline))
#define MC_NORETURN __attribute__((noreturn))
#define MC_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define mc_container(ptr, type, member) ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))

/* Our own bug: logs file, line and text, then abort(). Assertions stay on in production. */
MC_NORETURN void mc_bug(const char *file, int line, const char *what);
#define MC_ASSERT(x) (mc_likely(x) ? (void) 0 : mc_bug(__FILE__, __LINE__, #x))

/* First member of a long-lived object; checked where the object comes back from outside. */
#define MC_MAGIC_CONN 0x4d43434fu
#define MC_MAGIC_REQUEST 0x4d435251u
#define MC_MAGIC_ARENA 0x4d434152u
#define MC_MAGIC_WORKER 0x4d43574bu
#define MC_MAGIC_SLOT 0x4d43534cu
#define MC_MAGIC_UP 0x4d435550u

#endif
