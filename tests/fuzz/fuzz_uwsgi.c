/* The uwsgi codec of listeners from bytes to requests and answers: events and output must not depend on how bytes arrive, and nothing breaks out of its place. */
#define DRIVE_OPS mc_module_find(MC_MODULE_PROTOCOL, "uwsgi")->ops.protocol
#include "tests/unit/modules/protocol/http1_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct drive d[FEED_COUNT];
    if (!mc_module_find(MC_MODULE_PROTOCOL, "uwsgi") || size > 70000)
        return 0;
    for (int feed = 0; feed < FEED_COUNT; feed++) {
        drive_init(&d[feed], (enum feed)feed);
        drive_run(&d[feed], (const char *)data, size);
        MC_ASSERT(!d[feed].log.bad && !d[feed].out.bad);
        const char *head = strstr(mc_sb_z(&d[feed].out), "HTTP/1.1 ");
        MC_ASSERT(!head || !strstr(head + 1, "HTTP/1.1 ")); /* one answer */
        if (feed) {
            MC_ASSERT(strcmp(mc_sb_z(&d[0].log), mc_sb_z(&d[feed].log)) == 0);
            MC_ASSERT(strcmp(mc_sb_z(&d[0].out), mc_sb_z(&d[feed].out)) == 0);
        }
    }
    for (int feed = 0; feed < FEED_COUNT; feed++)
        drive_fini(&d[feed]);
    return 0;
}
