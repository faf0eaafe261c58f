/* Grammar and names of a file before libconfuse reads it: every error that concerns form is found here, with the line on which it was made. */
#ifndef MC_CONFIG_PRESCAN_H
#define MC_CONFIG_PRESCAN_H

#include "core/config/build.h"

/* What stands at the top level, over all files of one load: repeated settings and titles are found across includes. */
struct mc_prescan_seen;
struct mc_prescan_top {
    struct mc_prescan_seen *seen;
};

/* Name of the hidden setting with which the text for libconfuse marks where a section begins; no file can hold it. */
#define MC_PRESCAN_MARK "@"

/* Check text; write what libconfuse shall read (same lines) to out. MC_ERROR: mc_build_fail() was called. */
int mc_prescan(struct mc_build *b, struct mc_prescan_top *top, const char *file, const char *text, size_t n, struct mc_sb *out);

#endif
