/* Words of error_page: "502 503 504 /sorry", "404 =200 @front", "500 file:/srv/sorry.html". */
#ifndef MC_CONFIG_ERROR_PAGE_H
#define MC_CONFIG_ERROR_PAGE_H

#include "core/base/str.h"

enum mc_error_target { MC_ERROR_URI /* "/path": asked for as if with GET */, MC_ERROR_ROUTE /* "@name": a route of the server */, MC_ERROR_FILE };
enum { MC_ERROR_CODES = 16, MC_ERROR_FILE_MAX = 1 << 20 };

struct mc_error_words {
    uint16_t codes[MC_ERROR_CODES];
    size_t ncodes;
    int answer; /* "=CODE": the status of the answer; 0: that of the error; -1 ("="): what the page says */
    enum mc_error_target kind;
    struct mc_str target; /* without "@" and "file:" */
};

/* MC_OK or MC_ERROR with err. */
int mc_error_page_parse(const char *text, struct mc_error_words *out, char *err, size_t errcap);
/* For the table of settings. */
int mc_error_page_check(const char *value, char *err, size_t cap);

#endif
