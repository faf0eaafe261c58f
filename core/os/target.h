/* Where messages are sent to: "udp://HOST[:PORT]", "tcp://HOST[:PORT]", "unix://PATH" (datagrams; "#stream" behind it: a stream), or HOST[:PORT] for UDP. */
#ifndef MC_OS_TARGET_H
#define MC_OS_TARGET_H

#include "core/os/socket.h"

struct mc_target {
    int type; /* SOCK_DGRAM, SOCK_STREAM */
    struct mc_addr addr;
};

enum { MC_TARGET_TEXT = 160 };

/* Syntax only: asks nobody. MC_OK, or MC_ERROR with err. */
int mc_target_check(const char *text, char *err, size_t errcap);
/* Host names are resolved: may wait. port: when the text names none. MC_OK, or MC_ERROR with err. */
int mc_target_parse(const char *text, unsigned port, struct mc_target *out, char *err, size_t errcap);
/* Normal form, with numbers in place of names: parses back without asking anybody. */
void mc_target_print(const struct mc_target *t, char out[MC_TARGET_TEXT]);
/* A socket that is connected, or (streams) begins to be. fd, or -1 with errno. */
int mc_target_connect(const struct mc_target *t);
/* Close it if it is that still: in a forked child, where others were closed, the number may be another's by now. *fd is -1 then. */
void mc_target_forget(const struct mc_target *t, int *fd);

#endif
