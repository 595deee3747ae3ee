// database_private.h: what opening a database and giving it a new version have in common. Not for others.
#pragma once
#include "node/database.h"
#include "node/lane.h"

// Takes the instance and the module with its program. Workers that still run the one before hold it
// as long as they need.
void database_module_set(Database *db, LaneModule **module, ModuleInstance *instance);
// Inside the transaction that makes the schema, when its tables are there.
MUST_USE Err database_rules_check(const Database *db, const ModuleDef *def, Diag *diag);
// Queries find their tables again; those that no longer compile end with the reason.
void database_queries_renew(Database *db);
void database_disconnect_all(Database *db, const char *why);
void database_catalog_line(void *db, Str line);  // of a migration, into the module's log
