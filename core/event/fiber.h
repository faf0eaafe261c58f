/* What sanitizers and valgrind must hear about stacks; nothing in a plain build. Private to coro.c. A side of a switch is a mc_fiber. */
#ifndef MC_EVENT_FIBER_H
#define MC_EVENT_FIBER_H

#include "core/base/base.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define MC_FIBER_ASAN(x) x
#else
#define MC_FIBER_ASAN(x)
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define MC_FIBER_TSAN(x) x
#else
#define MC_FIBER_TSAN(x)
#endif

#if defined(__has_include) && __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define MC_FIBER_VALGRIND(x) x
#else
#define MC_FIBER_VALGRIND(x)
#endif

struct mc_fiber {
    const void *bottom;
    size_t size;
    void *fake;  /* ASan: its stack of freed frames */
    void *tsan;
    unsigned id; /* valgrind */
};

static inline void mc_fiber_init(struct mc_fiber *f, void *bottom, size_t size)
{
    f->bottom = bottom;
    f->size = size;
    MC_FIBER_TSAN(f->tsan = __tsan_create_fiber(0);)
    MC_FIBER_VALGRIND(f->id = VALGRIND_STACK_REGISTER(bottom, (char *) bottom + size);)
}

static inline void mc_fiber_fini(struct mc_fiber *f)
{
    (void) f;
    MC_FIBER_ASAN(__asan_unpoison_memory_region(f->bottom, f->size);)
    MC_FIBER_TSAN(__tsan_destroy_fiber(f->tsan);)
    MC_FIBER_VALGRIND(VALGRIND_STACK_DEREGISTER(f->id);)
}

/* The thread's own stack. */
static inline void mc_fiber_here(struct mc_fiber *f)
{
    (void) f;
    MC_FIBER_TSAN(f->tsan = __tsan_get_current_fiber();)
}

/* Right before a switch. last: `from` never runs again. */
static inline void mc_fiber_leave(struct mc_fiber *from, const struct mc_fiber *to, bool last)
{
    (void) from, (void) to, (void) last;
    MC_FIBER_ASAN(__sanitizer_start_switch_fiber(last ? NULL : &from->fake, to->bottom, to->size);)
    MC_FIBER_TSAN(__tsan_switch_to_fiber(to->tsan, 0);)
}

/* Right behind it, on the other side. */
static inline void mc_fiber_arrive(struct mc_fiber *self, struct mc_fiber *from)
{
    (void) self, (void) from;
    MC_FIBER_ASAN(__sanitizer_finish_switch_fiber(self->fake, &from->bottom, &from->size);)
}

#endif
