// others.c: events, the console, identities, bytes, schedules, and what a procedure can do.
#include "cases.h"

static void must(Error error) {
    if (error) lc_panic("%s", error->message.ptr);
}

static void events(Case *it) {
    Blob rows;
    uint32_t iter = 0;
    must(event_log_insert(&(EventLog){LC_STR("seen")}));
    must(event_log_insert(&(EventLog){LC_STR("seen")}));
    say(it, "count: %d", (int)event_log_count());
    lc_abi_datastore_table_scan_bsatn(table_of("event_log"), &iter);
    drain(iter, &rows);
    say(it, "row %s", hex(rows.ptr, rows.len));
}

static void transactions(Case *it) {
    uint64_t micros;
    say_errno(it, "procedure_start_mut_tx", lc_abi_procedure_start_mut_tx(&micros));
    say_errno(it, "procedure_commit_mut_tx", lc_abi_procedure_commit_mut_tx());
    say_errno(it, "procedure_abort_mut_tx", lc_abi_procedure_abort_mut_tx());
}

static void console(Case *it) {
    for (int level = LOG_ERROR; level <= LOG_TRACE; level++)
        lc_log_at((LogLevel)level, __FILE__, __LINE__, "level %d", level);
    uint32_t timer = lc_abi_console_timer_start("span", 4);
    say(it, "timer: ok");
    say_errno(it, "end", lc_abi_console_timer_end(timer));
    say_errno(it, "end again", lc_abi_console_timer_end(timer));
    say_errno(it, "end of timer 4000000000", lc_abi_console_timer_end(NO_SUCH));
}

static void identities(Case *it) {
    Identity raw;
    uint32_t source = 0;
    ConnectionId nobody = {1};
    lc_abi_identity(&raw);
    say(it, "database: %s", lc_identity_eq(raw, lc_database_identity()) ? "same" : "another");
    String jwt = lc_jwt(it->ctx);
    say(it, "jwt begins with {: %s", lc_string_starts(jwt, LC_STR("{")) ? "true" : "false");
    LcErrno err = lc_abi_get_jwt(&nobody, &source);
    say(it, "jwt of nobody: %s", err || source ? "some" : "none");
}

static void bytes(Case *it) {
    uint8_t some[4] = {0};
    uint32_t len = sizeof some;
    say_errno(it,
              "read of source 4000000000",
              (LcErrno)lc_abi_bytes_source_read(NO_SUCH, some, &len));
    say_errno(it,
              "remaining length of source 4000000000",
              (LcErrno)lc_abi_bytes_source_remaining_length(NO_SUCH, &len));
    say_errno(it,
              "remaining length of source 0",
              (LcErrno)lc_abi_bytes_source_remaining_length(0, &len));
    len = sizeof some;
    say_errno(it, "write to sink 4000000000", lc_abi_bytes_sink_write(NO_SUCH, some, &len));
}

// ── schedules ──────────────────────────────────────────────────────────────────────────────────

static void schedule_errors(Case *it) {
    Error error =
        tick_insert(&(Tick){.at = lc_at((Timestamp){9000000000000000000}), .text = LC_STR("far")});
    say_errno(it, "too far", error ? error->code : LC_ERRNO_OK);
    tick_clear();
}

static void schedule_once(Case *it) {
    tick_clear();
    must(tick_insert(&(Tick){.at = lc_at((Timestamp){1000}), .text = LC_STR("once")}));
    say(it, "inserted: ok");
}

static void schedule_interval(Case *it) {
    must(tick_insert(&(Tick){.at = lc_every(lc_millis(10)), .text = LC_STR("often")}));
    say(it, "inserted: ok");
}

static void schedule_stop(Case *it) {
    say(it, "cleared: %d", (int)tick_clear());
}

static void immediate(Case *it) {
    Blob args = blob(16);
    put_text(&args, "noted");
    lc_abi_volatile_nonatomic_schedule_immediate("run_case", 8, args.ptr, args.len);
    say(it, "queued: ok");
}

static void noted(Case *it) {
    bool database = lc_identity_eq(it->ctx->sender, lc_database_identity());
    say(it, "sender is the database: %s", database ? "true" : "false");
}

// ── counters, for the views ────────────────────────────────────────────────────────────────────

static void counters(Case *it) {
    counter_clear();
    must(counter_insert(&(Counter){LC_STR("alpha"), 1}));
    must(counter_insert(&(Counter){LC_STR("beta"), 2}));
    must(counter_insert(&(Counter){lc_identity_hex(it->ctx->sender), 7}));
    say(it, "counters: %d", (int)counter_count());
}

static void counters_change(Case *it) {
    must(counter_update_by_name(&(Counter){lc_identity_hex(it->ctx->sender), 8}));
    counter_delete_by_name(LC_STR("alpha"));
    say(it, "counters: %d", (int)counter_count());
}

static void trap(Case *it) {
    must(counter_insert(&(Counter){LC_STR("lost"), 1}));
    __builtin_trap();
}

const CaseEntry other_cases[] = {
    {"events", events},
    {"transactions", transactions},
    {"console", console},
    {"identities", identities},
    {"bytes", bytes},
    {"schedule_errors", schedule_errors},
    {"schedule_once", schedule_once},
    {"schedule_interval", schedule_interval},
    {"schedule_stop", schedule_stop},
    {"immediate", immediate},
    {"noted", noted},
    {"counters", counters},
    {"counters_change", counters_change},
    {"trap", trap},
    {0},
};

// ── procedures ─────────────────────────────────────────────────────────────────────────────────

static void data_outside(Case *it) {
    uint32_t id;
    uint64_t count;
    Blob row = pair_row(1, "p", 1);
    say_errno(it, "table pair", lc_abi_table_id_from_name("pair", 4, &id));
    say_errno(it, "count of table 4096", lc_abi_datastore_table_row_count(4096, &count));
    say_errno(it, "insert into table 4096", lc_abi_datastore_insert_bsatn(4096, row.ptr, &row.len));
}

static Error only_p(Ctx *ctx, void *argument) {
    counter_clear();
    return counter_insert(&(Counter){LC_STR("p"), 1});
}

static Error counters_count(Ctx *ctx, void *argument) {
    *(int *)argument = (int)counter_count();
    return OK;
}

static void transactions_by_hand(Case *it) {
    uint64_t micros;
    int rows = 0;
    must(lc_transaction(it->procedure, only_p, NULL));
    say_errno(it, "commit", lc_abi_procedure_commit_mut_tx());
    say_errno(it, "abort", lc_abi_procedure_abort_mut_tx());
    say_errno(it, "start", lc_abi_procedure_start_mut_tx(&micros));
    say_errno(it, "start again", lc_abi_procedure_start_mut_tx(&micros));
    say_errno(it, "commit", lc_abi_procedure_commit_mut_tx());
    say_errno(it, "start", lc_abi_procedure_start_mut_tx(&micros));
    must(counter_insert(&(Counter){LC_STR("q"), 2}));
    say_errno(it, "abort", lc_abi_procedure_abort_mut_tx());
    say_errno(it, "commit", lc_abi_procedure_commit_mut_tx());
    must(lc_transaction(it->procedure, counters_count, &rows));
    say(it, "rows: %d", rows);
}

static void left_open(Case *it) {
    uint64_t micros;
    say_errno(it, "start", lc_abi_procedure_start_mut_tx(&micros));
    must(counter_insert(&(Counter){LC_STR("open"), 1}));
}

static Blob http_request(const char *uri) {
    Blob out = blob(32 + strlen(uri));
    put_u8(&out, 0);   // GET
    put_u32(&out, 0);  // no headers
    put_u8(&out, 1);   // no timeout
    put_text(&out, uri);
    put_u8(&out, 2);  // HTTP/1.1
    return out;
}

static void http(Case *it) {
    uint32_t sources[2];
    uint64_t micros;
    Blob out = http_request("http://127.0.0.1:1/");
    say_errno(it,
              "private address",
              lc_abi_procedure_http_request(out.ptr, out.len, NULL, 0, sources));
    lc_abi_procedure_start_mut_tx(&micros);
    say_errno(it,
              "in a transaction",
              lc_abi_procedure_http_request(out.ptr, out.len, NULL, 0, sources));
    lc_abi_procedure_abort_mut_tx();
    say_errno(it, "2 bytes", lc_abi_procedure_http_request(out.ptr, 2, NULL, 0, sources));
}

static void sleep(Case *it) {
    Timestamp now = lc_sleep_until(it->procedure, (Timestamp){1000});
    say(it, "past: %s", now.micros >= it->procedure->timestamp.micros ? "at once" : "in the past");
    Timestamp later = lc_sleep(it->procedure, lc_millis(20));
    say(it, "20 ms: %s", later.micros - now.micros >= 20000 ? "waited" : "did not wait");
}

static Error is_not_before(Ctx *ctx, void *argument) {
    ProcedureCtx *procedure = argument;
    return ctx->timestamp.micros >= procedure->timestamp.micros ? OK : lc_error("before");
}

static void timestamps(Case *it) {
    Error error = lc_transaction(it->procedure, is_not_before, it->procedure);
    say(it, "not before: %s", error ? "false" : "true");
}

const CaseEntry procedure_cases[] = {
    {"data_outside", data_outside},
    {"transactions", transactions_by_hand},
    {"left_open", left_open},
    {"http", http},
    {"sleep", sleep},
    {"timestamps", timestamps},
    {0},
};
