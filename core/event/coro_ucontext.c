/* The switch between stacks where coro_asm.c has none: ucontext of the C library, at the price of two system calls a switch (signal masks).
 * -DMC_CORO_UCONTEXT takes it on every machine. */
#include "core/event/coro.h"

#if (!(defined(__x86_64__) && defined(__LP64__)) && !defined(__aarch64__)) || defined(MC_CORO_UCONTEXT)

#include <ucontext.h>

void mc_coro_switch(void **save, void *to)
{
    ucontext_t here;
    *save = &here;
    MC_ASSERT(swapcontext(&here, to) == 0);
}

void *mc_coro_context(void *stack, size_t size, void (*fn)(void))
{
    uintptr_t top = ((uintptr_t) stack + size - sizeof(ucontext_t)) & ~(uintptr_t) 63;
    ucontext_t *u = (ucontext_t *) top;
    MC_ASSERT(getcontext(u) == 0);
    u->uc_stack.ss_sp = stack;
    u->uc_stack.ss_size = top - (uintptr_t) stack;
    u->uc_link = NULL;
    makecontext(u, fn, 0);
    return u;
}

#endif
