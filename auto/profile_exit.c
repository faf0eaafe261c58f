/* Part of the build that --with-pgo trains, and of no other: workers leave by _exit(), which would not write what they have counted. */
#include <stdnoreturn.h>

void __gcov_dump(void);
noreturn void __real__exit(int code);
noreturn void __wrap__exit(int code);

noreturn void __wrap__exit(int code)
{
    __gcov_dump();
    __real__exit(code);
}
