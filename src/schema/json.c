// json.c: a module definition as JSON, for GET …/schema and the code generator (http-api-and-auth
// §8.6): the raw definition in SATS-JSON's typed form.
#include "sats/json.h"
#include "schema/shape.h"

static Err write_definition(Buf *out,
                            Arena *arena,
                            const ModuleDef *def,
                            uint32_t version,
                            Diag *diag) {
    Buf raw = {0};
    const Type *shape = definition_shape(arena, version);
    definition_encode(&raw, def, version);
    size_t len;
    Err err = shape && buf_ok(&raw) ? OK : diag_fail(diag, ERR_NOMEM, "out of memory");
    // What was decoded has the shape, but may hold types nested deeper than a value may be.
    if (err == OK) err = bsatn_check(shape, buf_bytes(&raw), &len, diag);
    if (err == OK) json_write(out, shape, raw.ptr, JSON_TYPED);
    buf_deinit(&raw);
    return err;
}

Err moduledef_write_json(const ModuleDef *def,
                         uint32_t version,
                         bool wrapper,
                         Buf *out,
                         Diag *diag) {
    if (version != 9 && version != 10)
        return diag_fail(diag,
                         ERR_UNSUPPORTED,
                         "definitions have versions 9 and 10, not %u",
                         version);
    Arena arena = {0};
    if (wrapper) buf_printf(out, "{\"V%u\":", version);
    Err err = write_definition(out, &arena, def, version, diag);
    if (wrapper) buf_put_u8(out, '}');
    arena_deinit(&arena);
    if (err == OK && !buf_ok(out)) err = diag_fail(diag, ERR_NOMEM, "out of memory");
    return err;
}
