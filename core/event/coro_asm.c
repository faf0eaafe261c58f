/* The switch between stacks for x86-64 and AArch64: it keeps what a called function must keep (and the modes of floating point), nothing else,
 * because the compiler has saved the rest round the call. Other machines, and MC_CORO_UCONTEXT: coro_ucontext.c. */
#include "core/event/coro.h"

#include <string.h>

#if defined(__x86_64__) && defined(__LP64__) && !defined(MC_CORO_UCONTEXT)

/* System V ABI, 3.2.1: rbx, rbp, r12-r15, the control bits of mxcsr and the x87 control word. */
__asm__(".pushsection .text\n"
        ".globl mc_coro_switch\n"
        ".hidden mc_coro_switch\n"
        ".type mc_coro_switch, @function\n"
        ".balign 16\n"
        "mc_coro_switch:\n"
        "    .cfi_startproc\n"
        "    pushq %rbp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r12\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r13\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r14\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r15\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    subq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    stmxcsr (%rsp)\n"
        "    fnstcw 4(%rsp)\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    fldcw 4(%rsp)\n"
        "    ldmxcsr (%rsp)\n"
        "    addq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r15\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r14\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r13\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r12\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rbp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size mc_coro_switch, . - mc_coro_switch\n"
        ".globl mc_coro_entry\n"
        ".hidden mc_coro_entry\n"
        ".type mc_coro_entry, @function\n"
        "mc_coro_entry:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined rip\n" /* a backtrace ends here */
        "    call *%rbx\n"
        "    ud2\n"
        "    .cfi_endproc\n"
        ".size mc_coro_entry, . - mc_coro_entry\n"
        ".popsection\n");

extern const char mc_coro_entry[];

void *mc_coro_context(void *stack, size_t size, void (*fn)(void))
{
    uintptr_t top = ((uintptr_t) stack + size) & ~(uintptr_t) 15;
    void **sp = (void **) top - 8;
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    memset(sp, 0, 8 * sizeof *sp);
    memcpy(sp, &mxcsr, sizeof mxcsr);
    memcpy((char *) sp + 4, &x87, sizeof x87);
    memcpy(&sp[5], &fn, sizeof fn); /* rbx */
    sp[7] = (void *) (uintptr_t) mc_coro_entry;
    return sp;
}

#elif defined(__aarch64__) && !defined(MC_CORO_UCONTEXT)

/* AAPCS64, 6.1: x19-x30, the low halves of v8-v15, and fpcr. */
__asm__(".pushsection .text\n"
        ".globl mc_coro_switch\n"
        ".hidden mc_coro_switch\n"
        ".type mc_coro_switch, %function\n"
        ".balign 16\n"
        "mc_coro_switch:\n"
        "    hint #34\n" /* bti c */
        "    sub sp, sp, #176\n"
        "    stp x19, x20, [sp]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mrs x9, fpcr\n"
        "    str x9, [sp, #160]\n"
        "    mov x10, sp\n"
        "    str x10, [x0]\n"
        "    mov sp, x1\n"
        "    ldr x9, [sp, #160]\n"
        "    msr fpcr, x9\n"
        "    ldp x19, x20, [sp]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #176\n"
        "    ret\n"
        ".size mc_coro_switch, . - mc_coro_switch\n"
        ".globl mc_coro_entry\n"
        ".hidden mc_coro_entry\n"
        ".type mc_coro_entry, %function\n"
        "mc_coro_entry:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined x30\n" /* a backtrace ends here */
        "    blr x19\n"
        "    brk #1\n"
        "    .cfi_endproc\n"
        ".size mc_coro_entry, . - mc_coro_entry\n"
        ".popsection\n");

extern const char mc_coro_entry[];

void *mc_coro_context(void *stack, size_t size, void (*fn)(void))
{
    uintptr_t top = ((uintptr_t) stack + size) & ~(uintptr_t) 15;
    void **sp = (void **) top - 22;
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    memset(sp, 0, 22 * sizeof *sp);
    memcpy(&sp[0], &fn, sizeof fn);                 /* x19 */
    sp[11] = (void *) (uintptr_t) mc_coro_entry;    /* x30 */
    memcpy(&sp[20], &fpcr, sizeof fpcr);
    return sp;
}

#endif
