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

// ---- places in the sources

static void map_keep(JsProgram *program, Str bundle) {
    buf_put_str(&program->map_text, sourcemap_find(bundle));
    if (!buf_ok(&program->map_text)) buf_deinit(&program->map_text);  // then without
}

// The map is read when the first exception asks for it.
static const SourceMap *map_of(JsProgram *program) {
    pthread_mutex_lock(&program->map_lock);
    if (program->map_text.len) {
        if (sourcemap_decode(bytes_str(buf_bytes(&program->map_text)), &program->map) != OK)
            program->map = NULL;
        buf_deinit(&program->map_text);
    }
    pthread_mutex_unlock(&program->map_lock);
    return program->map;
}

void js_frame_map(JsProgram *program, JsFrame *frame) {
    const SourceMap *map = map_of(program);
    Str file;
    uint32_t line;
    if (!map || !sourcemap_lookup(map, frame->line, frame->column, &file, &line)) return;
    frame->file = file;
    frame->line = line;
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
    pthread_mutex_init(&program->map_lock, NULL);
    map_keep(program, bytes_str(bytes));
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
    sourcemap_free(&program->map);
    buf_deinit(&program->map_text);
    pthread_mutex_destroy(&program->map_lock);
    mem_free(program);
}
