#define _GNU_SOURCE  // getentropy
#include "cli/names.h"

#include <ctype.h>
#include <unistd.h>

const char *names_kebab(const char *name) {
    Buf text = {0};
    for (const char *at = name; *at; at++) {
        bool plain = isalnum((unsigned char)*at) != 0;
        bool camel = at > name && isupper((unsigned char)*at) && islower((unsigned char)at[-1]);
        bool dash = text.len > 0 && text.ptr[text.len - 1] != '-';
        if (dash && (!plain || camel)) buf_put_u8(&text, '-');
        if (plain) buf_put_u8(&text, (uint8_t)tolower((unsigned char)*at));
    }
    while (text.len > 0 && text.ptr[text.len - 1] == '-')
        text.len--;
    if (text.len == 0) cli_die("'%s' has no letter to make a project's name of.", name);
    return cli_buf_text(&text);
}

const char *names_random(void) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t bytes[5];
    char text[sizeof bytes + 1] = {0};
    if (getentropy(bytes, sizeof bytes) != 0) cli_die("The system gives no random bytes.");
    for (size_t i = 0; i < sizeof bytes; i++)
        text[i] = letters[bytes[i] % (sizeof letters - 1)];
    return cli_copy(str_from(text));
}
