/* A generation: one configuration with its pools, logs, listeners, image and zones. Made at the start and by each reload, freed with its last kid.
 * Never decides when. Called by the arbiter. */
#include "core/config/zone.h"
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/process/arbiter.h"
#include "core/server/access.h"

#include <stdlib.h>
#include <string.h>

unsigned mc_generation_count(const struct mc_conf_pool *p)
{
    return p->set.workers > 0 ? (unsigned)p->set.workers : mc_proc_cpus();
}

static void make_pools(struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->npools; i++) {
        struct mc_arb_pool *p = &g->pools[i];
        p->gen = g;
        p->conf = &g->conf->pools[i];
        p->wanted = mc_generation_count(p->conf);
        mc_scaling_open(p);
        p->secrets = p->fetched = -1;
        p->zygote = (struct mc_kid){.arbiter = g->arbiter, .pool = p, .io.fd = -1};
    }
}

struct mc_generation *mc_generation_make(struct mc_arbiter *a, struct mc_conf *conf, unsigned number)
{
    struct mc_generation *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    *g = (struct mc_generation){.arbiter = a, .number = number, .errorlog = -1, .accesslog = -1, .image = -1, .zones.fd = -1};
    g->pools = calloc(conf->npools, sizeof(*g->pools));
    g->listen_fds = calloc(conf->nlistens, sizeof(*g->listen_fds));
    g->places = calloc(conf->nlistens, sizeof(*g->places));
    if (!g->pools || !g->listen_fds || !g->places) {
        mc_generation_free(&g);
        return NULL;
    }
    g->conf = conf;
    for (size_t i = 0; i < conf->nlistens; i++)
        g->listen_fds[i] = -1;
    make_pools(g);
    return g;
}

static int make_image(struct mc_generation *g)
{
    enum { MAX = 64 << 20 };
    struct mc_sb text;
    mc_sb_init(&text, MAX);
    if (mc_conf_print(g->conf, &text) == MC_OK && !text.bad)
        g->image = mc_fd_memfd("monoceros-image", text.p, text.n, true);
    mc_sb_fini(&text);
    return g->image < 0 ? MC_ERROR : MC_OK;
}

static bool has_python(const struct mc_conf *conf)
{
    for (size_t i = 0; i < conf->npools; i++) {
        if (conf->pools[i].python)
            return true;
    }
    return false;
}

int mc_generation_prepare(struct mc_generation *g)
{
    char err[256];
    if (mc_access_check(g->conf->set.access_log_format, err, sizeof(err)) != MC_OK) {
        mc_error("access_log_format: %s", err);
        return MC_ERROR;
    }
    int rc = g->older ? mc_zone_share(g->conf, g->older->conf, &g->older->zones, &g->zones) : MC_DECLINED;
    if (rc == MC_DECLINED)
        rc = mc_zone_create(g->conf, &g->zones);
    if (rc != MC_OK) {
        mc_error("cannot make the shared memory of zones: %m");
        return MC_ERROR;
    }
    if (!has_python(g->conf))
        return MC_OK;
    if (mc_zygote_find_extension(g->arbiter) != MC_OK)
        return MC_ERROR;
    if (make_image(g) == MC_OK)
        return MC_OK;
    mc_error("cannot make the configuration image: %m");
    return MC_ERROR;
}

void mc_generation_free(struct mc_generation **gen)
{
    struct mc_generation *g = *gen;
    *gen = NULL;
    if (!g)
        return;
    if (g->conf) {
        mc_keys_close(g);
        for (size_t i = 0; i < g->conf->nlistens; i++)
            mc_fd_close(&g->listen_fds[i]);
    }
    mc_shm_close(&g->zones);
    mc_fd_close(&g->image);
    mc_fd_close(&g->accesslog);
    mc_fd_close(&g->errorlog);
    free(g->pools);
    free(g->listen_fds);
    free(g->places);
    mc_conf_free(&g->conf);
    free(g);
}

unsigned mc_generation_workers(const struct mc_generation *g)
{
    unsigned total = 0;
    for (size_t i = 0; i < g->conf->npools; i++)
        total += mc_scaling_most(&g->pools[i]);
    return total;
}

bool mc_generation_ready(const struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->npools; i++) {
        if (!g->pools[i].was_ready)
            return false;
    }
    return true;
}

struct mc_arb_pool *mc_generation_pool(const struct mc_generation *g, const char *name)
{
    for (size_t i = 0; i < g->conf->npools; i++) {
        if (strcmp(g->conf->pools[i].name, name) == 0)
            return &g->pools[i];
    }
    return NULL;
}

struct mc_arb_pool *mc_generation_next_pool(const struct mc_arbiter *a, const struct mc_arb_pool *prev)
{
    if (prev && (size_t)(prev - prev->gen->pools) + 1 < prev->gen->conf->npools)
        return &prev->gen->pools[prev - prev->gen->pools + 1];
    struct mc_generation *g = prev ? prev->gen->older : a->fresh ? a->fresh : a->gen;
    return g ? &g->pools[0] : NULL;
}
