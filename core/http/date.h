/* HTTP dates as clients send them (RFC 9110 §5.6.7). */
#ifndef MC_HTTP_DATE_H
#define MC_HTTP_DATE_H

#include "core/base/str.h"

#include <time.h>

/* IMF-fixdate, RFC 850 or asctime form, years 1970 to 9999; the name of the day is not checked against the date. MC_OK or MC_ERROR. */
int mc_date_parse(struct mc_str s, time_t *out);

#endif
