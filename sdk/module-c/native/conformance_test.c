// conformance_test.c: tests/modules/conformance-c, compiled for this machine, reports what
// tests/modules/conformance/cases.txt says; and the parts of the library that a case cannot show.
#include <stdio.h>
#include <stdlib.h>

#include "base/test.h"
#include "sats/bsatn.h"
#include "sdk/module-c/native/native.h"

static const char cases_path[] = "tests/modules/conformance/cases.txt";

// What needs a running server: a trap, a token, a schedule that fires.
static const char *const elsewhere[] = {"trap",
                                        "user_error",
                                        "identities",
                                        "schedule_once",
                                        "noted"};

static Buf file_read(const char *path) {
    Buf text = {0};
    FILE *file = fopen(path, "rb");
    EXPECT(file != NULL);
    for (int c; (c = fgetc(file)) != EOF;)
        buf_put_u8(&text, (uint8_t)c);
    fclose(file);
    return text;
}

static Bytes text_args(Buf *out, Str name) {
    buf_clear(out);
    buf_put_lp(out, str_bytes(name));
    return buf_bytes(out);
}

// ── what a case reported ───────────────────────────────────────────────────────────────────────

typedef struct Report {
    Str name;
    Buf lines;
} Report;

static Str str_read(Bytes *in) {
    uint32_t len = load_u32(in->ptr);
    Str text = {(const char *)in->ptr + 4, len};
    *in = BYTES(in->ptr + 4 + len, in->len - 4 - len);
    return text;
}

static void report_row(void *ctx, Bytes row) {
    Report *report = ctx;
    Bytes in = BYTES(row.ptr + 8, row.len - 8);  // behind the id
    Str name = str_read(&in), line = str_read(&in);
    if (!str_eq(name, report->name)) return;
    buf_put_str(&report->lines, line);
    buf_put_u8(&report->lines, '\n');
}

static void reducer_case(Str name, Buf *out) {
    Buf args = {0};
    Str message;
    Report report = {.name = name};
    HostStatus status = native_reducer("run_case", text_args(&args, name), &message);
    if (status != HOST_OK) print_error("%.*s: " STR_FMT "\n", STR_ARG(name), STR_ARG(message));
    EXPECT_EQ(status, HOST_OK);
    native_rows("report", report_row, &report);
    buf_deinit(&args);
    *out = report.lines;
}

static void procedure_case(Str name, Buf *out) {
    Buf args = {0};
    Bytes result = native_procedure("run_case_procedure", text_args(&args, name));
    buf_put_str(out, str_read(&result));
    buf_put_u8(out, '\n');
    buf_deinit(&args);
}

// ── what it should have ────────────────────────────────────────────────────────────────────────

static Str line_take(Str *rest) {
    const char *end = memchr(rest->ptr, '\n', rest->len);
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    Str line = {rest->ptr, len};
    *rest = (Str){rest->ptr + len + (end != NULL), rest->len - len - (end != NULL)};
    return line;
}

static bool is_elsewhere(Str name) {
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        if (str_eq(name, str_from(elsewhere[i]))) return true;
    return false;
}

static bool head_read(Str line, bool *is_procedure, Str *name) {
    *is_procedure = str_starts(line, STR("procedure "));
    if (!*is_procedure && !str_starts(line, STR("case "))) return false;
    size_t skip = *is_procedure ? 10 : 5;
    *name = (Str){line.ptr + skip, line.len - skip};
    const char *space = memchr(name->ptr, ' ', name->len);
    if (space) name->len = (size_t)(space - name->ptr);
    return true;
}

static int case_check(Str name, bool is_procedure, Str *rest) {
    Buf wanted = {0}, got = {0};
    for (;;) {
        Str line = line_take(rest);
        if (line.len == 0) break;
        if (line.ptr[0] == '#') continue;
        buf_put_str(&wanted, line);
        buf_put_u8(&wanted, '\n');
    }
    if (is_elsewhere(name)) {
        buf_deinit(&wanted);
        return 0;
    }
    if (is_procedure)
        procedure_case(name, &got);
    else
        reducer_case(name, &got);
    bool same = bytes_eq(buf_bytes(&wanted), buf_bytes(&got));
    if (!same)
        print_error("%.*s: wanted\n%.*sgot\n%.*s",
                    STR_ARG(name),
                    (int)wanted.len,
                    (char *)wanted.ptr,
                    (int)got.len,
                    (char *)got.ptr);
    buf_deinit(&wanted);
    buf_deinit(&got);
    return same ? 0 : 1;
}

TEST(conformance, reports_what_every_language_must) {
    Buf text = file_read(cases_path);
    Str rest = {(const char *)text.ptr, text.len};
    int wrong = 0, cases = 0;
    native_open();
    while (rest.len > 0) {
        bool is_procedure;
        Str name;
        if (!head_read(line_take(&rest), &is_procedure, &name)) continue;
        wrong += case_check(name, is_procedure, &rest);
        cases++;
    }
    EXPECT_EQ(wrong, 0);
    EXPECT(cases >= 35);
    native_close();
    buf_deinit(&text);
}

TEST(conformance, a_user_error_undoes_everything) {
    Buf args = {0}, rows = {0};
    Str message;
    native_open();
    EXPECT_EQ(native_reducer("run_case", text_args(&args, STR("user_error")), &message),
              HOST_USER_ERROR);
    EXPECT(str_eq(message, STR("wanted")));
    Report none = {.name = STR("lost")};
    native_rows("counter", report_row, &none);
    EXPECT_EQ(none.lines.len, 0);
    EXPECT_EQ(native_reducer("run_case", text_args(&args, STR("nonsense")), &message),
              HOST_USER_ERROR);
    EXPECT(str_eq(message, STR("unknown case nonsense")));
    buf_deinit(&args);
    buf_deinit(&rows);
    native_close();
}

TEST(conformance, views_answer_rows_behind_a_header) {
    Buf args = {0};
    Str message;
    native_open();
    EXPECT_EQ(native_reducer("run_case", text_args(&args, STR("counters")), &message), HOST_OK);
    Bytes mine = native_view("my_counters");
    EXPECT_EQ(mine.ptr[0], 0);
    EXPECT_EQ(load_u32(mine.ptr + 1), 1);
    EXPECT_EQ(load_u32(mine.ptr + 5), 64);
    Bytes all = native_view("all_counters");
    EXPECT_EQ(all.ptr[0], 0);
    EXPECT_EQ(load_u32(all.ptr + 1), 3);
    buf_deinit(&args);
    native_close();
}

TEST(conformance, handlers_get_a_request_and_give_a_response) {
    Buf request = {0};
    Bytes body;
    native_open();
    buf_put_u8(&request, 9);  // another method
    buf_put_lp(&request, BYTES("BREW", 4));
    buf_put_u32(&request, 1);
    buf_put_lp(&request, BYTES("A", 1));
    buf_put_lp(&request, BYTES("b", 1));
    buf_put_u8(&request, 1);
    buf_put_lp(&request, BYTES("http://a/", 9));
    buf_put_u8(&request, 2);
    Bytes response = native_http(0, buf_bytes(&request), BYTES_NONE, &body);
    EXPECT_BYTES(body, BYTES("hello", 5));
    EXPECT_EQ(load_u32(response.ptr), 1);
    EXPECT_EQ(load_u16(response.ptr + response.len - 2), 200);
    native_http(1, buf_bytes(&request), BYTES("again", 5), &body);
    EXPECT_BYTES(body, BYTES("again", 5));
    buf_deinit(&request);
    native_close();
}

TEST_MAIN()
