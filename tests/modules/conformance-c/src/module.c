// module.c: the functions of the conformance module. Cases are in the files beside it; what each must
// report is in ../../conformance/cases.txt.
#include "cases.h"

const CaseEntry *case_find(const CaseEntry *entries, String name) {
    for (; entries->name; entries++)
        if (lc_string_eq(name, lc_string(entries->name))) return entries;
    return NULL;
}

void say(Case *it, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    lc_push(&it->lines, lc_vformat(format, arguments));
    va_end(arguments);
}

void say_errno(Case *it, const char *what, LcErrno err) {
    if (err == LC_ERRNO_OK)
        say(it, "%s: ok", what);
    else
        say(it, "%s: errno %u", what, (unsigned)err);
}

static Error report_append(String case_name, String line) {
    return report_insert(&(Report){.case_name = case_name, .line = line});
}

LC_REDUCER
Error run_case(Ctx *ctx, String name) {
    static const CaseEntry *const groups[] = {type_cases, data_cases, scan_cases, other_cases};
    const CaseEntry *entry = NULL;
    for (size_t i = 0; i < 4 && !entry; i++)
        entry = case_find(groups[i], name);
    if (lc_string_eq(name, LC_STR("user_error"))) {
        TRY(counter_insert(&(Counter){.name = LC_STR("lost"), .value = 1}));
        return lc_error("wanted");
    }
    if (!entry) return lc_error("unknown case %s", name.ptr);
    Case it = {.ctx = ctx, .name = name};
    entry->run(&it);
    for (size_t i = 0; i < it.lines.len; i++)
        TRY(report_append(name, it.lines.items[i]));
    return OK;
}

LC_REDUCER
Error run_tick(Ctx *ctx, Tick row) {
    return report_append(LC_STR("tick"), row.text);
}

LC_PROCEDURE
String run_case_procedure(ProcedureCtx *ctx, String name) {
    const CaseEntry *entry = case_find(procedure_cases, name);
    if (!entry) return lc_format("unknown case %s", name.ptr);
    Case it = {.procedure = ctx, .name = name};
    entry->run(&it);
    String all = LC_STR("");
    for (size_t i = 0; i < it.lines.len; i++)
        all = lc_format("%s%s%s", all.ptr, i ? "\n" : "", it.lines.items[i].ptr);
    return all;
}

LC_VIEW
Array(Counter) my_counters(ViewCtx *ctx) {
    Array(Counter) mine = {0};
    Counter *counter = counter_find_by_name(lc_identity_hex(ctx->sender));
    if (counter) lc_push(&mine, *counter);
    return mine;
}

LC_VIEW
Array(Counter) all_counters(AnonymousViewCtx *ctx) {
    Array(Counter) all = {0};
    for (CounterScan each = counter_scan(); counter_next(&each);)
        lc_push(&all, *each.row);
    return all;
}

LC_HTTP(GET, "/page")
HttpResponse page(ProcedureCtx *ctx, const HttpRequest *request) {
    static const HttpHeader headers[] = {{LC_STR("content-type"), LC_STR("text/plain")}};
    return (HttpResponse){.status = 200,
                          .headers = headers,
                          .header_count = 1,
                          .body = {(const uint8_t *)"hello", 5}};
}

LC_HTTP(ANY, "/echo")
HttpResponse echo(ProcedureCtx *ctx, const HttpRequest *request) {
    return (HttpResponse){.status = 200, .body = request->body};
}
