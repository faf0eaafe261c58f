/* --help and the other texts, made from the table. Never exits and never writes: load.c does. */
#include "core/config/help.h"

#include "core/config/conf.h"
#include "core/config/value.h"

#include "mc_config.h"

enum { COLUMN = 34, WIDTH = 100 };

static void pad(struct mc_sb *out, size_t n)
{
    while (n-- > 0)
        mc_sb_addc(out, ' ');
}

/* Words from the given column on; the next lines begin at COLUMN. */
static void wrap(struct mc_sb *out, size_t column, const char *text)
{
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > COLUMN && column + 1 + word > WIDTH) {
            mc_sb_addc(out, '\n');
            pad(out, COLUMN);
            column = COLUMN;
        } else if (column > COLUMN) {
            mc_sb_addc(out, ' ');
            column++;
        }
        mc_sb_add(out, text, word);
        column += word;
        text += word + (text[word] == ' ');
    }
    mc_sb_addc(out, '\n');
}

/* "  -w, --workers INT" and its line of documentation. */
static void entry(struct mc_sb *out, char letter, const char *flags, const char *meta, const char *doc)
{
    size_t begin = out->n;
    if (letter)
        mc_sb_addf(out, "  -%c, ", letter);
    else
        mc_sb_addz(out, "      ");
    for (const char *p = flags; *p; p++) {
        if (*p == '|')
            mc_sb_addz(out, ", ");
        else
            mc_sb_addc(out, *p);
    }
    if (meta)
        mc_sb_addf(out, " %s", meta);
    if (out->n - begin + 2 > COLUMN) {
        mc_sb_addc(out, '\n');
        begin = out->n;
    }
    pad(out, COLUMN - (out->n - begin));
    wrap(out, COLUMN, doc);
}

static void setting_entry(struct mc_sb *out, const struct mc_setting *s)
{
    struct mc_sb doc;
    const char *dflt = mc_value_default_text(s);
    bool flag = s->flags & MC_SETF_FLAG;
    mc_sb_init(&doc, 1024);
    mc_sb_addf(&doc, s->flags & MC_SETF_NEGATED ? "do not %s" : "%s", s->doc);
    if (!flag && *dflt)
        mc_sb_addf(&doc, " [%s]", dflt);
    if (s->env && strcmp(s->env, "PORT") != 0)
        mc_sb_addf(&doc, " ($%s)", s->env);
    entry(out, s->letter, s->flag, s->meta, mc_sb_z(&doc));
    mc_sb_fini(&doc);
}

static void file_only(struct mc_sb *out)
{
    const char *separator = "";
    struct mc_sb names;
    mc_sb_init(&names, 4096);
    mc_sb_addz(out, "  In the file only:");
    pad(out, COLUMN - 19);
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        if (s->flag || s->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED))
            continue;
        mc_sb_addf(&names, "%s%s", separator, s->name);
        separator = ", ";
    }
    mc_sb_addz(&names, "; and the sections pool, app, server, route and upstream.");
    wrap(out, COLUMN, mc_sb_z(&names));
    mc_sb_fini(&names);
}

void mc_help_options(struct mc_sb *out)
{
    mc_sb_addz(out, "Usage: monoceros [OPTIONS] [APP]\n"
                    "Serves APP, which is MODULE, MODULE:NAME or MODULE:FACTORY(), or what a configuration file says.\n"
                    "\nGeneral\n");
    entry(out, 'h', "--help", NULL, "print this and exit");
    entry(out, 'v', "--version", NULL, "print the version and exit");
    mc_sb_addz(out, "  -V");
    pad(out, COLUMN - 4);
    wrap(out, COLUMN, "print version, configure arguments, libraries and modules, and exit");
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        if (s->group)
            mc_sb_addf(out, "\n%s\n", s->group);
        if (s->flag && !(s->flags & MC_SETF_REFUSED))
            setting_entry(out, s);
    }
    mc_sb_addz(out, "\nEvery option NAME is also a setting of the configuration file, under the name that --print-config shows.\n");
    file_only(out);
    mc_sb_addz(out, "Later ones win: built-in values, environment, file, options in $GUNICORN_CMD_ARGS and $MONOCEROS_CMD_ARGS, command line.\n");
}

void mc_help_version(struct mc_sb *out)
{
    mc_sb_addz(out, "monoceros " MC_VERSION "\n");
}

void mc_help_nothing(struct mc_sb *out)
{
    mc_sb_addz(out, "monoceros " MC_VERSION " is an application server: it runs web apps in worker processes and speaks HTTP to clients.\n"
                    "There is no APP on the command line and no monoceros.conf or gunicorn.conf.py here, so there is nothing to serve.\n"
                    "  An app:   monoceros -w 4 -b 127.0.0.1:8000 MODULE:NAME     (such as mysite.wsgi:application)\n"
                    "  A file:   monoceros -c monoceros.conf                      (--print-config shows one for any options)\n"
                    "  More:     monoceros --help, and README.md\n");
}
