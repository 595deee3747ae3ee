// schedule.h: which rows of scheduled tables are due when. Spec: module-abi §5.8.
//
// A heap in memory, rebuilt from the tables at start; the rows are the truth. An entry whose row is
// gone when it comes due is forgotten. Intervals are anchored: the next run is the first instant
// anchor + k × interval that lies in the future, so they do not drift and missed ticks are skipped.
#pragma once
#include "txn/writeset.h"

typedef struct Schedule Schedule;

typedef struct ScheduleEntry {
    uint32_t table_id;
    uint64_t row_id;  // the u64 primary key
    Micros due;       // wall clock
    Micros interval;  // 0: once
} ScheduleEntry;

Schedule *schedule_new(void);
void schedule_free(Schedule **schedule);
// (Re)register a row; an entry of the same row is replaced. ERR_NOMEM.
MUST_USE Err schedule_row(Schedule *schedule, const CatalogTable *table, Bytes row, Micros now);
MUST_USE Err schedule_put(Schedule *schedule, const ScheduleEntry *entry);
bool schedule_has(const Schedule *schedule, uint32_t table_id, uint64_t row_id);
void schedule_remove(Schedule *schedule, uint32_t table_id, uint64_t row_id);
// Forget everything and read all scheduled tables again.
MUST_USE Err schedule_rebuild(Schedule *schedule, const Catalog *catalog, Micros now);
// Take the entry that is due, if one is.
bool schedule_take_due(Schedule *schedule, Micros now, ScheduleEntry *out);
Micros schedule_next_due(const Schedule *schedule);  // INT64_MAX: nothing is scheduled
// The instant after `now` at which an interval entry runs again.
Micros schedule_following(const ScheduleEntry *entry, Micros now);
uint64_t schedule_row_id(const CatalogTable *table, Bytes row);
bool schedule_row_is_interval(const CatalogTable *table, Bytes row);
