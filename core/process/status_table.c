/* monoceros --status for people: some lines about the server, a table of pools, a table of workers. The last column gives way to a narrow terminal,
 * then columns of less weight. Writes into a buffer only. */
#include "core/process/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 72, LAST_MIN = 12, LAST_ENOUGH = 20, GAP = 2 };

struct column {
    const char *title;
    bool right;
    unsigned weight; /* the lowest goes first; 0: stays */
};

struct table {
    const struct column *columns;
    size_t n, rows;
    char (*cells)[CELL];
    const char **last;   /* of each row: the text of the last column, of any length */
    const char **colour; /* of each row's first cell */
};

/* ---- words ---- */

static void duration(char *out, size_t cap, uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (s < 10)
        snprintf(out, cap, "%llu.%llus", (unsigned long long)s, (unsigned long long)ms % 1000 / 100);
    else if (s < 60)
        snprintf(out, cap, "%llus", (unsigned long long)s);
    else if (s < 3600)
        snprintf(out, cap, "%llum%02llus", (unsigned long long)s / 60, (unsigned long long)s % 60);
    else if (s < 86400)
        snprintf(out, cap, "%lluh%02llum", (unsigned long long)s / 3600, (unsigned long long)s / 60 % 60);
    else
        snprintf(out, cap, "%llud%02lluh", (unsigned long long)s / 86400, (unsigned long long)s / 3600 % 24);
}

static void size(char *out, size_t cap, uint64_t bytes)
{
    static const char units[] = "KMGTP";
    double n = (double)bytes / 1024;
    unsigned u = 0;
    for (; n >= 1024 && units[u + 1]; u++)
        n /= 1024;
    snprintf(out, cap, n < 10 && u ? "%.1f%c" : "%.0f%c", n, units[u]);
}

/* "12034", "4.2M" */
static void count(char *out, size_t cap, uint64_t n)
{
    if (n < 1000000)
        snprintf(out, cap, "%llu", (unsigned long long)n);
    else if (n < UINT64_C(1000000000))
        snprintf(out, cap, "%.1fM", (double)n / 1e6);
    else
        snprintf(out, cap, "%.1fG", (double)n / 1e9);
}

/* A quantile, as coarse as the buckets are. */
static void quantile(char *out, size_t cap, const uint64_t *latency, double share)
{
    double ms = mc_scoreboard_quantile(latency, share);
    if (ms < 0)
        snprintf(out, cap, "-");
    else if (ms < 1)
        snprintf(out, cap, "<1ms");
    else if (ms < 1000)
        snprintf(out, cap, "%.0fms", ms);
    else
        snprintf(out, cap, "%.1fs", ms / 1000);
}

/* ---- a table ---- */

static bool open_table(struct table *t, const struct column *columns, size_t n, size_t rows)
{
    *t = (struct table){.columns = columns, .n = n, .rows = rows};
    t->cells = calloc(n * rows + 1, sizeof(*t->cells));
    t->last = calloc(rows + 1, sizeof(*t->last));
    t->colour = calloc(rows + 1, sizeof(*t->colour));
    return t->cells && t->last && t->colour;
}

static void close_table(struct table *t)
{
    free(t->cells);
    free(t->last);
    free(t->colour);
}

static char *cell(const struct table *t, size_t row, size_t column)
{
    return t->cells[row * t->n + column];
}

static void measure(const struct table *t, size_t *widths)
{
    for (size_t c = 0; c < t->n; c++) {
        widths[c] = strlen(t->columns[c].title);
        for (size_t r = 0; r < t->rows; r++) {
            size_t n = strlen(cell(t, r, c));
            widths[c] = n > widths[c] ? n : widths[c];
        }
    }
}

/* Columns that do not fit go, the lightest first: width 0. What is left for the last one; SIZE_MAX: any length. */
static size_t fit(const struct table *t, size_t *widths, unsigned limit)
{
    size_t last = LAST_MIN;
    for (size_t r = 0; r < t->rows; r++) {
        size_t n = t->last[r] ? strlen(t->last[r]) : 0;
        last = n > last ? n : last;
    }
    last = last < LAST_ENOUGH ? last : LAST_ENOUGH;
    for (;;) {
        size_t sum = 0, lightest = t->n;
        for (size_t c = 0; c + 1 < t->n; c++) {
            sum += widths[c] ? widths[c] + GAP : 0;
            bool may_go = widths[c] && t->columns[c].weight;
            if (may_go && (lightest == t->n || t->columns[c].weight < t->columns[lightest].weight))
                lightest = c;
        }
        if (limit == 0)
            return SIZE_MAX;
        if (sum + last <= limit || lightest == t->n)
            return limit > sum ? limit - sum : 0;
        widths[lightest] = 0;
    }
}

static void pad(struct mc_sb *out, size_t n)
{
    while (n-- > 0)
        mc_sb_addc(out, ' ');
}

static void put(struct mc_sb *out, const struct column *column, const char *text, size_t width, const char *colour)
{
    size_t n = strlen(text), space = width > n ? width - n : 0;
    if (width == 0)
        return;
    if (column->right)
        pad(out, space);
    mc_sb_addf(out, "%s%s%s", colour ? colour : "", text, colour ? "\033[0m" : "");
    if (!column->right)
        pad(out, space);
    pad(out, GAP);
}

/* Spaces at a line's end say nothing. */
static void end_line(struct mc_sb *out)
{
    while (!out->bad && out->n && out->p[out->n - 1] == ' ')
        out->n--;
    mc_sb_addc(out, '\n');
}

static void write_table(const struct table *t, unsigned limit, bool colour, struct mc_sb *out)
{
    size_t widths[32] = {0};
    MC_ASSERT(t->n <= MC_COUNT(widths));
    measure(t, widths);
    size_t room = fit(t, widths, limit);
    for (size_t c = 0; c + 1 < t->n; c++)
        put(out, &t->columns[c], t->columns[c].title, widths[c], colour ? "\033[1m" : NULL);
    put(out, &(struct column){.right = false}, t->columns[t->n - 1].title, room >= LAST_MIN ? 1 : 0, colour ? "\033[1m" : NULL);
    end_line(out);
    for (size_t r = 0; r < t->rows; r++) {
        const char *last = t->last[r] ? t->last[r] : "";
        size_t n = strlen(last);
        for (size_t c = 0; c + 1 < t->n; c++) {
            bool state = strcmp(t->columns[c].title, "STATE") == 0;
            put(out, &t->columns[c], cell(t, r, c), widths[c], colour && state ? t->colour[r] : NULL);
        }
        if (n > room && room >= 2)
            mc_sb_addf(out, "%.*s..", (int)room - 2, last);
        else if (n <= room)
            mc_sb_addz(out, last);
        end_line(out);
    }
}

/* ---- what is said ---- */

static void say_reload(const struct mc_status *s, struct mc_sb *out)
{
    static const char *const stages[MC_BOARD_RELOADS] = {
        [MC_BOARD_LOADING] = "reading the configuration",
        [MC_BOARD_PROVING] = "the new generation has still to prove itself",
        [MC_BOARD_ROLLING] = "workers are replaced one by one",
    };
    const struct mc_board_head *h = s->board.head;
    char text[MC_BOARD_LINE], when[32];
    if (h->reload > MC_BOARD_STEADY && h->reload < MC_BOARD_RELOADS)
        mc_sb_addf(out, "Reload: %s\n", stages[h->reload]);
    if (h->failed_time > h->reload_time) {
        duration(when, sizeof(when), s->now > h->failed_time ? (uint64_t)(s->now - h->failed_time) * 1000 : 0);
        mc_sb_addf(out, "The last reload failed %s ago: %s\n", when, mc_scoreboard_text(h->failure, sizeof(h->failure), text, sizeof(text)));
    }
}

static void say_head(const struct mc_status *s, struct mc_sb *out)
{
    const struct mc_board_head *h = s->board.head;
    char text[MC_BOARD_LINE], when[32];
    duration(when, sizeof(when), s->now_ms > h->start_ms ? s->now_ms - h->start_ms : 0);
    mc_sb_addf(out, "monoceros %s", mc_scoreboard_text(h->build, sizeof(h->build), text, sizeof(text)));
    mc_sb_addf(out, " [%s], pid %ld, up %s, generation %u", mc_scoreboard_text(h->name, sizeof(h->name), text, sizeof(text)), (long)s->pid, when,
               h->generation);
    mc_sb_addf(out, h->stopping ? ", stopping\n" : "\n");
    if (*mc_scoreboard_text(h->listening, sizeof(h->listening), text, sizeof(text)))
        mc_sb_addf(out, "Listening at: %s\n", text);
    say_reload(s, out);
    for (size_t i = 0; i < MC_BOARD_POOLS; i++) {
        const struct mc_board_pool *p = &s->board.pools[i];
        if (!p->name[0] || !p->failing)
            continue;
        duration(when, sizeof(when), p->retry_ms > s->now_ms ? p->retry_ms - s->now_ms : 0);
        mc_sb_addf(out, "Workers of pool \"%s\" fail to start (%u in a row); next try in %s\n",
                   mc_scoreboard_text(p->name, sizeof(p->name), text, sizeof(text)), p->failing, when);
    }
}

/* "max_requests 3, timeout 1" */
static char *restarts(const struct mc_board_pool *p)
{
    struct mc_sb text;
    mc_sb_init(&text, 4096);
    for (unsigned i = 0; i < MC_RESTARTS; i++) {
        if (p->restarts[i])
            mc_sb_addf(&text, "%s%s %llu", text.n ? ", " : "", mc_scoreboard_restart(i), (unsigned long long)p->restarts[i]);
    }
    if (p->births_failed)
        mc_sb_addf(&text, "%sfailed births %llu", text.n ? ", " : "", (unsigned long long)p->births_failed);
    char *copy = strdup(mc_sb_z(&text));
    mc_sb_fini(&text);
    return copy;
}

enum { P_NAME, P_TYPE, P_WORKERS, P_BOUNDS, P_BUSY, P_WAITING, P_REQUESTS, P_5XX, P_OUT, P_P50, P_P95, P_P99, P_RESTARTS, P_COLUMNS };

static const struct column pool_columns[P_COLUMNS] = {
    [P_NAME] = {"POOL", false, 0},      [P_TYPE] = {"TYPE", false, 4},     [P_WORKERS] = {"WORKERS", true, 0}, [P_BOUNDS] = {"BOUNDS", true, 3},
    [P_BUSY] = {"BUSY", true, 0},       [P_WAITING] = {"WAIT", true, 8},   [P_REQUESTS] = {"REQUESTS", true, 0}, [P_5XX] = {"5XX", true, 7},
    [P_OUT] = {"SENT", true, 1},        [P_P50] = {"P50", true, 2},        [P_P95] = {"P95", true, 5},         [P_P99] = {"P99", true, 6},
    [P_RESTARTS] = {"RESTARTS", false, 0},
};

static void fill_pool(const struct mc_status *s, unsigned i, struct table *t, size_t row)
{
    const struct mc_board_pool *p = &s->board.pools[i];
    struct mc_board_sums sums;
    unsigned ready = 0;
    mc_status_sums(s, i, &sums);
    for (size_t k = 0; k < s->board.n; k++)
        ready += s->board.kids[k].pool == i && s->board.kids[k].life == MC_BOARD_READY;
    mc_scoreboard_text(p->name, sizeof(p->name), cell(t, row, P_NAME), CELL);
    mc_scoreboard_text(p->worker, sizeof(p->worker), cell(t, row, P_TYPE), CELL);
    snprintf(cell(t, row, P_WORKERS), CELL, "%u/%u", ready, p->wanted);
    if (p->min != p->max)
        snprintf(cell(t, row, P_BOUNDS), CELL, "%u-%u", p->min, p->max);
    else
        snprintf(cell(t, row, P_BOUNDS), CELL, "fixed");
    snprintf(cell(t, row, P_BUSY), CELL, "%u%%", p->load <= 1000 ? p->load / 10 : 0);
    count(cell(t, row, P_WAITING), CELL, p->waiting);
    count(cell(t, row, P_REQUESTS), CELL, sums.requests);
    count(cell(t, row, P_5XX), CELL, sums.status[5]);
    size(cell(t, row, P_OUT), CELL, sums.bytes_out);
    quantile(cell(t, row, P_P50), CELL, sums.latency, 0.5);
    quantile(cell(t, row, P_P95), CELL, sums.latency, 0.95);
    quantile(cell(t, row, P_P99), CELL, sums.latency, 0.99);
    t->last[row] = restarts(p);
}

static void say_pools(const struct mc_status *s, unsigned width, bool colour, struct mc_sb *out)
{
    struct table t;
    size_t rows = 0;
    for (size_t i = 0; i < MC_BOARD_POOLS; i++)
        rows += s->board.pools[i].name[0] != '\0';
    bool ok = open_table(&t, pool_columns, P_COLUMNS, rows);
    for (unsigned i = 0, row = 0; ok && i < MC_BOARD_POOLS; i++) {
        if (s->board.pools[i].name[0])
            fill_pool(s, i, &t, row++);
    }
    if (ok)
        write_table(&t, width, colour, out);
    out->bad |= !ok;
    for (size_t i = 0; ok && i < rows; i++)
        free((void *)(uintptr_t)t.last[i]);
    close_table(&t);
}

enum { W_PID, W_POOL, W_GEN, W_STATE, W_AGE, W_BEAT, W_REQUESTS, W_RUN, W_WAIT, W_CONN, W_IDLE, W_CPU, W_RSS, W_BUSY, W_COLUMNS };

static const struct column worker_columns[W_COLUMNS] = {
    [W_PID] = {"PID", true, 0},    [W_POOL] = {"POOL", false, 9}, [W_GEN] = {"GEN", true, 8},   [W_STATE] = {"STATE", false, 0}, [W_AGE] = {"AGE", true, 7},
    [W_BEAT] = {"BEAT", true, 1},  [W_REQUESTS] = {"REQUESTS", true, 10}, [W_RUN] = {"RUN", true, 5}, [W_WAIT] = {"WAIT", true, 4},
    [W_CONN] = {"CONN", true, 6},  [W_IDLE] = {"IDLE", true, 2},  [W_CPU] = {"CPU", true, 3},   [W_RSS] = {"RSS", true, 7},
    [W_BUSY] = {"BUSY WITH", false, 0},
};

static const char *colour_of(const char *state)
{
    return strcmp(state, "ready") == 0 ? "\033[32m" : strcmp(state, "busy") == 0 ? "\033[36m" : "\033[33m";
}

/* "2.1s GET /slow", malloc'ed; what is to happen to it first. */
static char *deed(const struct mc_status_worker *w)
{
    char text[MC_BOARD_BUSY_TEXT + 96], when[32] = "", why[64] = "";
    if (w->busy_ms)
        duration(when, sizeof(when), w->busy_ms);
    if (w->kid->recycling && w->kid->life != MC_BOARD_DRAINING)
        snprintf(why, sizeof(why), "(to be replaced: %s) ", mc_scoreboard_restart(w->kid->recycling - 1));
    snprintf(text, sizeof(text), "%s%s%s%s", why, when, *when ? " " : "", w->busy);
    return strdup(text);
}

static void fill_worker(const struct mc_status_worker *w, struct table *t, size_t row)
{
    if (w->kid->pid > 0)
        snprintf(cell(t, row, W_PID), CELL, "%ld", (long)w->kid->pid);
    else
        snprintf(cell(t, row, W_PID), CELL, "-");
    snprintf(cell(t, row, W_POOL), CELL, "%s", w->pool_name);
    snprintf(cell(t, row, W_GEN), CELL, "%u", w->kid->generation);
    snprintf(cell(t, row, W_STATE), CELL, "%s", w->state);
    duration(cell(t, row, W_AGE), CELL, w->age_ms);
    duration(cell(t, row, W_BEAT), CELL, w->beat_ms);
    count(cell(t, row, W_REQUESTS), CELL, mc_slot_get(w->slot->requests));
    count(cell(t, row, W_RUN), CELL, w->requests_running);
    count(cell(t, row, W_WAIT), CELL, w->requests_queued);
    count(cell(t, row, W_CONN), CELL, w->connections);
    count(cell(t, row, W_IDLE), CELL, w->idle);
    snprintf(cell(t, row, W_CPU), CELL, "%u%%", mc_slot_get(w->slot->load) / 10 <= 99999 ? mc_slot_get(w->slot->load) / 10 : 0);
    if (mc_slot_get(w->slot->rss)) /* else it has not been born yet, or not long ago */
        size(cell(t, row, W_RSS), CELL, mc_slot_get(w->slot->rss));
    t->last[row] = deed(w);
    t->colour[row] = colour_of(w->state);
}

static void say_workers(const struct mc_status *s, unsigned width, bool colour, struct mc_sb *out)
{
    struct table t = {.rows = 0};
    size_t n;
    struct mc_status_worker *v = mc_status_workers(s, &n);
    bool ok = v && open_table(&t, worker_columns, W_COLUMNS, n);
    for (size_t i = 0; ok && i < n; i++)
        fill_worker(&v[i], &t, i);
    if (ok)
        write_table(&t, width, colour, out);
    out->bad |= !ok;
    for (size_t i = 0; ok && i < n; i++)
        free((void *)(uintptr_t)t.last[i]);
    close_table(&t);
    free(v);
}

void mc_status_table(const struct mc_status *s, unsigned width, bool colour, struct mc_sb *out)
{
    say_head(s, out);
    mc_sb_addc(out, '\n');
    say_pools(s, width, colour, out);
    mc_sb_addc(out, '\n');
    say_workers(s, width, colour, out);
}
