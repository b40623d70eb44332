#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "common/sf.h"

/* What was parsed, written so that type and value can be read off. */
static void put_item(struct buf *out, const struct sf_item *item)
{
    static const char *const names[] = {
        [SF_INTEGER] = "int ", [SF_DECIMAL] = "dec ", [SF_STRING] = "str ",
        [SF_TOKEN] = "tok ",   [SF_BYTES] = "b64 ",   [SF_BOOLEAN] = "bool ",
        [SF_DATE] = "date ",   [SF_DISPLAY] = "dis ", [SF_INNER_LIST] = "(",
    };
    buf_put_span(out, span_of(names[item->type]));
    struct span rest = item->text;
    struct sf_item inner;
    switch (item->type) {
    case SF_INTEGER:
    case SF_DECIMAL:
    case SF_BOOLEAN:
    case SF_DATE:
        buf_put_int(out, item->number);
        break;
    case SF_INNER_LIST:
        for (bool is_first = true; sf_inner_next(&rest, &inner); is_first = false) {
            buf_put_span(out, is_first ? SPAN("") : SPAN(" "));
            put_item(out, &inner);
        }
        buf_put_lit(out, ")");
        break;
    default:
        buf_put_span(out, item->text);
    }
    struct sf_member parameter;
    for (rest = item->parameters; sf_parameter_next(&rest, &parameter);) {
        buf_put_lit(out, ";");
        buf_put_span(out, parameter.key);
        buf_put_lit(out, "=");
        put_item(out, &parameter.value);
    }
}

static void put_members(struct buf *out, const struct http_head *h, enum sf_kind kind)
{
    struct sf_it it = {0};
    struct sf_member m;
    while (sf_next(h, SPAN("Example"), kind, &it, &m)) {
        if (out->len > 0)
            buf_put_lit(out, " | ");
        buf_put_span(out, m.key);
        if (kind == SF_DICTIONARY)
            buf_put_lit(out, ": ");
        put_item(out, &m.value);
    }
}

#define INVALID NULL
#define E       "Example: "

static const struct {
    const char *rfc;
    enum sf_kind kind;
    const char *lines, *members;
} fields[] = {
    {"9651 3.1", SF_LIST, E "sugar, tea, rum\n", "tok sugar | tok tea | tok rum"},
    {"9651 3.1: two lines", SF_LIST, E "sugar, tea\nX: 1\nexample: rum\n", "tok sugar | tok tea | tok rum"},
    {"9651 3.1: an empty list", SF_LIST, E "\n", ""},
    {"9651 3.1: absent", SF_LIST, "", ""},
    {"9651 3.1.1", SF_LIST, E "(\"foo\" \"bar\"), (\"baz\"), (\"bat\" \"one\"), ()\n",
     "(str foo str bar) | (str baz) | (str bat str one) | ()"},
    {"9651 3.1.1: parameters at two levels", SF_LIST, E "(\"foo\"; a=1;b=2);lvl=5, (\"bar\" \"baz\");lvl=1\n",
     "(str foo;a=int 1;b=int 2);lvl=int 5 | (str bar str baz);lvl=int 1"},
    {"9651 3.1.2", SF_LIST, E "abc;a=1;b=2; cde_456, (ghi;jk=4 l);q=\"9\";r=w\n",
     "tok abc;a=int 1;b=int 2;cde_456=bool 1 | (tok ghi;jk=int 4 tok l);q=str 9;r=tok w"},
    {"9651 3.2", SF_DICTIONARY, E "en=\"Applepie\", da=:w4ZibGV0w6ZydGU=:\n",
     "en: str Applepie | da: b64 w4ZibGV0w6ZydGU="},
    {"9651 3.2: booleans", SF_DICTIONARY, E "a=?0, b, c; foo=bar\n",
     "a: bool 0 | b: bool 1 | c: bool 1;foo=tok bar"},
    {"9651 3.2: inner lists", SF_DICTIONARY, E "rating=1.5, feelings=(joy sadness)\n",
     "rating: dec 1500 | feelings: (tok joy tok sadness)"},
    {"9651 3.2: mixed", SF_DICTIONARY, E "a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid\n",
     "a: (int 1 int 2) | b: int 3 | c: int 4;aa=tok bb | d: (int 5 int 6);valid=bool 1"},
    {"9651 3.2: two lines", SF_DICTIONARY, E "foo=1\n" E "bar=2\n", "foo: int 1 | bar: int 2"},
    {"9651 4.2.2: duplicates in order, the last counts", SF_DICTIONARY, E "a=1, b=2, a=3\n",
     "a: int 1 | b: int 2 | a: int 3"},
    {"9651 4.2.2: an empty dictionary", SF_DICTIONARY, E "\n", ""},
    {"9651 4.2.1: white space around commas", SF_LIST, E "a ,\t b\t,c\n", "tok a | tok b | tok c"},
    {"9651 4.2.1: a trailing comma", SF_LIST, E "a, b,\n", INVALID},
    {"9651 4.2.1: a leading comma", SF_LIST, E ", a\n", INVALID},
    {"9651 4.2.1: two commas", SF_LIST, E "a,, b\n", INVALID},
    {"9651 4.2.1: no comma", SF_LIST, E "a b\n", INVALID},
    {"9651 4.2: a line that does not parse", SF_LIST, E "a\n" E "\"foo\n", INVALID},
    {"9651 4.2: an empty line leaves a comma", SF_LIST, E "a\n" E "\n", INVALID},
    {"9651 4.2: a comma at a line's end is one too many", SF_LIST, E "a,\n" E "b\n", INVALID},
    {"9651 4.2.1.2: open", SF_LIST, E "(a b\n", INVALID},
    {"9651 4.2.1.2: nested", SF_LIST, E "((a))\n", INVALID},
    {"9651 4.2.1.2: commas inside", SF_LIST, E "(a, b)\n", INVALID},
    {"9651 4.2.1.2: tabs inside", SF_LIST, E "(a\tb)\n", INVALID},
    {"9651 4.2.1.2: nothing between", SF_LIST, E "(\"a\"\"b\")\n", INVALID},
    {"9651 4.2.1.2: spaces inside", SF_LIST, E "(  a   b  )\n", "(tok a tok b)"},
    {"9651 4.2.2: no key", SF_DICTIONARY, E "=1\n", INVALID},
    {"9651 4.2.2: no value", SF_DICTIONARY, E "a=\n", INVALID},
    {"9651 4.2.2: space before the equals sign", SF_DICTIONARY, E "a =1\n", INVALID},
    {"9651 4.2.2: space behind it", SF_DICTIONARY, E "a= 1\n", INVALID},
    {"9651 4.2.2: semicolons for commas", SF_DICTIONARY, E "a=1; b=2\n", "a: int 1;b=int 2"},
    {"9651 4.2.3.3: upper case", SF_DICTIONARY, E "Max-Age=1\n", INVALID},
    {"9651 4.2.3.3: all that a key may hold", SF_DICTIONARY, E "*a-b_c.d*0=1\n", "*a-b_c.d*0: int 1"},
    {"9651 4.2.3.3: a digit first", SF_DICTIONARY, E "1a=1\n", INVALID},
    {"9651 4.2.3.2: space before the semicolon", SF_LIST, E "a ;b\n", INVALID},
    {"9651 4.2.3.2: tab behind it", SF_LIST, E "a;\tb\n", INVALID},
    {"9651 4.2.3.2: an inner list is no value", SF_LIST, E "a;b=(c)\n", INVALID},
    {"9651 4.2.3.2: nothing behind the semicolon", SF_LIST, E "a;\n", INVALID},
    {"9213 2.1: one error spoils all", SF_DICTIONARY, E "max-age=60, &&&\n", INVALID},
};

static void test_fields(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct test_head t;
        struct buf out = {0};
        const struct http_head *h = response_head(&t, 200, fields[i].lines);
        int n = sf_count(h, SPAN("Example"), fields[i].kind);
        if ((n < 0) != (fields[i].members == INVALID))
            fail_msg("%s: %d", fields[i].rfc, n);
        if (n < 0)
            continue;
        put_members(&out, h, fields[i].kind);
        if (strcmp(text_of(&out), fields[i].members) != 0)
            fail_msg("%s: %s", fields[i].rfc, text_of(&out));
        if ((n == 0) != (out.len == 0))
            fail_msg("%s: %d members", fields[i].rfc, n);
        buf_fini(&out);
    }
}

static const struct {
    const char *rfc, *value, *item;
} items[] = {
    {"9651 3.3", "5; foo=bar", "int 5;foo=tok bar"},
    {"9651 4.2: spaces around", "  5  ", "int 5"},
    {"9651 4.2: nothing", "", INVALID},
    {"9651 4.2: something behind", "5 6", INVALID},
    {"9651 3.3.1", "42", "int 42"},
    {"9651 3.3.1: zeros", "-0002", "int -2"},
    {"9651 3.3.1: fifteen digits", "-999999999999999", "int -999999999999999"},
    {"9651 3.3.1: sixteen", "1000000000000000", INVALID},
    {"9651 4.2.4: leading zeros are digits", "0000000000000001", INVALID},
    {"9651 4.2.4: no digit", "-", INVALID},
    {"9651 4.2.4: two signs", "--1", INVALID},
    {"9651 4.2.4: plus", "+1", INVALID},
    {"9651 4.2.4: exponent", "1e3", INVALID},
    {"9651 3.3.2", "4.5", "dec 4500"},
    {"9651 3.3.2: zeros", "-0.40", "dec -400"},
    {"9651 3.3.2: the longest", "999999999999.999", "dec 999999999999999"},
    {"9651 3.3.2: thirteen before the point", "1234567890123.0", INVALID},
    {"9651 3.3.2: four behind it", "1.2345", INVALID},
    {"9651 4.2.4: none behind it", "1.", INVALID},
    {"9651 4.2.4: none before it", ".5", INVALID},
    {"9651 4.2.4: two points", "1.2.3", INVALID},
    {"9651 3.3.3", "\"hello world\"", "str hello world"},
    {"9651 3.3.3: empty", "\"\"", "str "},
    {"9651 4.2.5: escapes", "\"a\\\"b\\\\c\"", "str a\\\"b\\\\c"},
    {"9651 4.2.5: other escapes", "\"a\\nb\"", INVALID},
    {"9651 4.2.5: open", "\"abc", INVALID},
    {"9651 4.2.5: an escape at the end", "\"abc\\", INVALID},
    {"9651 4.2.5: a tab", "\"a\tb\"", INVALID},
    {"9651 4.2.5: not ASCII", "\"a\xc3\xbc\"", INVALID},
    {"9651 3.3.3: single quotes", "'abc'", INVALID},
    {"9651 3.3.4", "foo123/456", "tok foo123/456"},
    {"9651 3.3.4: all that a token may hold", "*:/!#$%&'*+-.^_`|~aZ9", "tok *:/!#$%&'*+-.^_`|~aZ9"},
    {"9651 4.2.6: other bytes", "a@b", INVALID},
    {"9651 3.3.5",
     ":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:", "b64 cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg=="},
    {"9651 4.2.7: empty", "::", "b64 "},
    {"9651 4.2.7: without padding", ":aGVsbG8:", "b64 aGVsbG8"},
    {"9651 4.2.7: pad bits", ":iZ==:", "b64 iZ=="},
    {"9651 4.2.7: open", ":aGVsbG8=", INVALID},
    {"9651 4.2.7: other bytes", ":aGVs-bG8:", INVALID},
    {"9651 4.2.7: a space", ":aGVs bG8:", INVALID},
    {"9651 4.2.7: one letter too many", ":aGVsb:", INVALID},
    {"9651 4.2.7: padding inside", ":aG=sbG8:", INVALID},
    {"9651 4.2.7: padding alone", ":====:", INVALID},
    {"9651 3.3.6", "?1", "bool 1"},
    {"9651 3.3.6: false", "?0", "bool 0"},
    {"9651 4.2.8: words", "?true", INVALID},
    {"9651 4.2.8: nothing", "?", INVALID},
    {"9651 3.3.7", "@1659578233", "date 1659578233"},
    {"9651 3.3.7: year 1", "@-62135596800", "date -62135596800"},
    {"9651 4.2.9: a fraction", "@1659578233.12", INVALID},
    {"9651 4.2.9: nothing", "@", INVALID},
    {"9651 3.3.8", "%\"This is intended for display to %c3%bcsers.\"",
     "dis This is intended for display to %c3%bcsers."},
    {"9651 3.3.8: empty", "%\"\"", "dis "},
    {"9651 3.3.8: four bytes", "%\"a%f0%9f%92%a9b\"", "dis a%f0%9f%92%a9b"},
    {"9651 4.2.10: upper case", "%\"%C3%BC\"", INVALID},
    {"9651 4.2.10: not UTF-8", "%\"%c3\"", INVALID},
    {"9651 4.2.10: not UTF-8 inside", "%\"abcde%ffabcde\"", INVALID},
    {"9651 4.2.10: a surrogate", "%\"%ed%a0%80\"", INVALID},
    {"9651 4.2.10: half a byte", "%\"%c\"", INVALID},
    {"9651 4.2.10: open", "%\"a", INVALID},
    {"9651 4.2.10: raw bytes", "%\"\xc3\xbc\"", INVALID},
    {"9651 4.2.10: no quote", "%a", INVALID},
    {"9651 4.2.3.1: other types", "{a}", INVALID},
};

static void test_items(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        struct sf_item item;
        struct buf out = {0};
        bool is_valid = sf_item_parse(span_of(items[i].value), &item);
        if (is_valid)
            put_item(&out, &item);
        if (is_valid != (items[i].item != INVALID) || (is_valid && strcmp(text_of(&out), items[i].item) != 0))
            fail_msg("%s: %d %s", items[i].rfc, is_valid, text_of(&out));
        buf_fini(&out);
    }
}

static void test_string_copy(void **state)
{
    struct sf_item item;
    char out[16];
    assert_true(sf_item_parse(SPAN("\"a\\\"b\\\\\""), &item));
    assert_int_equal(sf_string_copy(&item, out), 4);
    assert_memory_equal(out, "a\"b\\", 4);
}

/* RFC 9651 sections 3.1 to 3.3: what parsers must at least support. */
static void test_sizes(void **state)
{
    struct test_head t;
    struct buf lines = {0};
    buf_put_lit(&lines, "Example: ");
    for (int i = 0; i < 1024; i++)
        buf_printf(&lines, "%sk%063d=(%d;%s)", i > 0 ? "," : "", i, i, "a");
    buf_put_lit(&lines, "\n\0");
    assert_int_equal(sf_count(response_head(&t, 200, lines.p), SPAN("Example"), SF_DICTIONARY), 1024);
    buf_fini(&lines);

    struct buf bytes = {0};
    struct sf_item item;
    buf_put_lit(&bytes, ":");
    for (int i = 0; i < 16384 / 3 + 1; i++)
        buf_put_lit(&bytes, "QUJD");
    buf_put_lit(&bytes, ":");
    assert_true(sf_item_parse(buf_span(&bytes), &item));
    buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields), cmocka_unit_test(test_items),
                                       cmocka_unit_test(test_string_copy), cmocka_unit_test(test_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
