/* Finds an app: opens its shared library, or takes the one that is linked in, and checks that it was built for this server before any of it is
 * used. Each failure is one line that names the app. Worker side, before requests. */
#include "modules/handler/native/native.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

/* The library relative to the app's directory. A path with a slash: dlopen() searches nowhere. */
static int open_library(const struct mc_conf_app *conf, void **library)
{
    char path[4096];
    const char *dir = conf->module[0] == '/' ? "" : conf->chdir;
    if (snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", conf->module) >= (int)sizeof(path)) {
        mc_error("app \"%s\": the path of %s is too long", conf->name, conf->module);
        return MC_EXIT_APP;
    }
    if (access(path, F_OK) < 0) {
        mc_error("app \"%s\": cannot find %s: %m", conf->name, path);
        return MC_EXIT_APP;
    }
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* never closed: a library may leave threads and handlers behind */
    if (*library)
        return MC_OK;
    mc_error("app \"%s\": cannot load %s", conf->name, dlerror());
    return MC_EXIT_BOOT;
}

static int check(const struct mc_conf_app *conf, const struct monoceros_app *app)
{
    const char *name = conf->name;
    if (app->abi != MONOCEROS_ABI)
        mc_error("app \"%s\" was built for ABI %u, this server has ABI %d: build it again with this server's <monoceros/app.h>", name, app->abi, MONOCEROS_ABI);
    else if (app->size != sizeof(*app))
        mc_error("app \"%s\" has a struct monoceros_app of %u bytes, this server's has %zu: build it again with this server's <monoceros/app.h>", name,
                 app->size, sizeof(*app));
    else if (app->api_size > sizeof(struct monoceros_api))
        mc_error("app \"%s\" wants an API of %u bytes, this server's has %zu: it was built for a later Monoceros", name, app->api_size,
                 sizeof(struct monoceros_api));
    else if (app->kind != MONOCEROS_BLOCKING && app->kind != MONOCEROS_LOOP)
        mc_error("app \"%s\": kind is %d, not MONOCEROS_BLOCKING or MONOCEROS_LOOP", name, app->kind);
    else if (!app->request)
        mc_error("app \"%s\" has no request()", name);
    else
        return MC_OK;
    return MC_EXIT_BOOT;
}

int mc_native_find(const struct mc_conf_app *conf, const struct monoceros_app **app)
{
    const char *symbol = conf->symbol ? conf->symbol : "monoceros_app";
    void *library;
    *app = conf->type->linked;
    if (!*app) {
        int rc = open_library(conf, &library);
        if (rc != MC_OK)
            return rc;
        *app = dlsym(library, symbol);
    }
    if (*app)
        return check(conf, *app);
    mc_error("app \"%s\": %s does not export %s", conf->name, conf->module, symbol);
    return MC_EXIT_APP;
}
