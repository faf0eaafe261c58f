/* Any bytes as a configuration: normal form must print back to itself, and the grammar of people's files must hold without touching the disk. */
#include "core/config/conf.h"
#include "core/config/confuse.h"
#include "core/config/schema.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TEXT = 16 << 20 };

/* What was read once prints to a text that reads back to the same text. */
static void check_round_trip(const char *text, size_t n)
{
    char err[256] = "";
    struct mc_sb one, two;
    struct mc_conf *again, *c = mc_conf_parse(text, n, "fuzz.conf", err, sizeof err);
    if (!c) {
        MC_ASSERT(err[0] != '\0');
        return;
    }
    mc_sb_init(&one, MAX_TEXT);
    mc_sb_init(&two, MAX_TEXT);
    MC_ASSERT(mc_conf_print(c, &one) == MC_OK);
    again = mc_conf_parse(mc_sb_z(&one), one.n, "image", err, sizeof err);
    MC_ASSERT(again);
    MC_ASSERT(mc_conf_print(again, &two) == MC_OK);
    MC_ASSERT(one.n == two.n && memcmp(one.p, two.p, one.n) == 0);
    mc_sb_fini(&one);
    mc_sb_fini(&two);
    mc_conf_free(&again);
    mc_conf_free(&c);
}

/* As a file is read, with variables; include() has no directory to start from here. */
static void check_file(const char *text, size_t n)
{
    char err[256] = "";
    struct mc_arena arena;
    struct mc_build b = {.arena = &arena, .err = err, .errcap = sizeof err};
    mc_arena_init(&arena);
    if (mc_schema_open(&b) == MC_OK) {
        struct mc_block *root = mc_confuse_text(&b, "fuzz.conf", text, n);
        MC_ASSERT(!root == b.failed && (root || err[0]));
    }
    mc_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_round_trip((const char *)data, size);
    check_file((const char *)data, size);
    return 0;
}
