// verify.h: ask the server over HTTP SQL what it holds, to compare with what it acknowledged.
#pragma once
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

typedef struct SqlServer {
    const char *host_port, *database, *token;  // token may be NULL
} SqlServer;

static inline size_t sql_collect(char *bytes, size_t each, size_t count, void *ctx) {
    buf_put(ctx, bytes, each * count);
    return buf_ok(ctx) ? each * count : 0;
}

// The rows of the first result: an array of arrays. The caller releases it. NULL after saying why.
static inline json_t *sql_rows(const SqlServer *server, const char *query) {
    char url[512];
    snprintf(url, sizeof url, "http://%s/v1/database/%s/sql", server->host_port, server->database);
    Buf answer = {0};
    json_t *rows = NULL;
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();
    if (!curl) return NULL;
    if (server->token) {
        Buf line = {0};
        buf_printf(&line, "Authorization: Bearer %s", server->token);
        buf_put_u8(&line, 0);
        if (buf_ok(&line)) headers = curl_slist_append(headers, (char *)line.ptr);
        buf_deinit(&line);
    }
    headers = curl_slist_append(headers, "Content-Type: text/plain");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, query);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, sql_collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status != 200) {
        fprintf(stderr,
                "load: %s: %s, status %ld: %.*s\n",
                query,
                curl_easy_strerror(code),
                status,
                (int)MIN(answer.len, (size_t)300),
                answer.ptr ? (char *)answer.ptr : "");
    } else {
        json_t *root = json_loadb((char *)answer.ptr, answer.len, 0, NULL);
        rows = json_incref(json_object_get(json_array_get(root, 0), "rows"));
        json_decref(root);
        if (!rows) fprintf(stderr, "load: %s: no rows in the answer\n", query);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    buf_deinit(&answer);
    return rows;
}

// False after saying why.
static inline bool sql_count(const SqlServer *server, const char *table, uint64_t *out) {
    char query[128];
    snprintf(query, sizeof query, "SELECT COUNT(*) AS n FROM %s", table);
    json_t *rows = sql_rows(server, query);
    json_t *n = json_array_get(json_array_get(rows, 0), 0);
    bool ok = json_is_integer(n);
    if (ok) *out = (uint64_t)json_integer_value(n);
    json_decref(rows);
    return ok;
}

// balances[id] of all accounts below `count`; false after saying why.
static inline bool sql_balances(const SqlServer *server, int64_t *balances, uint32_t count) {
    json_t *rows = sql_rows(server, "SELECT id, balance FROM account");
    uint32_t seen = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        json_int_t id = json_integer_value(json_array_get(row, 0));
        if (id < 0 || id >= (json_int_t)count) continue;
        balances[id] = json_integer_value(json_array_get(row, 1));
        seen++;
    }
    json_decref(rows);
    if (seen != count) fprintf(stderr, "load: %u of %u accounts found\n", seen, count);
    return seen == count;
}
