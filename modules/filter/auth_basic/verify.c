/* Passwords against hashes, which are slow by design: a thread of its own for each, at most THREADS at a time, the others queued. What was right is
 * remembered by a keyed hash. Threads touch their job only, and post it back. Called on the loop. */
#include "modules/filter/auth_basic/auth_basic.h"

#include "core/base/sip.h"
#include "core/os/fd.h"
#include "core/server/worker.h"

#include <crypt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

enum { THREADS = 2, QUEUE_MAX = 256, KNOWN = 1024, PASSWORD_MAX = 512, HASH_MAX = 384 };

struct proof {
    uint64_t v[2];
};

struct mc_auth_job {
    struct mc_auth_job *next;
    void (*done)(void *data, bool yes); /* NULL: nobody asks any more */
    void *data;
    bool nobody, yes;
    struct proof proof;
    char password[PASSWORD_MAX], hash[HASH_MAX];
};

static struct {
    bool open;
    struct mc_io io;
    uint64_t keys[4];
    struct proof known[KNOWN]; /* of this process */
    unsigned running, waiting;
    struct mc_auth_job *first, **last;
    _Atomic(struct mc_auth_job *) finished;
} self;

/* Name, password and hash, each with its length: no two triples give the same bytes. */
static bool prove(struct mc_str user, struct mc_str password, const char *hash, struct proof *out)
{
    struct mc_sb sb;
    mc_sb_init(&sb, 4096);
    mc_sb_addf(&sb, "%zu:%zu:%s:", user.n, password.n, hash);
    mc_sb_add(&sb, user.p, user.n);
    mc_sb_add(&sb, password.p, password.n);
    bool ok = !sb.bad;
    if (ok) {
        struct mc_str all = { sb.p, sb.n };
        *out = (struct proof){ { mc_sip(self.keys, all), mc_sip(self.keys + 2, all) } };
        explicit_bzero(sb.p, sb.n);
    }
    mc_sb_fini(&sb);
    return ok;
}

static struct proof *place(const struct proof *p)
{
    return &self.known[p->v[0] % KNOWN];
}

static bool is_known(const struct proof *p)
{
    const struct proof *k = place(p);
    return ((k->v[0] ^ p->v[0]) | (k->v[1] ^ p->v[1])) == 0 && (p->v[0] | p->v[1]) != 0;
}

static bool same(const char *a, const char *b)
{
    size_t n = strlen(a);
    unsigned differ = strlen(b) != n;
    for (size_t i = 0; !differ && i < n; i++) {
        differ |= (unsigned) (a[i] ^ b[i]) << 8; /* all of them, wherever the first difference is */
    }
    return differ == 0;
}

static bool matches(const struct mc_auth_job *j)
{
    struct crypt_data *data = calloc(1, sizeof *data); /* 32 KiB: too much for a small stack */
    const char *out = data ? crypt_r(j->password, j->hash, data) : NULL;
    bool yes = out != NULL && out[0] != '*' && same(out, j->hash);
    if (data) {
        explicit_bzero(data, sizeof *data);
        free(data);
    }
    return yes;
}

/* ---- the thread */

static void *compute(void *arg)
{
    struct mc_auth_job *j = arg;
    static const uint64_t one = 1;
    j->yes = matches(j) && !j->nobody;
    explicit_bzero(j->password, sizeof j->password);
    struct mc_auth_job *head = atomic_load(&self.finished);
    do {
        j->next = head;
    } while (!atomic_compare_exchange_weak(&self.finished, &head, j));
    ssize_t n = write(self.io.fd, &one, sizeof one); /* fails only when it is full, and then the loop knows */
    (void) n;
    return NULL;
}

static bool start(struct mc_auth_job *j)
{
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the worker's business */
    bool ok = pthread_create(&thread, &attr, compute, j) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    self.running += ok;
    return ok;
}

/* ---- the loop */

static void end(struct mc_auth_job *j, bool yes)
{
    void (*done)(void *, bool) = j->done;
    void *data = j->data;
    explicit_bzero(j, sizeof *j);
    free(j);
    if (done) {
        done(data, yes);
    }
}

static void start_waiting(void)
{
    while (self.first && self.running < THREADS) {
        struct mc_auth_job *j = self.first;
        self.first = j->next;
        if (self.first == NULL) {
            self.last = &self.first;
        }
        self.waiting--;
        if (j->done == NULL || !start(j)) { /* without a thread nobody is let in */
            end(j, false);
        }
    }
}

static void on_finished(struct mc_io *io)
{
    uint64_t n;
    ssize_t got = read(io->fd, &n, sizeof n);
    (void) got;
    struct mc_auth_job *j = atomic_exchange(&self.finished, NULL);
    while (j) {
        struct mc_auth_job *next = j->next;
        self.running--;
        if (j->yes) {
            *place(&j->proof) = j->proof;
        }
        end(j, j->yes);
        j = next;
    }
    start_waiting();
}

static int open_once(struct mc_worker *w)
{
    if (self.open) {
        return MC_OK;
    }
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0 || getrandom(self.keys, sizeof self.keys, 0) != (ssize_t) sizeof self.keys) {
        mc_fd_close(&fd);
        return MC_ERROR;
    }
    mc_io_init(&self.io, fd, on_finished, w);
    self.io.level = true;
    self.last = &self.first;
    if (mc_io_watch(&w->loop, &self.io, MC_WANT_READ) != MC_OK) {
        mc_fd_close(&fd);
        return MC_ERROR;
    }
    self.open = true;
    return MC_OK;
}

int mc_auth_verify(struct mc_worker *w, struct mc_str user, struct mc_str password, const char *hash, const char *like, void (*done)(void *data, bool yes),
    void *data, struct mc_auth_job **job)
{
    struct proof proof;
    const char *used = hash ? hash : like;
    if (open_once(w) != MC_OK || !prove(user, password, used, &proof)) {
        return 503;
    }
    if (hash && is_known(&proof)) {
        return MC_OK;
    }
    struct mc_auth_job *j = self.waiting < QUEUE_MAX ? calloc(1, sizeof *j) : NULL;
    if (j == NULL || strlen(used) >= sizeof j->hash || password.n >= sizeof j->password) {
        free(j);
        return 503;
    }
    memcpy(j->password, password.p, password.n);
    memcpy(j->hash, used, strlen(used));
    j->nobody = hash == NULL;
    j->proof = proof;
    j->done = done;
    j->data = data;
    if (self.running >= THREADS) {
        *self.last = j;
        self.last = &j->next;
        self.waiting++;
    } else if (!start(j)) {
        explicit_bzero(j, sizeof *j);
        free(j);
        return 503;
    }
    *job = j;
    return MC_AGAIN;
}

void mc_auth_forget(struct mc_auth_job *job)
{
    job->done = NULL;
}

void mc_auth_close(struct mc_worker *w)
{
    if (!self.open || self.running) {
        return; /* a thread still writes to it, and the process ends */
    }
    while (self.first) {
        struct mc_auth_job *j = self.first;
        self.first = j->next;
        end(j, false);
    }
    mc_io_unwatch(&w->loop, &self.io);
    mc_fd_close(&self.io.fd);
    self.open = false;
}
