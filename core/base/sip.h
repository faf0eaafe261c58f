/* SipHash-2-4: a keyed hash of short inputs that nobody without the key can aim at. */
#ifndef MC_BASE_SIP_H
#define MC_BASE_SIP_H

#include "core/base/str.h"

uint64_t mc_sip(const uint64_t key[2], struct mc_str s);

#endif
