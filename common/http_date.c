#include "common/http_date.h"

#include "common/http_chars.h"

enum { DAY_S = 86400 };

static const char day_names[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct civil {
    int64_t year;
    unsigned month, day; /* from 1 */
};

struct broken_down {
    struct civil date;
    unsigned hour, minute, second;
};

/* Days since 1970 in the proleptic Gregorian calendar, counting years from March so that the leap day is last
 * (the algorithm is described by H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
static int64_t days_from_civil(struct civil c)
{
    int64_t y = c.year - (c.month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (c.month + (c.month > 2 ? -3 : 9)) + 2) / 5 + c.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static struct civil civil_from_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (unsigned)((5 * day_of_year + 2) / 153);
    unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
    unsigned day = (unsigned)(day_of_year - (153 * shifted + 2) / 5 + 1);
    return (struct civil){year_of_era + era * 400 + (month <= 2), month, day};
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static unsigned days_in_month(struct civil c)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (c.year % 4 == 0 && c.year % 100 != 0) || c.year % 400 == 0;
    return c.month == 2 && leap ? 29 : days[c.month - 1];
}

static bool take_text(struct span *s, struct span text)
{
    if (s->len < text.len || !span_eq_nocase((struct span){s->p, text.len}, text))
        return false;
    *s = span_from(*s, text.len);
    return true;
}

static bool take_digits(struct span *s, size_t n, unsigned *out)
{
    *out = 0;
    if (s->len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!http_char_is(s->p[i], CHAR_DIGIT))
            return false;
        *out = *out * 10 + (unsigned)(s->p[i] - '0');
    }
    *s = span_from(*s, n);
    return true;
}

/* The name of a day, long or short, is not held against the date: it adds nothing, and senders get it wrong.
 */
static bool take_day_name(struct span *s, bool *is_long)
{
    for (size_t i = 0; i < 7; i++) {
        struct span name = span_of(day_names[i]);
        *is_long = take_text(s, name);
        if (*is_long || take_text(s, (struct span){name.p, 3}))
            return true;
    }
    return false;
}

static bool take_month(struct span *s, unsigned *month)
{
    for (unsigned i = 0; i < 12; i++)
        if (take_text(s, (struct span){month_names[i], 3})) {
            *month = i + 1;
            return true;
        }
    return false;
}

static bool take_time(struct span *s, struct broken_down *t)
{
    return take_digits(s, 2, &t->hour) && take_text(s, SPAN(":")) && take_digits(s, 2, &t->minute) &&
           take_text(s, SPAN(":")) && take_digits(s, 2, &t->second);
}

/* Behind "Sun, ": "06 Nov 1994 08:49:37 GMT". */
static bool take_imf(struct span *s, struct broken_down *t)
{
    unsigned year;
    bool ok = take_digits(s, 2, &t->date.day) && take_text(s, SPAN(" ")) && take_month(s, &t->date.month) &&
              take_text(s, SPAN(" ")) && take_digits(s, 4, &year) && take_text(s, SPAN(" ")) &&
              take_time(s, t) && take_text(s, SPAN(" GMT"));
    t->date.year = ok ? year : 0;
    return ok;
}

/* The latest year with these last digits that is not more than 50 years ahead of now. */
static int64_t full_year(unsigned two_digits, const struct broken_down *t, int64_t now_s)
{
    struct civil now = civil_from_days(floor_div(now_s, DAY_S));
    struct civil edge = {now.year + 50, now.month, now.day};
    struct civil c = {floor_div(now.year, 100) * 100 + 100 + two_digits, t->date.month, t->date.day};
    int64_t edge_s = days_from_civil(edge) * DAY_S + now_s - floor_div(now_s, DAY_S) * DAY_S;
    while (days_from_civil(c) * DAY_S + t->hour * 3600 + t->minute * 60 + t->second > edge_s)
        c.year -= 100;
    return c.year;
}

/* Behind "Sunday, ": "06-Nov-94 08:49:37 GMT". */
static bool take_rfc850(struct span *s, struct broken_down *t, int64_t now_s)
{
    unsigned year;
    if (!take_digits(s, 2, &t->date.day) || !take_text(s, SPAN("-")) || !take_month(s, &t->date.month) ||
        !take_text(s, SPAN("-")) || !take_digits(s, 2, &year) || !take_text(s, SPAN(" ")) ||
        !take_time(s, t) || !take_text(s, SPAN(" GMT")))
        return false;
    t->date.year = full_year(year, t, now_s);
    return true;
}

/* Behind "Sun ": "Nov  6 08:49:37 1994". */
static bool take_asctime(struct span *s, struct broken_down *t)
{
    unsigned year;
    if (!take_month(s, &t->date.month) || !take_text(s, SPAN(" ")))
        return false;
    if (!(take_text(s, SPAN(" ")) ? take_digits(s, 1, &t->date.day) : take_digits(s, 2, &t->date.day)))
        return false;
    if (!take_text(s, SPAN(" ")) || !take_time(s, t) || !take_text(s, SPAN(" ")) || !take_digits(s, 4, &year))
        return false;
    t->date.year = year;
    return true;
}

/* Names and GMT match in any case: RFC 9111 section 4.2 asks that of a cache. */
bool http_date_parse(struct span value, int64_t now_s, int64_t *out_s)
{
    struct broken_down t = {0};
    bool is_long, ok;
    if (!take_day_name(&value, &is_long))
        return false;
    if (take_text(&value, SPAN(", ")))
        ok = is_long ? take_rfc850(&value, &t, now_s) : take_imf(&value, &t);
    else
        ok = !is_long && take_text(&value, SPAN(" ")) && take_asctime(&value, &t);
    if (!ok || value.len > 0)
        return false;
    /* 23:59:60 is a leap second, and no other minute has one (RFC 9110 section 5.6.7) */
    bool leap_second = t.hour == 23 && t.minute == 59 && t.second == 60;
    if (t.hour > 23 || t.minute > 59 || (t.second > 59 && !leap_second) || t.date.day < 1 ||
        t.date.day > days_in_month(t.date))
        return false;
    *out_s = days_from_civil(t.date) * DAY_S + t.hour * 3600 + t.minute * 60 + t.second;
    return true;
}

static void put_digits(char *out, size_t n, int64_t v)
{
    for (size_t i = n; i-- > 0; v /= 10)
        out[i] = (char)('0' + v % 10);
}

/* Times that four digits of a year cannot say become the first or the last that they can. */
void http_date_format(char *out, int64_t at_s)
{
    static const int64_t first_s = INT64_C(-62167219200), last_s = INT64_C(253402300799);
    at_s = at_s < first_s ? first_s : at_s > last_s ? last_s : at_s;
    int64_t days = floor_div(at_s, DAY_S), second = at_s - days * DAY_S;
    struct civil c = civil_from_days(days);

    memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", HTTP_DATE_BYTES);
    memcpy(out, day_names[(days % 7 + 11) % 7], 3); /* 1970 began on a Thursday */
    put_digits(out + 5, 2, c.day);
    memcpy(out + 8, month_names[c.month - 1], 3);
    put_digits(out + 12, 4, c.year);
    put_digits(out + 17, 2, second / 3600);
    put_digits(out + 20, 2, second / 60 % 60);
    put_digits(out + 23, 2, second % 60);
}
