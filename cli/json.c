#include "cli/json.h"

// The end of the string that opens at text[i].
static size_t string_end(const char *text, size_t i) {
    for (i++; text[i] && text[i] != '"'; i++)
        if (text[i] == '\\' && text[i + 1]) i++;
    return text[i] ? i + 1 : i;
}

static size_t comment_end(const char *text, size_t i) {
    if (text[i + 1] == '/') return i + strcspn(text + i, "\n");
    const char *close = strstr(text + i + 2, "*/");
    return close ? (size_t)(close - text) + 2 : i + strlen(text + i);
}

void json5_blank(char *text) {
    for (size_t i = 0; text[i];) {
        if (text[i] == '"') {
            i = string_end(text, i);
        } else if (text[i] == '/' && (text[i + 1] == '/' || text[i + 1] == '*')) {
            for (size_t end = comment_end(text, i); i < end; i++)
                if (text[i] != '\n') text[i] = ' ';
        } else {
            i++;
        }
    }
    for (size_t i = 0; text[i];) {
        if (text[i] == '"') {
            i = string_end(text, i);
            continue;
        }
        size_t next = i + 1 + strspn(text + i + 1, " \t\r\n");
        if (text[i] == ',' && (text[next] == '}' || text[next] == ']')) text[i] = ' ';
        i++;
    }
}

json_t *json_from(const char *text, const char **why) {
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!value && why)
        *why = cli_format("%s at line %d column %d", error.text, error.line, error.column);
    return value;
}

json_t *json_at(json_t *value, const char *path) {
    while (value && *path) {
        size_t len = strcspn(path, ".");
        value = json_object_get(value, cli_copy((Str){path, len}));
        path += len + (path[len] == '.');
    }
    return value;
}

const char *json_text_at(json_t *value, const char *path) {
    return json_string_value(json_at(value, path));
}

char *json_quote_numbers(const char *text) {
    Buf out = {0};
    for (size_t i = 0; text[i];) {
        size_t end = i + 1;
        bool number = text[i] == '-' || (text[i] >= '0' && text[i] <= '9');
        if (text[i] == '"') end = string_end(text, i);
        if (number) end = i + strspn(text + i, "+-.0123456789eE");
        if (number) buf_put_u8(&out, '"');
        buf_put(&out, text + i, end - i);
        if (number) buf_put_u8(&out, '"');
        i = end;
    }
    return cli_buf_text(&out);
}
