/* -V: what this program was built from. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/config/help.h"

#include "core/base/module.h"
#include "core/config/confuse.h"

#include "mc_config.h"

#include <http_parser.h>
#include <pcre2.h>
#include <stdio.h>

static void libraries(struct mc_sb *out)
{
    char pcre2[64];
    unsigned long http = http_parser_version();
    mc_sb_addf(out, "libraries: libconfuse %s, http-parser %lu.%lu.%lu", mc_confuse_version(), http >> 16 & 255, http >> 8 & 255,
               http & 255);
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof pcre2 && pcre2_config(PCRE2_CONFIG_VERSION, pcre2) > 0) {
        mc_sb_addf(out, ", pcre2 %s", pcre2);
    }
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        const char *version = (*m)->version ? (*m)->version() : NULL;
        if (version)
            mc_sb_addf(out, ", %s", version);
    }
    mc_sb_addc(out, '\n');
}

void mc_help_build(struct mc_sb *out)
{
    mc_help_version(out);
    mc_sb_addf(out, "configured with: %s\n", *mc_configure_args ? mc_configure_args : "no options");
    mc_sb_addf(out, "compiled by: %s\n", MC_CC);
    libraries(out);
    mc_sb_addz(out, "modules:\n");
    for (const struct mc_module *const *m = mc_modules; *m; m++)
        mc_sb_addf(out, "  %-10s %s\n", mc_module_kind_name((*m)->kind), (*m)->name);
}
