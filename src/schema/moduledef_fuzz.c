// moduledef_fuzz.c: definitions come from modules, which anybody may write. Whatever the bytes, the
// decoder refuses or gives a definition that prints in both versions and migrates to itself.
#include "schema/migrate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_both(const ModuleDef *def) {
    Diag diag;
    for (uint32_t version = 9; version <= 10; version++) {
        Buf json = {0};
        Err err = moduledef_write_json(def, version, true, &json, &diag);
        // Only a type nested deeper than a value may be cannot be printed.
        ASSERT(err == OK || err == ERR_LIMIT || err == ERR_MALFORMED);
        buf_deinit(&json);
    }
}

static void migrate_to_itself(const ModuleDef *def) {
    MigratePlan *plan = NULL;
    Diag diag;
    ASSERT(migrate_plan(def, def, &plan, &diag) == OK);
    ASSERT(!plan->breaks_clients);
    Buf text = {0};
    migrate_plan_print(plan, true, &text);
    buf_deinit(&text);
    migrate_plan_free(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ModuleDef *def = NULL;
    Diag diag;
    diag_clear(&diag);
    Err err = moduledef_decode(BYTES(data, size), &def, &diag);
    ASSERT((err == OK) == (def != NULL));
    if (err != OK) {
        ASSERT(diag.text[0] != 0);  // a refusal has a reason
        return 0;
    }
    print_both(def);
    migrate_to_itself(def);
    moduledef_free(&def);
    return 0;
}
