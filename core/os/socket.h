/* Addresses and sockets: parse, bind, accept, print. All sockets are CLOEXEC and non-blocking. */
#ifndef MC_OS_SOCKET_H
#define MC_OS_SOCKET_H

#include "core/base/str.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

/* Peer and local addresses, small enough to stand in every connection. */
union mc_sockaddr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    sa_family_t family; /* AF_UNIX: nothing more is known of a peer */
};

/* A place to listen, as Gunicorn's `bind` writes it: HOST:PORT, HOST (port 8000), :PORT, [IPV6]:PORT, unix:PATH,
 * unix://PATH, fd://N, tcp:// before the inet forms. */
struct mc_addr {
    int family;          /* AF_INET, AF_INET6, AF_UNIX; 0 for fd:// */
    int fd;              /* fd://N, else -1 */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
    socklen_t len;
};

/* MC_OK, or MC_ERROR with a message in err ("invalid port 'x' in 'localhost:x'"). Host names are resolved
 * (IPv4 first, as Gunicorn does): may wait. */
int mc_addr_parse(const char *text, struct mc_addr *out, char *err, size_t errcap);
/* "host" and "port" of HOST:PORT, HOST, [V6]:PORT, [V6], :PORT; port.p is NULL when there is none. MC_ERROR with err. */
int mc_addr_split(const char *text, struct mc_str *host, struct mc_str *port, char *err, size_t errcap);
/* From 4 or 16 bytes. */
void mc_addr_inet(struct mc_addr *a, int family, const void *raw, uint16_t port);
/* IP:PORT, [V6]:PORT, or (dflt is the port then, unless 0) IP, [V6]. Asks nobody. MC_OK or MC_ERROR. */
int mc_addr_numeric(const char *text, uint16_t dflt, struct mc_addr *out);
bool mc_addr_equal(const struct mc_addr *a, const struct mc_addr *b);
/* "127.0.0.1:8000", "[::1]:8000", "unix:/run/x.sock": normal form, parses back. */
void mc_addr_print(const struct mc_addr *a, char *out, size_t cap);
/* The real bound address of a socket in the same form (port 0 resolved). */
int mc_addr_of_fd(int fd, struct mc_addr *out);

struct mc_listen_opts {
    int backlog;
    mode_t umask;      /* for unix sockets */
    uid_t uid; gid_t gid; /* owner of unix sockets; (uid_t)-1: unchanged */
    bool reuse_port;
    bool v6only; /* IPv6 only: set it when the same port is also bound for IPv4. Else "[::]" takes IPv4 too, as Gunicorn's does */
    bool defer_accept; /* TCP_DEFER_ACCEPT where the client speaks first */
};
/* One try: socket, options (SO_REUSEADDR, TCP_NODELAY inherited, IPV6_V6ONLY), bind, listen. An existing socket file is removed only
 * when nobody answers there (EADDRINUSE); anything else at that path is an error (EEXIST). fd://N: listens on N itself and returns it.
 * fd or -1 with errno. */
int mc_socket_listen(const struct mc_addr *a, const struct mc_listen_opts *o);
/* Accept one: fd >= 0; -1 with errno (EAGAIN: none). */
int mc_socket_accept(int fd, union mc_sockaddr *peer);
/* Connections that wait in a listener's queue; -1: that cannot be told. */
int mc_socket_backlog(int fd);
/* Begin to connect (TCP_NODELAY set): fd, writable when it is decided; or -1 with errno. A full queue of a unix socket is EAGAIN. */
int mc_socket_connect(const struct mc_addr *a);
/* What became of it: 0, or an errno. */
int mc_socket_error(int fd);
/* Unix sockets: may there be bytes of ours that the other side has not read yet? */
bool mc_socket_unread(int fd);
/* Packets that arrive with a lower TTL (hop limit) are dropped, on a listener those that would open a connection; 0: none. Connections
 * inherit it when their handshake ends. MC_OK or MC_ERROR (not a TCP socket). */
int mc_socket_min_ttl(int fd, int ttl);

/* Numeric text of an address without port ("" for unix); NUL-terminated; returns its length. cap >= 46. */
size_t mc_sockaddr_text(const union mc_sockaddr *a, char *out, size_t cap);
unsigned mc_sockaddr_port(const union mc_sockaddr *a); /* 0 for unix */

/* Address sets: "127.0.0.1", "10.0.0.0/8", "::1", "*". MC_ERROR on a bad word. IPv4-mapped IPv6 peers match IPv4 entries. */
struct mc_cidr { uint8_t addr[16]; uint8_t bits; uint8_t family; /* 4, 6, or 0 = any */ };
int mc_cidr_parse(struct mc_str s, struct mc_cidr *out);
bool mc_cidr_match(const struct mc_cidr *v, size_t n, const union mc_sockaddr *a);

#endif
