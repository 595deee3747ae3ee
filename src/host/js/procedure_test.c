// Procedures and HTTP handlers: transactions of their own, requests, answers.
#include "host/js/js_fixture.h"

static JsFixture *fixture_new(const char *module) {
    JsFixture *f = malloc(sizeof *f);
    fixture_init(f, module);
    return f;
}
static void fixture_end(JsFixture *f) {
    fixture_deinit(f);
    free(f);
}

// The procedure: runs the text it is given and returns the result as text.
#define MODULE_PROCEDURE                                                                             \
    MODULE_ASK                                                                                       \
    "const enc = s => new TextEncoder().encode(String(s));\n"                                        \
    "views[0] = (sender, conn, time, args) => {\n"                                                   \
    "  const code = new TextDecoder().decode(args);\n"                                               \
    "  const f = new Function('sys', 'sys21', 'buf', 'tried', 'enc', 'HostError', 'SenderError',\n"  \
    "    'sender', 'conn', 'time', code);\n"                                                         \
    "  return enc(f(sys, sys21, buf, tried, enc, HostError, SenderError, sender, conn, time)); };\n" \
    "views[1] = (time, request, body) => {\n"                                                        \
    "  const code = new TextDecoder().decode(body);\n"                                               \
    "  return new Function('sys', 'enc', 'time', 'request', 'body', 'SenderError', code)(\n"         \
    "    sys, enc, time, request, body, SenderError); };\n"

static HostStatus procedure(JsFixture *f, const char *code) {
    f->call = (HostCall){.kind = HOST_PROCEDURE,
                         .name = STR("work"),
                         .timestamp = 99,
                         .args = str_bytes(str_from(code)),
                         .procedure = &fixture_procedure,
                         .procedure_ctx = f,
                         .budget_us = 5000000};
    f->call.sender.le[0] = 3;
    f->call.connection.le[0] = 4;
    fixture_run(f, 1);
    return f->status;
}
// What a procedure with this body returns.
static const char *answer(JsFixture *f, const char *code) {
    if (procedure(f, code) != HOST_OK) print_error("%s\n  %s\n", code, f->message);
    EXPECT_EQ(f->status, HOST_OK);
    buf_put_u8(&f->returned, 0);
    return (const char *)f->returned.ptr;
}

TEST(procedure, knows_who_calls_and_has_no_data_of_its_own) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    EXPECT_STR(answer(f, "return [sender, conn, time].join()"), "3,4,99");
    EXPECT_STR(answer(f, "return tried(() => sys.datastore_table_row_count(1))"),
               "errno 2: ABI call can only be made while in a transaction");
    EXPECT_STR(answer(f, "return tried(() => sys.procedure_commit_mut_tx())"),
               "errno 18: Not in an anonymous transaction. Called by a reducer?");
    EXPECT_STR(answer(f, "return tried(() => sys.procedure_abort_mut_tx())"),
               "errno 18: Not in an anonymous transaction. Called by a reducer?");
    fixture_end(f);
}

TEST(procedure, writes_in_transactions_one_at_a_time) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    EXPECT_STR(answer(f,
                      "const at = sys.procedure_start_mut_tx();"
                      "const again = tried(() => sys.procedure_start_mut_tx());"
                      "sys.datastore_insert_bsatn(1, buf, 8);"
                      "const n = sys.datastore_table_row_count(1);"
                      "const done = sys.procedure_commit_mut_tx();"
                      "return [at, again, n, done].join('|')"),
               "1700000000000001|errno 17: Attempted async or blocking op while holding open a "
               "transaction|1|");
    EXPECT_EQ(f->begun, 1);
    EXPECT_EQ(f->committed, 1);
    EXPECT_STR(answer(f, "sys.procedure_start_mut_tx(); return sys.procedure_abort_mut_tx()"),
               "undefined");
    EXPECT_EQ(f->aborted, 1);
    fixture_end(f);
}

TEST(procedure, a_conflict_is_an_error_that_may_be_tried_again) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    f->conflicts = 1;
    EXPECT_STR(answer(f,
                      "sys.procedure_start_mut_tx();"
                      "const first = tried(() => sys.procedure_commit_mut_tx());"
                      "sys.procedure_start_mut_tx();"
                      "return first + '|' + tried(() => sys.procedure_commit_mut_tx())"),
               "errno 1: ABI called by host returned an error|undefined");
    EXPECT_EQ(f->begun, 2);
    EXPECT_EQ(f->committed, 1);
    EXPECT_EQ(f->aborted, 0);
    fixture_end(f);
}

TEST(procedure, that_throws_with_a_transaction_open_has_it_aborted) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    EXPECT_EQ(procedure(f, "sys.procedure_start_mut_tx(); throw new SenderError('mine')"),
              HOST_FATAL);
    EXPECT_STR(f->message, "Error: mine");
    EXPECT_EQ(f->aborted, 1);
    EXPECT_EQ(f->log_count, 2);  // the panic, then this
    EXPECT_STR(f->log_text, "aborting dangling anonymous transaction in procedure work");
    EXPECT_EQ(procedure(f, "return sys.procedure_start_mut_tx()"), HOST_OK);
    EXPECT_EQ(f->aborted, 2);
    fixture_end(f);
}

TEST(procedure, iterators_end_with_the_transaction_or_the_call_but_never_show_others_rows) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    EXPECT_STR(answer(f,
                      "sys.procedure_start_mut_tx();"
                      "new Uint8Array(buf).fill(7, 0, 4); sys.datastore_insert_bsatn(1, buf, 4);"
                      "const it = sys.datastore_table_scan_bsatn(1);"
                      "sys.procedure_commit_mut_tx();"
                      "new Uint8Array(buf).fill(0);"
                      "const n = sys.row_iter_bsatn_advance(it, buf);"
                      "return n + ' ' + new Uint8Array(buf, 0, 4)"),
               "-4 7,7,7,7");
    EXPECT_STR(answer(f, "return tried(() => sys.row_iter_bsatn_advance(1, buf))"),
               "errno 6: The provided row iterator is not valid");
    fixture_end(f);
}

TEST(request, goes_out_and_its_answer_comes_back) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    EXPECT_STR(answer(f,
                      "const [a, b] = sys.procedure_http_request(enc('GET'), enc('body'));"
                      "return [a instanceof Uint8Array, new TextDecoder().decode(a),"
                      " new TextDecoder().decode(b)]"),
               "true,GET,body");
    EXPECT_STR(answer(f,
                      "const [a, b] = sys.procedure_http_request(enc('GET'), 'Gr\\u00fc\\u00dfe');"
                      "return [a.length, b.length, new TextDecoder().decode(b)]"),
               "3,7,Gr\xc3\xbc\xc3\x9f"
               "e");
    EXPECT_STR(answer(f,
                      "const [a, b] = sys.procedure_http_request(new Uint8Array(0), '');"
                      "return [a.length, b.length]"),
               "0,0");
    EXPECT_STR(answer(f,  // more than any buffer of ours
                      "const [a, b] = sys.procedure_http_request("
                      "new Uint8Array(300000).fill(1), new Uint8Array(500000).fill(2));"
                      "return [a.length, b.length, a.every(x => x === 1), b.every(x => x === 2)]"),
               "300000,500000,true,true");
    fixture_end(f);
}

TEST(request, that_fails_says_why_in_the_modules_own_class) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    f->http_result = ABI_HTTP_ERROR;
    f->http_text = "could not resolve host: n\xc3\xa4mlich";
    EXPECT_STR(answer(f, "return tried(() => sys.procedure_http_request(enc('x'), ''))"),
               "errno 21: could not resolve host: n\xc3\xa4mlich");
    f->http_result = ABI_BSATN_DECODE_ERROR;
    EXPECT_STR(answer(f, "return tried(() => sys.procedure_http_request(enc('x'), ''))"),
               "errno 3: Couldn't decode the BSATN to the expected type");
    EXPECT_STR(answer(f,
                      "sys.procedure_start_mut_tx();"
                      "return tried(() => sys.procedure_http_request(enc('x'), ''))"),
               "errno 17: Attempted async or blocking op while holding open a transaction");
    EXPECT_STR(answer(f, "return tried(() => sys.procedure_http_request(buf, ''))"),
               "TypeError: Expected Uint8Array, got object");
    EXPECT_STR(answer(f, "return tried(() => sys.procedure_http_request(enc('x'), null))"),
               "TypeError: Expected Uint8Array or string, got null");
    fixture_end(f);
}

static HostStatus handler(JsFixture *f, const char *code, Bytes request) {
    f->call = (HostCall){.kind = HOST_HTTP,
                         .id = 1,
                         .name = STR("route"),
                         .timestamp = 1234,
                         .args = request,
                         .body = str_bytes(str_from(code)),
                         .procedure = &fixture_procedure,
                         .procedure_ctx = f,
                         .budget_us = 5000000};
    fixture_run(f, 1);
    return f->status;
}

TEST(handler, answers_with_a_response_and_a_body) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    EXPECT_EQ(handler(f, "return [request, enc(time + ' ' + body.length)]", BYTES("req", 3)),
              HOST_OK);
    EXPECT_BYTES(buf_bytes(&f->returned), BYTES("req", 3));
    EXPECT_BYTES(buf_bytes(&f->body), BYTES("1234 47", 7));
    EXPECT_EQ(handler(f, "return [enc('r'), new Uint8Array(0)]", BYTES_NONE), HOST_OK);
    EXPECT_EQ(f->returned.len, 1);
    EXPECT_EQ(f->body.len, 0);
    uint8_t *large = calloc(1, 200000);
    EXPECT_EQ(handler(f, "return [request, request]", BYTES(large, 200000)), HOST_OK);
    EXPECT_EQ(f->returned.len, 200000);
    EXPECT_EQ(f->body.len, 200000);
    free(large);
    fixture_end(f);
}

TEST(handler, has_the_same_transactions) {
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    EXPECT_EQ(handler(f,
                      "sys.procedure_start_mut_tx(); const n = sys.datastore_table_row_count(1);"
                      "sys.procedure_commit_mut_tx(); return [enc(n), enc('')]",
                      BYTES_NONE),
              HOST_OK);
    EXPECT_BYTES(buf_bytes(&f->returned), BYTES("0", 1));
    EXPECT_EQ(f->committed, 1);
    fixture_end(f);
}

TEST(handler, that_answers_with_something_else_fails) {
    static const struct {
        const char *code, *message;
    } cases[] = {
        {"return", "TypeError: Expected an array of two Uint8Arrays, got undefined"},
        {"return null", "TypeError: Expected an array of two Uint8Arrays, got null"},
        {"return enc('x')", "TypeError: Expected an array of two Uint8Arrays, got object"},
        {"return [enc('x')]", "TypeError: Expected an array of two Uint8Arrays, got array"},
        {"return [enc('x'), 'x']", "TypeError: Expected an array of two Uint8Arrays, got array"},
        {"return [enc('x'), enc('x'), enc('x')]",
         "TypeError: Expected an array of two Uint8Arrays, got array"},
        {"throw new SenderError('no user errors here')", "Error: no user errors here"},
        {"throw 5", "5"},
    };
    JsFixture *f = fixture_new(MODULE_PROCEDURE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EXPECT_EQ(handler(f, cases[i].code, BYTES_NONE), HOST_FATAL);
        EXPECT_STR(f->message, cases[i].message);
        EXPECT_EQ(f->returned.len + f->body.len, 0);
    }
    // An array whose elements call back while they are read does not mix up two answers.
    EXPECT_EQ(handler(f,
                      "const a = [enc('first'), 0]; Object.defineProperty(a, 1, { get() {"
                      " try { sys.procedure_http_request(enc('overwritten'), 'x') } catch {}"
                      " return enc('second') } }); return a",
                      BYTES_NONE),
              HOST_OK);
    EXPECT_BYTES(buf_bytes(&f->returned), BYTES("first", 5));
    EXPECT_BYTES(buf_bytes(&f->body), BYTES("second", 6));
    fixture_end(f);
}

TEST_MAIN()
