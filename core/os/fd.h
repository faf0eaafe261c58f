/* Descriptors: flags, temp files, memory files, eventfds. Every fd made here is CLOEXEC. errno tells why on MC_ERROR. */
#ifndef MC_OS_FD_H
#define MC_OS_FD_H

#include "core/base/base.h"

int mc_fd_nonblock(int fd, bool on);
int mc_fd_cloexec(int fd, bool on);
void mc_fd_close(int *fd); /* closes and sets to -1; nothing when already -1; errno is kept */
/* All of n bytes or MC_ERROR; retries EINTR and short writes (regular files and blocking fds only). */
int mc_fd_write_all(int fd, const void *p, size_t n);
/* Read a whole small file; NUL-terminated malloc'ed memory, the length in *n; NULL with errno (EFBIG over max, EISDIR, EINVAL: not regular). */
char *mc_fd_read_file(const char *path, size_t max, size_t *n);
/* An unlinked temporary file, mode 0600, in dir (O_TMPFILE, else mkostemp + unlink). fd or -1. */
int mc_fd_tmpfile(const char *dir);
/* A memfd with these contents, sealed against any change when `seal`. fd or -1. */
int mc_fd_memfd(const char *name, const void *p, size_t n, bool seal);
/* Open a log: O_APPEND|O_CREAT|O_CLOEXEC|O_NOFOLLOW, mode 0644 less umask; "-" gives a CLOEXEC dup of fd `std`. fd or -1. */
int mc_fd_open_log(const char *path, int std);

#endif
