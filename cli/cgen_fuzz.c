// Any bytes as a module's source: the generator says what is wrong with them and touches nothing else.
#include "cli/cgen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CgenSource source = {"src/m.c", {(const char *)data, size}};
    Cgen gen;
    Buf definition = {0}, out = {0};
    if (cgen_read(&gen, &source, 1) && cgen_definition(&gen, &definition)) {
        cgen_header(&gen, &out);
        cgen_code(&gen, buf_bytes(&definition), &out);
    }
    buf_deinit(&gen.errors);
    buf_deinit(&definition);
    buf_deinit(&out);
    arena_reset(cli_arena());
    return 0;
}
