/* The access log's format: Gunicorn's atoms compiled into a list of operations. A format that begins with '{' is JSON: there an atom inside of quotes is
 * escaped for them, and one outside of quotes is a value of its own. The word `json` stands for the keys of the text below.
 * Pure. Called by access.c; access_line.c makes the lines. */
#include "core/server/access_format.h"

#include "core/http/vars.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* nginx's names. docs/logging.md lists them. */
static const char json_keys[] =
    "{\"time\":%(time)s,\"remote_addr\":%(h)s,\"remote_user\":%(u)s,\"request_method\":%(m)s,\"request_uri\":%({raw_uri}e)s,"
    "\"server_protocol\":%(H)s,\"scheme\":%({wsgi.url_scheme}e)s,\"host\":%({host}i)s,\"status\":%(s)s,\"body_bytes_sent\":%(B)s,"
    "\"request_time\":%(L)s,\"http_referer\":%(f)s,\"http_user_agent\":%(a)s,\"pid\":%(p)s,\"route\":%({route}x)s,"
    "\"ssl_protocol\":%({ssl_protocol}x)s,\"ssl_cipher\":%({ssl_cipher}x)s,\"ssl_server_name\":%({ssl_server_name}x)s,"
    "\"ssl_client_s_dn\":%({ssl_client_s_dn}x)s,\"upstream_addr\":%({upstream_addr}x)s,\"upstream_status\":%({upstream_status}x)s,"
    "\"upstream_response_time\":%({upstream_response_time}x)s}";

static const struct {
    const char *word;
    enum mc_access_atom what;
} words[] = {
    {"h", MC_ATOM_PEER},    {"l", MC_ATOM_ABSENT},   {"u", MC_ATOM_USER},    {"t", MC_ATOM_TIME},   {"r", MC_ATOM_REQUEST_LINE},
    {"m", MC_ATOM_METHOD},  {"U", MC_ATOM_PATH},     {"q", MC_ATOM_QUERY},   {"H", MC_ATOM_PROTOCOL}, {"s", MC_ATOM_STATUS},
    {"B", MC_ATOM_BYTES},   {"b", MC_ATOM_BYTES},    {"T", MC_ATOM_SECONDS}, {"M", MC_ATOM_MILLIS}, {"D", MC_ATOM_MICROS},
    {"L", MC_ATOM_DECIMAL}, {"p", MC_ATOM_PID},      {"time", MC_ATOM_TIME_RFC3339},
};

/* What of a WSGI environ the server knows itself; the rest is absent. */
static const struct {
    const char *name;
    enum mc_access_atom what;
} variables[] = {
    {"request_method", MC_ATOM_METHOD}, {"path_info", MC_ATOM_PATH},          {"query_string", MC_ATOM_QUERY},
    {"server_protocol", MC_ATOM_PROTOCOL}, {"remote_addr", MC_ATOM_PEER},     {"remote_user", MC_ATOM_USER},
    {"raw_uri", MC_ATOM_TARGET},        {"wsgi.url_scheme", MC_ATOM_SCHEME},  {"server_name", MC_ATOM_SERVER_NAME},
    {"server_port", MC_ATOM_SERVER_PORT},
};

static struct mc_access_op named(char *name, enum mc_access_atom what)
{
    return (struct mc_access_op){.what = what, .text = mc_str(name)};
}

static struct mc_access_op absent(void)
{
    return (struct mc_access_op){.what = MC_ATOM_ABSENT};
}

/* {name}e, in place: HTTP_X_Y becomes the field x-y. */
static struct mc_access_op environ_key(char *name)
{
    static char remote_port[] = "remote_port";
    for (char *p = name; *p; p++)
        *p = (char)mc_lower((unsigned char)*p);
    for (size_t i = 0; i < MC_COUNT(variables); i++) {
        if (strcmp(name, variables[i].name) == 0)
            return (struct mc_access_op){.what = variables[i].what};
    }
    if (strcmp(name, remote_port) == 0)
        return named(remote_port, MC_ATOM_VARIABLE);
    bool content = strcmp(name, "content_type") == 0 || strcmp(name, "content_length") == 0;
    if (!content && strncmp(name, "http_", 5) != 0)
        return absent();
    if (!content)
        name += 5;
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    return named(name, MC_ATOM_FIELD);
}

static char referer[] = "referer", user_agent[] = "user-agent";

/* The inside of %(...)s. Unknown words are absent, as in Gunicorn. */
static struct mc_access_op atom(char *word)
{
    size_t n = strlen(word);
    if (strcmp(word, "f") == 0)
        return named(referer, MC_ATOM_FIELD);
    if (strcmp(word, "a") == 0)
        return named(user_agent, MC_ATOM_FIELD);
    for (size_t i = 0; i < MC_COUNT(words); i++) {
        if (strcmp(word, words[i].word) == 0)
            return (struct mc_access_op){.what = words[i].what};
    }
    if (n < 4 || word[0] != '{' || word[n - 2] != '}')
        return absent();
    char kind = word[n - 1];
    word[n - 2] = '\0';
    switch (kind) {
    case 'i':
        return named(word + 1, MC_ATOM_FIELD);
    case 'o':
        return named(word + 1, MC_ATOM_RESPONSE_FIELD);
    case 'x':
        return named(word + 1, MC_ATOM_VARIABLE);
    case 'e':
        return environ_key(word + 1);
    default:
        return absent();
    }
}

static void append(struct mc_access_format *f, struct mc_access_op op)
{
    f->prog[f->nops++] = op;
}

/* One % sequence; *p stands behind it. */
static int sequence(struct mc_access_format *f, char **p, bool quoted, char *err, size_t errcap)
{
    char *at = *p, *bracket = at[1] == '(' ? strchr(at, ')') : NULL;
    if (at[1] == '%') {
        append(f, (struct mc_access_op){.what = MC_ATOM_TEXT, .text = {at, 1}});
        *p = at + 2;
        return MC_OK;
    }
    if (!bracket || (bracket[1] != 's' && bracket[1] != 'd')) {
        snprintf(err, errcap, "\"%.20s\" is not of the form %%(NAME)s", at);
        return MC_ERROR;
    }
    *bracket = '\0';
    struct mc_access_op op = atom(at + 2);
    op.value = f->json && !quoted;
    *p = bracket + 2;
    if (op.what == MC_ATOM_VARIABLE && !mc_vars_known(op.text)) {
        snprintf(err, errcap, "unknown variable '%.40s' in %%({%.40s}x)s", op.text.p, op.text.p);
        return MC_ERROR;
    }
    append(f, op);
    return MC_OK;
}

/* Is the end of this piece of JSON inside of a string? */
static bool in_string(const char *p, size_t n, bool quoted)
{
    for (size_t i = 0; i < n; i++) {
        if (quoted && p[i] == '\\')
            i++;
        else if (p[i] == '"')
            quoted = !quoted;
    }
    return quoted;
}

int mc_access_format_compile(struct mc_access_format *f, const char *format, char *err, size_t errcap)
{
    bool quoted = false;
    if (strcmp(format, "json") == 0)
        format = json_keys;
    f->json = format[0] == '{';
    f->names = strdup(format);
    snprintf(f->pid, sizeof(f->pid), "<%ld>", (long)getpid());
    f->prog = calloc(strlen(format) + 1, sizeof(*f->prog));
    if (!f->names || !f->prog) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    for (char *p = f->names; *p;) {
        size_t n = strcspn(p, "%");
        if (n)
            append(f, (struct mc_access_op){.what = MC_ATOM_TEXT, .text = {p, n}});
        quoted = in_string(p, n, quoted);
        p += n;
        if (*p && sequence(f, &p, quoted, err, errcap) != MC_OK)
            return MC_ERROR;
    }
    if (!f->json || !quoted)
        return MC_OK;
    snprintf(err, errcap, "a string of this JSON has no end: a '\"' is missing");
    return MC_ERROR;
}

void mc_access_format_free(struct mc_access_format *f)
{
    free(f->names);
    free(f->prog);
    f->names = NULL;
    f->prog = NULL;
}
