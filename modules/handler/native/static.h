/* Apps that are part of the program: a module outside of the tree (./configure --add-module=DIR) whose one source is
 *
 *     #include "modules/handler/native/static.h"
 *     static const struct monoceros_app answer = { MONOCEROS_ABI_HEAD, .name = "answer", .kind = MONOCEROS_BLOCKING, .request = … };
 *     MC_NATIVE_STATIC(answer, answer);
 *
 * and whose config says kind=handler, name=answer. Then `app "x" { type = answer }` is an app of that type. */
#ifndef MC_NATIVE_STATIC_H
#define MC_NATIVE_STATIC_H

#include "modules/handler/native/native.h"

#define MC_NATIVE_STATIC(NAME, APP)                                                                                                        \
    static const struct mc_app_type mc_native_types_##NAME[] = {{.name = #NAME, .load = mc_native_load, .linked = &(APP)}, {.name = NULL}}; \
    extern const struct mc_module mc_module_handler_##NAME;                                                                                \
    const struct mc_module mc_module_handler_##NAME = {                                                                                    \
        .abi = MC_MODULE_ABI,                                                                                                              \
        .size = sizeof(struct mc_module),                                                                                                  \
        .name = #NAME,                                                                                                                     \
        .kind = MC_MODULE_HANDLER,                                                                                                         \
        .apps = mc_native_types_##NAME,                                                                                                    \
    }

#endif
