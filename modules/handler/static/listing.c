/* The page of a directory without index: its names, directories first. Every name is escaped for HTML and encoded for its link. What the action would
 * not serve is not shown. Worker side, on the loop. */
#include "modules/handler/static/static.h"

#include "core/os/fd.h"
#include "core/server/handler.h"
#include "core/server/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAMES_MAX = 10000, PAGE_MAX = 8 << 20 };

struct name {
    char *name;
    bool dir;
    int64_t size;
    time_t mtime;
};

struct names {
    struct name *v;
    size_t n, cap;
    bool more; /* there are more than are shown */
};

static void escape(struct mc_sb *out, const char *z)
{
    for (; *z; z++) {
        switch (*z) {
        case '&':
            mc_sb_addz(out, "&amp;");
            break;
        case '<':
            mc_sb_addz(out, "&lt;");
            break;
        case '>':
            mc_sb_addz(out, "&gt;");
            break;
        case '"':
            mc_sb_addz(out, "&quot;");
            break;
        case '\'':
            mc_sb_addz(out, "&#39;");
            break;
        default:
            mc_sb_addc(out, (unsigned char)*z < 0x20 || *z == 0x7f ? '?' : *z);
        }
    }
}

void mc_static_encode(struct mc_sb *out, struct mc_str path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=@/";
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c && strchr(plain, c))
            mc_sb_addc(out, (char)c);
        else
            mc_sb_addf(out, "%%%02X", c);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return x->dir != y->dir ? y->dir - x->dir : strcmp(x->name, y->name);
}

static int take(struct names *all, int dirfd, const char *name, enum mc_static_links links)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, links == MC_LINKS_ANY ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
        return MC_OK;
    if (links == MC_LINKS_BENEATH && S_ISLNK(st.st_mode)) { /* where it leads is settled when it is opened */
        struct stat to;
        if (fstatat(dirfd, name, &to, 0) == 0)
            st = to;
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return MC_OK;
    if (all->n == NAMES_MAX) {
        all->more = true;
        return MC_OK;
    }
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 64;
        struct name *v = realloc(all->v, cap * sizeof *v);
        if (!v)
            return MC_ERROR;
        all->v = v;
        all->cap = cap;
    }
    char *copy = strdup(name);
    if (!copy)
        return MC_ERROR;
    all->v[all->n++] = (struct name){.name = copy, .dir = S_ISDIR(st.st_mode), .size = st.st_size, .mtime = st.st_mtime};
    return MC_OK;
}

static int read_names(struct mc_static *s, struct mc_str path, struct names *all)
{
    struct mc_static_limits limits = mc_static_limits(mc_worker_current->conf);
    char *text = strndup(path.n ? path.p : "", path.n);
    int fd = text ? mc_static_open(s, text, O_RDONLY | O_DIRECTORY | O_NONBLOCK, mc_worker_current->loop.now, (uint64_t)limits.valid) : -1;
    int rc = MC_OK, err = errno;
    free(text);
    if (fd < 0)
        return mc_static_status(err);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return 503;
    }
    struct dirent *d;
    while (rc == MC_OK && !all->more && (d = readdir(dir)))
        if (mc_static_path_ok(mc_str(d->d_name), s->hidden))
            rc = take(all, fd, d->d_name, s->links);
    closedir(dir);
    if (all->n)
        qsort(all->v, all->n, sizeof *all->v, by_name);
    return rc == MC_OK ? MC_OK : 503;
}

static void print_size(struct mc_sb *out, int64_t n)
{
    static const char units[] = " KMGT";
    unsigned u = 0;
    double v = (double)n;
    while (v >= 1024 && u < 4) {
        v /= 1024;
        u++;
    }
    if (u == 0)
        mc_sb_addf(out, "%lld", (long long)n);
    else
        mc_sb_addf(out, v < 10 ? "%.1f %ciB" : "%.0f %ciB", v, units[u]);
}

static void print_row(struct mc_sb *out, const struct name *f)
{
    char date[32] = "";
    struct tm tm;
    if (gmtime_r(&f->mtime, &tm))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M", &tm);
    mc_sb_addz(out, "<tr><td><a href=\"./");
    mc_static_encode(out, mc_str(f->name));
    mc_sb_addz(out, f->dir ? "/\">" : "\">");
    escape(out, f->name);
    mc_sb_addz(out, f->dir ? "/</a></td><td></td><td>" : "</a></td><td>");
    if (!f->dir) {
        print_size(out, f->size);
        mc_sb_addz(out, "</td><td>");
    }
    mc_sb_addz(out, date);
    mc_sb_addz(out, "</td></tr>\n");
}

static void print_page(struct mc_sb *out, struct mc_str path, const struct names *all)
{
    char title[1024];
    size_t n = path.n < sizeof title ? path.n : sizeof title - 1;
    memcpy(title, path.p, n);
    title[n] = 0;
    mc_sb_addz(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    escape(out, title);
    mc_sb_addz(out, "</title>\n<style>\n"
                    "body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; background: #fff }\n"
                    "h1 { font-size: 1.4rem; overflow-wrap: anywhere }\ntable { border-collapse: collapse; width: 100% }\n"
                    "th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #e5e5e5; overflow-wrap: anywhere }\n"
                    "td:nth-child(2), td:nth-child(3) { white-space: nowrap; color: #666; font-variant-numeric: tabular-nums }\n"
                    "a { color: #0550ae; text-decoration: none }\na:hover { text-decoration: underline }\n"
                    "@media (prefers-color-scheme: dark) { body { color: #ddd; background: #161616 } th, td { border-color: #333 } a { color: #79b8ff } }\n"
                    "</style>\n</head>\n<body>\n<h1>");
    escape(out, title);
    mc_sb_addz(out, "</h1>\n<table>\n<tr><th>Name</th><th>Size</th><th>Changed (UTC)</th></tr>\n");
    if (path.n > 1)
        mc_sb_addz(out, "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    for (size_t i = 0; i < all->n; i++)
        print_row(out, &all->v[i]);
    mc_sb_addz(out, "</table>\n");
    if (all->more)
        mc_sb_addf(out, "<p>Only %d names are shown.</p>\n", NAMES_MAX);
    mc_sb_addz(out, "</body>\n</html>\n");
}

int mc_static_list(struct mc_request *r, struct mc_static *s, struct mc_str name)
{
    struct names all = {.v = NULL};
    struct mc_sb page;
    mc_sb_init(&page, PAGE_MAX);
    int rc = read_names(s, name, &all);
    if (rc == MC_OK)
        print_page(&page, r->path, &all);
    if (rc == MC_OK && (page.bad || mc_response_begin(r, 200, MC_STR_NONE) != MC_OK ||
                        mc_response_field(r, MC_STR("Content-Type"), MC_STR("text/html; charset=utf-8")) != MC_OK))
        rc = 503;
    if (rc == MC_OK)
        rc = mc_response_end(r, page.p, page.n);
    for (size_t i = 0; i < all.n; i++)
        free(all.v[i].name);
    free(all.v);
    mc_sb_fini(&page);
    return rc;
}
