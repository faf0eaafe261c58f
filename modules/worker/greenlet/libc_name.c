/* Cooperative libc: getaddrinfo. The resolver blocks in places that nobody can reach, so it runs on a thread of its own while the task waits.
 * A job belongs to both; who leaves last frees it. */
#include "modules/worker/greenlet/next.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK = 262144 };

struct job {
    _Atomic int owners;
    int bell; /* eventfd */
    _Atomic bool done;
    char *node, *service;
    bool has_hints;
    struct addrinfo hints, *found;
    int rc, why;
};

static void leave(struct job *j)
{
    if (atomic_fetch_sub(&j->owners, 1) > 1) {
        return;
    }
    if (j->found) {
        freeaddrinfo(j->found);
    }
    close(j->bell);
    free(j->node);
    free(j->service);
    free(j);
}

static void *look_up(void *arg)
{
    struct job *j = arg;
    uint64_t one = 1;
    j->rc = mc_greenlet_next()->getaddrinfo(j->node, j->service, j->has_hints ? &j->hints : NULL, &j->found);
    j->why = errno;
    atomic_store(&j->done, true);
    (void) !mc_greenlet_next()->write(j->bell, &one, sizeof one);
    leave(j);
    return NULL;
}

static struct job *make(const char *node, const char *service, const struct addrinfo *hints)
{
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    j->owners = 1;
    j->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    j->node = strdup(node);
    j->service = service ? strdup(service) : NULL;
    j->has_hints = hints != NULL;
    if (hints) {
        j->hints = *hints;
    }
    if (j->bell < 0 || j->node == NULL || (service && j->service == NULL)) {
        leave(j);
        return NULL;
    }
    return j;
}

static bool start(struct job *j)
{
    pthread_attr_t attr;
    pthread_t id;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK);
    j->owners = 2;
    bool ok = pthread_create(&id, &attr, look_up, j) == 0;
    j->owners -= !ok;
    pthread_attr_destroy(&attr);
    return ok;
}

/* The numeric case needs no thread: EAI_NONAME when it is none. */
static int numeric(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    struct addrinfo h = hints ? *hints : (struct addrinfo){ .ai_flags = AI_V4MAPPED | AI_ADDRCONFIG };
    if (node != NULL) {
        h.ai_flags |= AI_NUMERICHOST;
    }
    return mc_greenlet_next()->getaddrinfo(node, service, &h, found);
}

MC_GREENLET_EXPORT int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
    struct addrinfo **restrict found)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    if (t == NULL) {
        return mc_greenlet_next()->getaddrinfo(node, service, hints, found);
    }
    int rc = numeric(node, service, hints, found);
    if (rc != EAI_NONAME || node == NULL || (hints && (hints->ai_flags & AI_NUMERICHOST))) {
        return rc;
    }
    struct job *j = make(node, service, hints);
    if (j == NULL) {
        return EAI_MEMORY;
    }
    if (!start(j)) {
        leave(j);
        return EAI_AGAIN;
    }
    while (!atomic_load(&j->done)) {
        if (mc_greenlet_ready(t, j->bell, POLLIN, 0) != 0) {
            leave(j);
            return EAI_SYSTEM;
        }
    }
    rc = j->rc;
    errno = j->why;
    if (rc == 0) {
        *found = j->found;
        j->found = NULL;
    }
    int why = errno;
    leave(j);
    errno = why;
    return rc;
}
