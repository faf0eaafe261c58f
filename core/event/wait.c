/* poll(2) of one descriptor against the clock. The only wait of a thread outside of a loop. Any side. */
#include "core/event/wait.h"

#include "core/base/clock.h"
#include "core/event/loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

int mc_wait_fd(int fd, unsigned what, uint64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = (short)((what & MC_WANT_READ ? POLLIN : 0) | (what & MC_WANT_WRITE ? POLLOUT : 0))};
    for (;;) {
        uint64_t now = deadline ? mc_clock_ms() : 0;
        uint64_t left = deadline > now ? deadline - now : 0;
        int n = poll(&p, 1, deadline == 0 ? -1 : left < INT_MAX ? (int)left : INT_MAX);
        if (n > 0) {
            if (!(p.revents & POLLNVAL))
                return MC_OK;
            errno = EBADF;
            return MC_ERROR;
        }
        if (n < 0 && errno != EINTR)
            return MC_ERROR;
        if (deadline && mc_clock_ms() >= deadline)
            return MC_AGAIN;
    }
}
