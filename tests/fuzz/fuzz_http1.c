/* The HTTP/1 codec from bytes to requests and answers: events and output must not depend on how bytes arrive. */
#include "tests/unit/modules/protocol/http1_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct drive d[FEED_COUNT];
    for (int feed = 0; feed < FEED_COUNT; feed++) {
        drive_init(&d[feed], (enum feed)feed);
        drive_run(&d[feed], (const char *)data, size);
        MC_ASSERT(!d[feed].log.bad && !d[feed].out.bad);
        if (feed) {
            MC_ASSERT(strcmp(mc_sb_z(&d[0].log), mc_sb_z(&d[feed].log)) == 0);
            MC_ASSERT(strcmp(mc_sb_z(&d[0].out), mc_sb_z(&d[feed].out)) == 0);
        }
    }
    for (int feed = 0; feed < FEED_COUNT; feed++)
        drive_fini(&d[feed]);
    return 0;
}
