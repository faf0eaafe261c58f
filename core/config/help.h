/* Texts for people: --help, -v, -V, and what a lone `monoceros` says. */
#ifndef MC_CONFIG_HELP_H
#define MC_CONFIG_HELP_H

#include "core/base/str.h"

void mc_help_options(struct mc_sb *out); /* --help, from the settings table */
void mc_help_version(struct mc_sb *out); /* -v */
void mc_help_build(struct mc_sb *out);   /* -V */
void mc_help_nothing(struct mc_sb *out); /* no APP and no file */

#endif
