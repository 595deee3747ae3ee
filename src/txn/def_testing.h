// def_testing.h: a module definition made by hand, for tests below the module host.
//
//   item    (id u64 primary key, auto-increment; name String; v U32 with an index; code U32 unique)
//   note    (text String, n U32)              no key: a set of rows
//   tick    (kind U8, at I64)                 an event table
//   pair    (a U32, b U32)                    no key; an index on (a, b), b unique
//   timer   (id u64 primary key, auto-increment; at ScheduleAt)   a scheduled table
//
#pragma once
#include "txn/db.h"

typedef struct TestDef {
    Arena arena;
    ModuleDef def;
} TestDef;

enum { TEST_ITEM, TEST_NOTE, TEST_TICK, TEST_PAIR, TEST_TIMER, TEST_TABLES };

void testdef_init(TestDef *test);
void testdef_deinit(TestDef *test);
// First publish of this definition into an empty database, committed and flushed.
MUST_USE Err testdef_create(Db *db, const TestDef *test);
CatalogTable *testdef_table(const Db *db, int which);
uint32_t testdef_index(const Db *db, const char *name);
// Rows as BSATN, appended to out.
void testdef_item(Buf *out, uint64_t id, const char *name, uint32_t v, uint32_t code);
void testdef_note(Buf *out, const char *text, uint32_t n);
