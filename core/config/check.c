/* Checks of single words. Pure; called by value.c through the table, and by modules' tables of core. Arbiter and worker side. */
#include "core/config/check.h"

#include "core/base/log.h"
#include "core/os/socket.h"
#include "core/os/target.h"

#include <stdio.h>
#include <strings.h>

static int say(char *err, size_t cap, const char *wanted, const char *value)
{
    (void)snprintf(err, cap, "expected %s, not '%.80s'", wanted, value);
    return MC_ERROR;
}

int mc_check_loglevel(const char *value, char *err, size_t cap)
{
    enum mc_log_level level;
    return mc_log_level_parse(value, &level) == MC_OK ? MC_OK : say(err, cap, "debug, info, warning, error or critical", value);
}

int mc_check_target(const char *value, char *err, size_t cap)
{
    return mc_target_check(value, err, cap);
}

/* One of these words, in any case. */
static bool among(const char *value, const char *const *words)
{
    while (*words && strcasecmp(*words, value) != 0)
        words++;
    return *words != NULL;
}

int mc_check_facility(const char *value, char *err, size_t cap)
{
    static const char *const names[] = {"kern",   "user",   "mail",   "daemon", "auth",   "security", "syslog", "lpr",
                                        "news",   "uucp",   "cron",   "authpriv", "ftp",  "local0",   "local1", "local2",
                                        "local3", "local4", "local5", "local6", "local7", NULL};
    return among(value, names) ? MC_OK : say(err, cap, "a facility of syslog such as user, daemon or local0", value);
}

int mc_check_syslog_format(const char *value, char *err, size_t cap)
{
    static const char *const names[] = {"auto", "rfc5424", "rfc3164", NULL};
    return among(value, names) ? MC_OK : say(err, cap, "auto, rfc5424 or rfc3164", value);
}

int mc_check_header_map(const char *value, char *err, size_t cap)
{
    if (strcmp(value, "drop") == 0 || strcmp(value, "refuse") == 0 || strcmp(value, "dangerous") == 0)
        return MC_OK;
    return say(err, cap, "drop, refuse or dangerous", value);
}

int mc_check_asgi_loop(const char *value, char *err, size_t cap)
{
    static const char *const names[] = {"auto", "asyncio", "uvloop", NULL};
    return among(value, names) ? MC_OK : say(err, cap, "auto, asyncio or uvloop", value);
}

int mc_check_lifespan(const char *value, char *err, size_t cap)
{
    static const char *const names[] = {"auto", "on", "off", NULL};
    return among(value, names) ? MC_OK : say(err, cap, "auto, on or off", value);
}

int mc_check_root_path(const char *value, char *err, size_t cap)
{
    size_t n = strlen(value);
    if (n == 0 || (value[0] == '/' && n > 1 && value[n - 1] != '/'))
        return mc_check_text(value, err, cap);
    return say(err, cap, "a path that begins with '/' and does not end with one", value);
}

int mc_check_env(const char *value, char *err, size_t cap)
{
    const char *eq = strchr(value, '=');
    return eq && eq != value ? MC_OK : say(err, cap, "KEY=VALUE", value);
}

int mc_check_cidr(const char *value, char *err, size_t cap)
{
    struct mc_cidr c;
    return mc_cidr_parse(mc_str(value), &c) == MC_OK ? MC_OK : say(err, cap, "an address, a network such as 10.0.0.0/8, or *", value);
}

static bool is_alnum(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

int mc_check_server(const char *value, char *err, size_t cap)
{
    struct mc_addr ignored;
    return mc_addr_numeric(value, 53, &ignored) == MC_OK ? MC_OK : say(err, cap, "an address of numbers such as 127.0.0.1:53", value);
}

/* RFC 9110 §5.6.2 */
static bool is_token(struct mc_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        int c = mc_lower((unsigned char)s.p[i]);
        if (!is_alnum(c) && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.n > 0;
}

int mc_check_text(const char *value, char *err, size_t cap)
{
    for (const char *p = value; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return say(err, cap, "a text without control characters", value);
    }
    return MC_OK;
}

int mc_check_field(const char *value, char *err, size_t cap)
{
    const char *colon = strchr(value, ':');
    if (!colon || !is_token((struct mc_str){value, (size_t)(colon - value)}) || !colon[1])
        return say(err, cap, "'NAME: value'", value);
    return mc_check_text(value, err, cap);
}

int mc_check_field_name(const char *value, char *err, size_t cap)
{
    return is_token(mc_str(value)) ? MC_OK : say(err, cap, "a header name, or *", value);
}

int mc_check_filled(const char *value, char *err, size_t cap)
{
    if (*value)
        return MC_OK;
    (void)snprintf(err, cap, "must not be empty");
    return MC_ERROR;
}

static bool is_ipv6(const char *value)
{
    size_t n = strlen(value);
    return n > 3 && value[n - 1] == ']' && strspn(value + 1, "0123456789abcdefABCDEF:.") == n - 2;
}

int mc_check_host(const char *value, char *err, size_t cap)
{
    const char *p = strncmp(value, "*.", 2) == 0 ? value + 2 : value;
    size_t label = 0;
    if (strlen(value) > 253)
        return say(err, cap, "a host name of at most 253 characters", value);
    if (value[0] == '[' && is_ipv6(value))
        return MC_OK;
    for (; *p; p++) {
        int c = mc_lower((unsigned char)*p);
        if (c == '.' ? label == 0 : !is_alnum(c) && c != '-' && c != '_')
            break;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            break;
    }
    if (*p || label == 0)
        return say(err, cap, "a host name such as example.org or *.example.org", value);
    return MC_OK;
}

static const char *unmarked(const char *value)
{
    return value + (value[0] == '!');
}

int mc_check_name(const char *value, char *err, size_t cap)
{
    const char *name = unmarked(value);
    if (name[0] == '~')
        return mc_check_filled(name + 1, err, cap);
    return mc_check_host(name, err, cap);
}

int mc_check_method(const char *value, char *err, size_t cap)
{
    const char *name = unmarked(value);
    for (const char *p = name; *p; p++) {
        if (*p >= 'a' && *p <= 'z')
            return say(err, cap, "a method in capitals such as GET", value);
    }
    return is_token(mc_str(name)) ? MC_OK : say(err, cap, "a method such as GET", value);
}

int mc_check_scheme(const char *value, char *err, size_t cap)
{
    const char *name = unmarked(value);
    return strcmp(name, "http") == 0 || strcmp(name, "https") == 0 ? MC_OK : say(err, cap, "http or https", value);
}

int mc_check_client(const char *value, char *err, size_t cap)
{
    return mc_check_cidr(unmarked(value), err, cap);
}

int mc_check_cond_header(const char *value, char *err, size_t cap)
{
    const char *name = unmarked(value);
    return is_token(mc_str_trim((struct mc_str){name, strcspn(name, ":")})) ? MC_OK : say(err, cap, "'NAME' or 'NAME: PATTERN'", value);
}

int mc_check_cond_name(const char *value, char *err, size_t cap)
{
    const char *name = unmarked(value);
    size_t n = strcspn(name, "=");
    return n > 0 && strcspn(name, " \t;&") >= n ? MC_OK : say(err, cap, "'NAME' or 'NAME=PATTERN'", value);
}

int mc_check_protocol(const char *value, char *err, size_t cap)
{
    return strcmp(value, "http") == 0 || strcmp(value, "uwsgi") == 0 ? MC_OK : say(err, cap, "http or uwsgi", value);
}

int mc_check_http_protocol(const char *value, char *err, size_t cap)
{
    return strcmp(value, "h1") == 0 || strcmp(value, "h2") == 0 ? MC_OK : say(err, cap, "h1 or h2", value);
}

int mc_check_http2_cleartext(const char *value, char *err, size_t cap)
{
    bool ok = strcmp(value, "off") == 0 || strcmp(value, "prior-knowledge") == 0 || strcmp(value, "both") == 0;
    return ok ? MC_OK : say(err, cap, "off, prior-knowledge or both (which is the same: RFC 9113 has done away with the upgrade)", value);
}

int mc_check_proxy_protocol(const char *value, char *err, size_t cap)
{
    static const char *const modes[] = {"off", "v1", "v2", "auto"};
    for (size_t i = 0; i < MC_COUNT(modes); i++) {
        if (strcmp(value, modes[i]) == 0)
            return MC_OK;
    }
    return say(err, cap, "off, v1, v2 or auto", value);
}
