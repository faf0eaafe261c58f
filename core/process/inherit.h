/* Listening sockets that we were born with: from the program before us (an upgrade: MONOCEROS_FD, MONOCEROS_PID) or from systemd (LISTEN_FDS). */
#ifndef MC_PROCESS_INHERIT_H
#define MC_PROCESS_INHERIT_H

#include "core/base/str.h"
#include "core/os/socket.h"

#include <sys/types.h>

enum { MC_INHERIT_FIRST = 3 /* where systemd's descriptors begin */, MC_INHERIT_MAX = 65536 };

struct mc_inherited {
    int fd;
    char *text;          /* MONOCEROS_FD: the address as the program before us had it in its settings; systemd: the name of the socket, or NULL */
    struct mc_addr addr; /* where it is bound */
    bool systemd, taken;
};

struct mc_inherit {
    struct mc_inherited *v;
    size_t n;
    pid_t parent; /* the program before us, our parent while it lives; 0: none */
    int channel;  /* to it; -1: none */
};

/* What these words say, nothing of it looked at: pairs "ADDRESS=FD", a ';' between them, '%', ';' and control bytes of an address as %XX; several
 * sockets of one address in the order of their seats. A pair without an address is the channel to the program before us. MC_OK, or MC_ERROR
 * with err. Free with mc_inherit_close(). */
int mc_inherit_parse(struct mc_inherit *in, const char *fds, char *err, size_t errcap);
/* LISTEN_FDS and LISTEN_FDNAMES ("a:b", or NULL) of systemd, in the same way: added to `in`. */
int mc_inherit_parse_systemd(struct mc_inherit *in, const char *count, const char *names, char *err, size_t errcap);
/* One pair, for the program after us; address NULL: the channel. */
void mc_inherit_print(struct mc_sb *out, const char *address, int fd);

/* Those of this process. */
struct mc_inherit *mc_inherit_ours(void);

/* From the environment, which loses the words: no child of ours may take them for its own. The descriptors become CLOEXEC; MC_ERROR with err when
 * one is no socket that listens. Once, before anything is opened. */
int mc_inherit_open(struct mc_inherit *in, char *err, size_t errcap);
/* The next socket of this address that nobody took: it is the caller's (systemd's: a copy, because fd://N names it, too), or -1. *given: it is
 * systemd's. Matched by the text of the settings, then by where it is bound; "0.0.0.0" by systemd's "[::]" of the same port as well. */
int mc_inherit_take(struct mc_inherit *in, const struct mc_addr *addr, const char *text, bool *given);
/* The next one of the program before us with exactly this text, or -1. */
int mc_inherit_take_same(struct mc_inherit *in, const char *text);
/* How many are systemd's. */
size_t mc_inherit_systemd(const struct mc_inherit *in);
/* Close what nobody took, and forget all but systemd's, which stay open. */
void mc_inherit_close(struct mc_inherit *in);

#endif
