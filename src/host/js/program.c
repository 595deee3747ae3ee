// program.c: a published JavaScript program, and the engine's table.
#include "base/mem.h"
#include "host/js/bundle.h"
#include "host/js/js.h"
#include "host/js/text.h"

JSStringRef js_string(Bytes utf8) {
    Buf units = {0};
    text_to_utf16(&units, utf8);
    JSStringRef string = NULL;
    if (buf_ok(&units)) {
        const void *first = units.ptr ? units.ptr : (const uint8_t *)"";
        string = JSStringCreateWithCharacters(first, units.len / sizeof(JSChar));
    }
    buf_deinit(&units);
    return string;
}

static Err script_make(Bytes program, JSStringRef *out, Diag *diag) {
    Buf script = {0};
    Err err = OK;
    if (!utf8_valid(program)) return diag_fail(diag, ERR_INVALID, "the module is not valid UTF-8");
    if ((err = bundle_rewrite(bytes_str(program), &script, diag)) != OK) goto done;
    *out = js_string(buf_bytes(&script));
    if (!*out) err = ERR_NOMEM;
done:
    buf_deinit(&script);
    return err;
}

// What the module logs before it belongs to a database goes nowhere.
static const HostEnv no_env = {.ctx = NULL};

Err js_program_load(Bytes bytes,
                    const HostLoadOptions *options,
                    HostProgram **out,
                    Buf *description,
                    Diag *diag) {
    (void)options;
    JsProgram *program = MEM_NEW(JsProgram);
    JsInstance *first = NULL;
    Err err = OK;
    if (!program) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    program->base.engine = &js_engine;
    if ((err = script_make(bytes, &program->script, diag)) != OK) goto done;
    if ((err = js_instance_make(program, &no_env, description, &first, diag)) != OK) goto done;
    *out = &program->base;
    program = NULL;
done:
    if (first) js_instance_free(&first->base);
    if (program) js_program_unload(&program->base);
    return err;
}

void js_program_unload(HostProgram *base) {
    JsProgram *program = CONTAINER_OF(base, JsProgram, base);
    if (program->script) JSStringRelease(program->script);
    mem_free(program);
}
