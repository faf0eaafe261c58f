/* Reads the three date forms of HTTP without the C library's locales and zones. Pure. Worker side. */
#include "core/http/date.h"

struct fields {
    unsigned year, month, day, hour, minute, second;
};

/* `n` digits at *p; a leading blank counts as 0 (asctime's day). */
static bool number(const char **p, unsigned n, unsigned *out)
{
    *out = 0;
    for (unsigned i = 0; i < n; i++, (*p)++) {
        if (i == 0 && n == 2 && **p == ' ')
            continue;
        if (**p < '0' || **p > '9')
            return false;
        *out = *out * 10 + (unsigned)(**p - '0');
    }
    return true;
}

static bool literal(const char **p, const char *text)
{
    size_t n = strlen(text);
    if (strncmp(*p, text, n) != 0)
        return false;
    *p += n;
    return true;
}

static bool month(const char **p, unsigned *out)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (unsigned i = 0; i < 12; i++) {
        if (strncmp(*p, names + i * 3, 3) == 0) {
            *out = i + 1;
            *p += 3;
            return true;
        }
    }
    return false;
}

static bool clock_time(const char **p, struct fields *f)
{
    return number(p, 2, &f->hour) && literal(p, ":") && number(p, 2, &f->minute) && literal(p, ":") && number(p, 2, &f->second);
}

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days(unsigned year, unsigned mon, unsigned day)
{
    int64_t y = (int64_t)year - (mon <= 2), era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((int64_t)mon + (mon > 2 ? -3 : 9)) + 2) / 5 + (int64_t)day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool plausible(const struct fields *f)
{
    static const uint8_t length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = f->year % 4 == 0 && (f->year % 100 != 0 || f->year % 400 == 0);
    return f->year >= 1970 && f->day >= 1 && f->day <= length[f->month - 1] && (f->month != 2 || f->day < 29 || leap) && f->hour <= 23 &&
           f->minute <= 59 && f->second <= 60;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" or, with the whole name of the day, "Sunday, 06-Nov-94 08:49:37 GMT". */
static bool with_comma(const char *p, struct fields *f)
{
    if (*p != ' ' || !number((p++, &p), 2, &f->day))
        return false;
    if (literal(&p, "-")) {
        if (!month(&p, &f->month) || !literal(&p, "-") || !number(&p, 2, &f->year))
            return false;
        f->year += f->year < 70 ? 2000 : 1900;
    } else if (!literal(&p, " ") || !month(&p, &f->month) || !literal(&p, " ") || !number(&p, 4, &f->year)) {
        return false;
    }
    return literal(&p, " ") && clock_time(&p, f) && literal(&p, " GMT") && *p == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool asctime_form(const char *p, struct fields *f)
{
    return strlen(p) == 24 && p[3] == ' ' && (p += 4, month(&p, &f->month)) && literal(&p, " ") && number(&p, 2, &f->day) &&
           literal(&p, " ") && clock_time(&p, f) && literal(&p, " ") && number(&p, 4, &f->year);
}

int mc_date_parse(struct mc_str s, time_t *out)
{
    char text[40]; /* the longest is "Wednesday, 09-Nov-94 08:49:37 GMT" */
    struct fields f = {0};
    if (s.n < 24 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return MC_ERROR;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    const char *comma = strchr(text, ',');
    if (!(comma ? with_comma(comma + 1, &f) : asctime_form(text, &f)) || !plausible(&f))
        return MC_ERROR;
    *out = (time_t)(days(f.year, f.month, f.day) * 86400 + f.hour * 3600 + f.minute * 60 + f.second);
    return MC_OK;
}
