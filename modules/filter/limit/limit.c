/* Filter `limit { key rate burst conns … }`: refuses, or slows down, who asks too much. The counts are table.c's, in a zone that all workers share.
 * Worker side; checked in the arbiter, too. */
#include "core/base/sip.h"
#include "core/config/zone.h"
#include "core/http/vars.h"
#include "core/server/conn.h"
#include "core/server/filter.h"
#include "modules/filter/limit/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct limit {
    const char *key, *rate, *zone;
    int64_t burst, conns, status, size;
    bool delay, dry_run, off;
    /* compiled */
    struct mc_vars *vars;
    struct mc_limit_rate pace;
    struct mc_conf_zone *memory;
    uint64_t salt[2];            /* of the zone's key and of what this section says */
    struct mc_limit_table table; /* buckets NULL: no memory in this process */
};

/* "20/s", "30/m", "100/h", "5/10s" */
static bool parse_rate(const char *text, struct mc_limit_rate *out)
{
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
    const char *slash = strchr(text, '/');
    uint64_t times = 1;
    if (slash == NULL || mc_str_to_u64((struct mc_str){ text, (size_t) (slash - text) }, 1000000, &out->count) != MC_OK || out->count == 0) {
        return false;
    }
    const char *unit = slash + 1 + strspn(slash + 1, "0123456789");
    if (unit > slash + 1 && (mc_str_to_u64((struct mc_str){ slash + 1, (size_t) (unit - slash) - 1 }, 1000, &times) != MC_OK || times == 0)) {
        return false;
    }
    for (size_t i = 0; i < MC_COUNT(units); i++) {
        if (unit[0] == units[i].unit && unit[1] == '\0') {
            out->period = units[i].ms * times;
            return true;
        }
    }
    return false;
}

static int check_rate(const char *value, char *err, size_t cap)
{
    struct mc_limit_rate r;
    if (parse_rate(value, &r)) {
        return MC_OK;
    }
    snprintf(err, cap, "expected NUMBER/s, /m, /h or /d, such as 20/s, not '%.80s'", value);
    return MC_ERROR;
}

static const struct mc_setting settings[] = {
    { .name = "key", .type = MC_SET_STRING, .offset = offsetof(struct limit, key), .dflt = "$remote_addr", .meta = "TEXT", .doc = "what is counted by: a text with variables; empty: not limited" },
    { .name = "rate", .type = MC_SET_STRING, .offset = offsetof(struct limit, rate), .meta = "RATE", .check = check_rate, .doc = "requests in a time: 20/s, 30/m, 100/h" },
    { .name = "burst", .type = MC_SET_INT, .offset = offsetof(struct limit, burst), .max = MC_LIMIT_BURST_MAX, .meta = "INT", .doc = "so many above the rate pass" },
    { .name = "delay", .type = MC_SET_BOOL, .offset = offsetof(struct limit, delay), .doc = "space these out to the rate, instead of letting them pass at once" },
    { .name = "conns", .type = MC_SET_INT, .offset = offsetof(struct limit, conns), .max = 1000000, .meta = "INT", .doc = "requests at the same time; 0: no limit" },
    { .name = "status", .type = MC_SET_INT, .offset = offsetof(struct limit, status), .dflt = "429", .min = 400, .max = 599, .meta = "CODE", .doc = "the answer to what is beyond" },
    { .name = "dry_run", .type = MC_SET_BOOL, .offset = offsetof(struct limit, dry_run), .doc = "refuse nothing, only tell in the log" },
    { .name = "off", .type = MC_SET_BOOL, .offset = offsetof(struct limit, off), .doc = "no limit here, whatever is said outside" },
    { .name = "zone", .type = MC_SET_STRING, .offset = offsetof(struct limit, zone), .meta = "NAME", .doc = "sections with the same zone and the same words share their counts" },
    { .name = "size", .type = MC_SET_SIZE, .offset = offsetof(struct limit, size), .dflt = "1m", .min = MC_LIMIT_MEMORY_MIN, .max = 1 << 30, .meta = "BYTES", .doc = "shared memory of the zone: about 30000 keys a megabyte" },
    { .name = NULL },
};

static int declare(struct mc_conf *conf, struct limit *l, char *err, size_t errcap)
{
    static const char owner;
    char name[32];
    unsigned n = 0;
    for (const struct mc_conf_zone *z = conf->zones; z; z = z->next) {
        n++;
    }
    snprintf(name, sizeof name, " limit %u", n); /* a name that nobody can write */
    l->memory = mc_zone_declare(conf, l->zone ? l->zone : name, &owner, (size_t) l->size, err, errcap);
    return l->memory ? MC_OK : MC_ERROR;
}

static int check(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct limit *l = s->set;
    char why[160];
    (void) image;
    if (l->off) {
        return MC_OK;
    }
    if (l->rate == NULL && l->conns == 0) {
        snprintf(err, errcap, "limit: needs rate = \"20/s\" or conns = 50");
        return MC_ERROR;
    }
    if (l->rate == NULL && (l->burst || l->delay)) {
        snprintf(err, errcap, "limit: burst and delay belong to a rate");
        return MC_ERROR;
    }
    if (l->rate) {
        MC_ASSERT(parse_rate(l->rate, &l->pace)); /* checked above */
        l->pace.burst = (uint64_t) l->burst;
    }
    l->vars = mc_vars_compile(conf, l, l->key, why, sizeof why);
    if (l->vars == NULL || declare(conf, l, why, sizeof why) != MC_OK) {
        snprintf(err, errcap, "limit: %s", why);
        return MC_ERROR;
    }
    return MC_OK;
}

static const struct mc_section section = {
    .name = "limit",
    .where = MC_AT_MAIN | MC_AT_SERVER | MC_AT_ROUTE,
    .settings = settings,
    .size = sizeof(struct limit),
    .check = check,
    .doc = "requests a time and at once, by a key",
};

static int attach(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_conf_route *route, void **data)
{
    struct mc_conf_section *s = mc_conf_section_for(conf, server, route, &section);
    struct limit *l = s ? s->set : NULL;
    if (l == NULL || l->off) {
        return MC_DECLINED;
    }
    char *memory = mc_zone_memory(conf, l->memory);
    if (memory) {
        const struct mc_zone_head *head = (const void *) memory;
        char words[256];
        int n = snprintf(words, sizeof words, "%s %s %lld", l->key, l->rate ? l->rate : "", (long long) l->conns);
        struct mc_str said = { words, n < 0 ? 0 : (size_t) n < sizeof words ? (size_t) n : sizeof words - 1 };
        l->salt[0] = head->key[0] ^ mc_sip(head->key, said);
        l->salt[1] = head->key[1];
        mc_limit_table_open(&l->table, memory + sizeof *head, l->memory->size - sizeof *head);
    }
    *data = l;
    return MC_OK;
}

/* ---- at work */

static void tell(const struct limit *l, struct mc_str key, const char *what)
{
    static struct mc_log_limit limit;
    unsigned missed;
    char text[160];
    if (mc_log_limited(&limit, &missed)) {
        size_t n = mc_str_escape(text, sizeof text, key);
        mc_warn("limit: %s%s of '%.*s' (%u more not told)", l->dry_run ? "would refuse: " : "", what, (int) n, text, missed);
    }
}

static int refuse(const struct limit *l, struct mc_request *r, struct mc_str key, const char *what, uint64_t wait)
{
    tell(l, key, what);
    if (l->dry_run) {
        return MC_OK;
    }
    char *text = wait ? mc_arena_printf(&r->arena, "%llu", (unsigned long long) (wait + 999) / 1000) : NULL;
    if (text && mc_fields_add(&r->refusal_fields, &r->arena, MC_STR("Retry-After"), mc_str(text)) != MC_OK) {
        return 503;
    }
    return (int) l->status;
}

static uint64_t identity(const struct mc_worker *w)
{
    return (uint64_t) getpid() << 32 | w->slot->index;
}

/* A worker is there as long as its slot of the scoreboard says so. */
static bool alive(uint64_t id, void *data)
{
    const struct mc_worker *w = data;
    uint32_t index = (uint32_t) id;
    if (id == identity(w)) {
        return true;
    }
    return index < w->nslots && mc_slot_get(w->slots[index].pid) == (int32_t) (id >> 32) && mc_slot_get(w->slots[index].state) != MC_SLOT_EMPTY;
}

static void give_back(void *count)
{
    mc_limit_leave(count);
}

static int count_one(struct limit *l, struct mc_request *r, struct mc_str key, uint64_t hash)
{
    struct mc_worker *w = r->conn->worker;
    struct mc_limit_owner me = { identity(w), alive, w };
    bool full;
    struct mc_limit_count *c = mc_limit_enter(&l->table, hash, (uint64_t) l->conns, &me, &full);
    if (c == NULL) {
        return refuse(l, r, key, full ? "no room left in the zone for requests" : "too many requests at the same time", 0);
    }
    if (mc_arena_cleanup(&r->arena, give_back, c) != MC_OK) {
        mc_limit_leave(c);
        return 503;
    }
    return MC_OK;
}

/* A request that waits for its turn. */
struct turn {
    struct mc_timer timer;
    struct mc_request *r;
};

static void on_turn(struct mc_timer *t)
{
    struct turn *turn = t->data;
    mc_request_admit(turn->r, MC_OK);
}

static void forget(void *data)
{
    struct turn *turn = data;
    mc_timer_remove(&turn->r->conn->worker->loop, &turn->timer);
}

static int wait_for_turn(struct mc_request *r, uint64_t ms)
{
    struct turn *turn = mc_arena_calloc(&r->arena, sizeof *turn);
    if (turn == NULL) {
        return 503;
    }
    turn->r = r;
    mc_timer_init(&turn->timer, on_turn, turn);
    if (mc_timer_set(&r->conn->worker->loop, &turn->timer, ms) != MC_OK) {
        return 503;
    }
    if (mc_arena_cleanup(&r->arena, forget, turn) != MC_OK) {
        mc_timer_remove(&r->conn->worker->loop, &turn->timer);
        return 503;
    }
    return MC_AGAIN;
}

static int access_ok(struct mc_request *r, void *data)
{
    struct limit *l = data;
    struct mc_str key;
    uint64_t wait;
    if (l->table.buckets == NULL) {
        return MC_OK;
    }
    if (mc_vars_expand(l->vars, r, &key) != MC_OK) {
        return 503;
    }
    if (key.n == 0) {
        return MC_OK;
    }
    uint64_t hash = mc_sip(l->salt, key);
    int rc = l->conns ? count_one(l, r, key, hash) : MC_OK;
    if (rc != MC_OK || l->rate == NULL) {
        return rc;
    }
    if (mc_limit_rate(&l->table, hash, &l->pace, mc_loop_refresh(&r->conn->worker->loop), &wait) != MC_OK) {
        return refuse(l, r, key, "requests beyond the rate", wait);
    }
    return l->delay && wait && !l->dry_run ? wait_for_turn(r, wait) : MC_OK;
}

static const struct mc_filter_ops ops = { .phase = MC_FILTER_LIMIT, .attach = attach, .access = access_ok };
static const struct mc_section *const sections[] = { &section, NULL };

const struct mc_module mc_module_filter_limit = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "limit",
    .kind = MC_MODULE_FILTER,
    .sections = sections,
    .ops.filter = &ops,
};
