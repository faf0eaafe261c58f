/* Between OpenSSL and the socket. Written records gather in a train, one a thread, which leaves in one send at the end of a call; what the socket does
 * not take stays with the connection. So OpenSSL never sees a full socket, and no write of its must be repeated. Read straight from the socket, which
 * is known to be drained after a short read. Never waits. Worker side, any thread that has the connection. */
#include "modules/transport/tls/tls.h"

#include "core/os/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { TRAIN = 5 * (MC_TLS_RECORD + 512) /* with headers and tags: a head and 64 KiB of a file; more than the cache likes is slower */, LEFT_MAX = 1 << 20 };

struct train {
    size_t n;
    unsigned char bytes[TRAIN];
    unsigned char scratch[MC_TLS_SCRATCH];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;
static BIO_METHOD *method;
static bool kernel; /* it has TLS */
static BIO *common; /* of all connections whose handshake is done; NULL: several threads have them */

static void make_key(void)
{
    have_key = pthread_key_create(&key, free) == 0;
}

static struct train *train(void)
{
    struct train *tr = have_key ? pthread_getspecific(key) : NULL;
    if (tr || !have_key)
        return tr;
    tr = malloc(sizeof(*tr));
    if (!tr)
        return NULL;
    tr->n = 0;
    if (pthread_setspecific(key, tr) == 0)
        return tr;
    free(tr);
    return NULL;
}

unsigned char *mc_tls_bio_scratch(void)
{
    struct train *tr = train();
    return tr ? tr->scratch : NULL;
}

/* ---- out */

/* Bytes taken; 0: the socket is full; MC_ERROR. */
static ssize_t put(struct mc_tls *t, const void *p, size_t n)
{
    ssize_t m;
    do
        m = send(t->s->fd, p, n, MSG_NOSIGNAL);
    while (m < 0 && errno == EINTR);
    if (m < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        m = 0;
    if (m < 0)
        t->broken = true;
    if (m < (ssize_t)n)
        t->s->wants |= MC_WANT_WRITE;
    return m < 0 ? MC_ERROR : m;
}

static int keep(struct mc_tls *t, const void *p, size_t n)
{
    if (t->left_n + n > t->left_cap) {
        size_t cap = t->left_n + n;
        unsigned char *more = cap <= LEFT_MAX ? realloc(t->left, cap) : NULL;
        if (!more) {
            t->broken = true;
            return MC_ERROR;
        }
        t->left = more;
        t->left_cap = (uint32_t)cap;
    }
    memcpy(t->left + t->left_n, p, n);
    t->left_n += (uint32_t)n;
    return MC_OK;
}

static void forget(struct mc_tls *t)
{
    free(t->left);
    t->left = NULL;
    t->left_at = t->left_n = t->left_cap = 0;
    t->held = false;
}

void mc_tls_bio_push(struct mc_tls *t)
{
    struct train *tr = train();
    if (!tr || tr->n == 0)
        return;
    size_t n = tr->n;
    tr->n = 0;
    ssize_t m = t->broken ? MC_ERROR : put(t, tr->bytes, n);
    if (m == MC_ERROR)
        return;
    if ((size_t)m == n)
        t->done += t->train;
    else if (keep(t, tr->bytes + m, n - (size_t)m) == MC_OK)
        t->ahead += t->train;
    t->train = 0;
}

void mc_tls_bio_hold(struct mc_tls *t)
{
    struct train *tr = train();
    if (!tr || tr->n == 0)
        return;
    size_t n = tr->n;
    tr->n = 0;
    t->held = t->left == NULL;
    (void)keep(t, tr->bytes, n);
}

int mc_tls_bio_catch_up(struct mc_tls *t, size_t *moved)
{
    struct train *tr = train();
    *moved = 0;
    if (t->broken || !tr)
        return MC_ERROR;
    if (!t->left)
        return MC_OK;
    size_t n = t->left_n - t->left_at;
    if (t->held && n <= 2 * MC_TLS_RECORD) { /* joins what follows */
        memcpy(tr->bytes, t->left + t->left_at, n);
        tr->n = n;
        forget(t);
        return MC_OK;
    }
    ssize_t m = put(t, t->left + t->left_at, n);
    if (m < 0)
        return MC_ERROR;
    t->held = false;
    *moved = (size_t)m;
    t->left_at += (uint32_t)m;
    if (t->left_at < t->left_n)
        return MC_AGAIN;
    forget(t);
    return MC_OK;
}

/* Kernel TLS is a matter between OpenSSL and a socket BIO, which we keep for that. It may take over only behind our last byte, and a control record
 * (OpenSSL tells its kind just before) goes out by itself. Only for sending: what is received is decrypted here. */
static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    enum { SET_KTLS = BIO_CTRL_GET_KTLS_SEND - 1, CONTROL_RECORD = BIO_CTRL_GET_KTLS_SEND + 1 /* OpenSSL's own, the same in every version 3 */ };
    struct mc_tls *t = BIO_get_data(b);
    if (mc_likely(cmd == BIO_CTRL_GET_KTLS_SEND)) /* asked eight times a record */
        return t->ktls;
    switch (t->socket ? cmd : BIO_CTRL_FLUSH) {
    case SET_KTLS: /* num: for sending */
        mc_tls_bio_push(t);
        t->ktls = num && !t->left && !t->broken && BIO_ctrl(t->socket, cmd, num, ptr) > 0 && BIO_get_ktls_send(t->socket);
        return t->ktls;
    case CONTROL_RECORD:
        t->control = true;
        return BIO_ctrl(t->socket, cmd, num, ptr);
    default:
        return cmd == BIO_CTRL_FLUSH;
    }
}

static int write_control(struct mc_tls *t, BIO *b, const char *p, int n)
{
    t->control = false;
    mc_tls_bio_push(t);
    int m = t->left ? -1 : BIO_write(t->socket, p, n);
    if (m <= 0 && (t->left || BIO_should_retry(t->socket))) {
        t->s->wants |= MC_WANT_WRITE;
        BIO_set_retry_write(b);
    }
    return m;
}

bool mc_tls_bio_kernel(struct mc_tls *t)
{
    if (!kernel || setsockopt(t->s->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
        return false;
    t->socket = BIO_new_socket(t->s->fd, BIO_NOCLOSE);
    return t->socket != NULL;
}

/* Asked of a socket that is not connected, a kernel that could says so. */
static bool kernel_can(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool can = fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0 && errno == ENOTCONN;
    mc_fd_close(&fd);
    return can;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct mc_tls *t = BIO_get_data(b);
    struct train *tr = train();
    BIO_clear_retry_flags(b);
    if (n <= 0 || t->broken || !tr)
        return -1;
    if (t->control)
        return write_control(t, b, p, n);
    if (t->http) /* alerts are not for it */
        return n;
    if (tr->n + (size_t)n > TRAIN)
        mc_tls_bio_push(t);
    if (!t->left && !t->broken && (size_t)n <= TRAIN) {
        memcpy(tr->bytes + tr->n, p, (size_t)n);
        tr->n += (size_t)n;
        return n;
    }
    return !t->broken && keep(t, p, (size_t)n) == MC_OK ? n : -1;
}

/* ---- in */

static int bio_read(BIO *b, char *p, int n)
{
    struct mc_tls *t = BIO_get_data(b);
    ssize_t m;
    BIO_clear_retry_flags(b);
    if (n <= 0 || t->broken)
        return -1;
    if (t->drained || t->ended) { /* the end, too: OpenSSL would take it for a failure of all that is still to be written */
        BIO_set_retry_read(b);
        return -1;
    }
    do
        m = recv(t->s->fd, p, (size_t)n, 0);
    while (m < 0 && errno == EINTR);
    if (m < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        t->broken = true;
        return -1;
    }
    if (m == 0)
        t->ended = true;
    if (!t->seen && m > 0) {
        t->seen = true;
        t->http = t->listener && p[0] >= 'A' && p[0] <= 'Z'; /* no record of TLS begins like a method */
    }
    if (m < n) {
        t->drained = true;
        t->s->wants |= MC_WANT_READ;
    }
    if (m > 0)
        return (int)m;
    BIO_set_retry_read(b);
    return -1;
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

int mc_tls_bio_init(bool alone)
{
    pthread_once(&once, make_key);
    if (method)
        return MC_OK;
    kernel = kernel_can();
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "monoceros");
    if (!method || BIO_meth_set_write(method, bio_write) != 1 || BIO_meth_set_read(method, bio_read) != 1 ||
        BIO_meth_set_ctrl(method, bio_ctrl) != 1 || BIO_meth_set_create(method, bio_create) != 1)
        return MC_ERROR;
    common = alone ? BIO_new(method) : NULL;
    return MC_OK;
}

void mc_tls_bio_fini(void)
{
    struct train *tr = have_key ? pthread_getspecific(key) : NULL;
    if (tr && pthread_setspecific(key, NULL) == 0)
        free(tr);
    BIO_free(common);
    common = NULL;
    BIO_meth_free(method);
    method = NULL;
}

BIO *mc_tls_bio_new(struct mc_tls *t)
{
    BIO *b = method ? BIO_new(method) : NULL;
    if (b)
        BIO_set_data(b, t);
    return b;
}

void mc_tls_bio_share(struct mc_tls *t)
{
    if (!common || t->shares || t->socket || BIO_up_ref(common) != 1)
        return;
    t->shares = true;
    mc_tls_bio_enter(t, t->s);
    SSL_set_bio(t->ssl, common, common);
}

void mc_tls_bio_enter(struct mc_tls *t, struct mc_stream *s)
{
    t->s = s;
    if (t->shares)
        BIO_set_data(common, t);
}
