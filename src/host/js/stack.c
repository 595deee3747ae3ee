// stack.c: reads JavaScriptCore's `error.stack`: a line for each frame, innermost first,
//
//   function@file:line:column        global code@file:line:column        function@[native code]
#include "host/js/js.h"

static bool read_number(Str *text, uint32_t *out) {  // the digits after the last colon; cuts them
    size_t digits = 0;
    uint64_t value = 0, unit = 1;
    while (digits < text->len && digits < 9) {
        char c = text->ptr[text->len - 1 - digits];
        if (c < '0' || c > '9') break;
        value += unit * (uint64_t)(c - '0');
        unit *= 10;
        digits++;
    }
    if (digits == 0 || digits == text->len || text->ptr[text->len - 1 - digits] != ':')
        return false;
    text->len -= digits + 1;
    *out = (uint32_t)value;
    return true;
}

static bool frame_parse(Str line, JsFrame *frame) {
    if (!read_number(&line, &frame->column) || !read_number(&line, &frame->line)) return false;
    size_t at = line.len;  // the last '@': a function's name may contain one, our file names do not
    while (at > 0 && line.ptr[at - 1] != '@')
        at--;
    frame->file = (Str){line.ptr + at, line.len - at};
    frame->function = (Str){line.ptr, at ? at - 1 : 0};
    return str_eq(frame->file, STR(JS_MODULE_FILE));
}

bool js_stack_next(Str *stack, JsFrame *frame) {
    while (stack->len) {
        const char *newline = memchr(stack->ptr, '\n', stack->len);
        Str line = {stack->ptr, newline ? (size_t)(newline - stack->ptr) : stack->len};
        size_t used = line.len + (newline != NULL);
        *stack = (Str){stack->ptr + used, stack->len - used};
        if (frame_parse(line, frame)) return true;
    }
    return false;
}
