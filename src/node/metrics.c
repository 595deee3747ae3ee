// metrics.c: what is counted of a database.
#include "node/metrics.h"

#include "node/lane.h"
#include "node/node_private.h"

typedef struct Metric {
    MetricFamily family;
    uint64_t (*value)(const Database *db);
} Metric;

#define DB_METRIC(fn, expr)                  \
    static uint64_t fn(const Database *db) { \
        return (uint64_t)(expr);             \
    }
// The pool is the process's; each database shows the same number.
static uint64_t worker_passed_over(const Database *db) {
    return worker_pool_stats(db->loop->node->workers).passed_over;
}

typedef struct InboxTotal {
    uint64_t messages, bytes;
} InboxTotal;

static InboxTotal inbox_total(const Database *db) {
    InboxTotal total = {0};
    for (const Session *s = db->sessions; s; s = s->next) {
        total.messages += s->inbox_count;
        total.bytes += s->inbox.len - s->inbox_at;
    }
    return total;
}

DB_METRIC(m_clients, db->client_count)
DB_METRIC(m_calls_ok, db->counters.calls_ok)
DB_METRIC(m_calls_user_error, db->counters.calls_user_error)
DB_METRIC(m_calls_fatal, db->counters.calls_fatal)
DB_METRIC(m_calls_deadline, db->counters.calls_deadline)
DB_METRIC(m_calls_refused, db->counters.calls_refused)
DB_METRIC(m_calls_repeated, db->counters.calls_repeated)
DB_METRIC(m_missed_page, db->counters.calls_missed_page)
DB_METRIC(m_overran, db->counters.slices_used_up)
DB_METRIC(m_slow, db->counters.slow_calls)
DB_METRIC(m_slow_active, lanes_stats(db, LANE_REDUCER).active)
DB_METRIC(m_slow_queued, lanes_stats(db, LANE_REDUCER).queued)
DB_METRIC(m_conflicts, db->counters.conflicts)
DB_METRIC(m_exclusive, db->counters.exclusive_runs)
DB_METRIC(m_bulk_commits, db_applied(db->db).bulk_commits)
DB_METRIC(m_bulk_rows, db_applied(db->db).bulk_rows)
DB_METRIC(m_told, db->counters.told)
DB_METRIC(m_single_rows, db_applied(db->db).single_rows)
DB_METRIC(m_procedures, db->counters.procedures)
DB_METRIC(m_procedures_failed, db->counters.procedures_failed)
DB_METRIC(m_procedures_active, lanes_stats(db, LANE_PROCEDURE).active)
DB_METRIC(m_procedures_queued, lanes_stats(db, LANE_PROCEDURE).queued)
DB_METRIC(m_procedures_deadline, db->counters.procedures_deadline)
DB_METRIC(m_lane_refused, db->counters.lane_refused)
DB_METRIC(m_passed_over, worker_passed_over(db))
DB_METRIC(m_delayed, db->counters.calls_delayed)
DB_METRIC(m_over_rate, db->counters.calls_over_rate)
DB_METRIC(m_parked, db->fair.heap_count)
DB_METRIC(m_parties, db->fair.party_count)
DB_METRIC(m_held_back, db->fair.stats.held_back)
DB_METRIC(m_in_debt, db->fair.stats.in_debt)
DB_METRIC(m_slow_clients, db->counters.slow_clients)
DB_METRIC(m_hurried, db->counters.hurried)
DB_METRIC(m_hurried_syncs, db->counters.syncs_here_hurried)
DB_METRIC(m_held, db->counters.batches_held)
DB_METRIC(m_away, db->counters.away_ns / 1000)
DB_METRIC(m_inboxes_full, db->counters.inboxes_full)
DB_METRIC(m_inbox_messages, inbox_total(db).messages)
DB_METRIC(m_inbox_bytes, inbox_total(db).bytes)
DB_METRIC(m_snapshots, store_stats(db_store(db->db)).snapshots_live)
DB_METRIC(m_snapshot_bytes, store_stats(db_store(db->db)).snapshot_bytes)
DB_METRIC(m_snapshot_age, database_snapshot_age_ns(db) / 1000)
DB_METRIC(m_retries, db->counters.retries)
DB_METRIC(m_stopped, db->counters.calls_deadline + db->counters.procedures_deadline)
DB_METRIC(m_commits, db->counters.commits)
DB_METRIC(m_syncs, log_syncs(db_log(db->db)))
DB_METRIC(m_turns, db->counters.turns)
DB_METRIC(m_messages, db->counters.messages_in)
DB_METRIC(m_sql, db->counters.sql_queries)
DB_METRIC(m_reads, db->counters.reads)
DB_METRIC(m_reads_active, db->reads_active)
DB_METRIC(m_reads_cancelled, db->counters.reads_cancelled)
DB_METRIC(m_packing_saved, db->counters.packing_saved)
DB_METRIC(m_reads_refused, db->counters.reads_refused)
DB_METRIC(m_resumes, db->counters.resumes)
DB_METRIC(m_resumes_history, db->counters.resumes_other_history)
DB_METRIC(m_resumes_gone, db->counters.resumes_log_gone)
DB_METRIC(m_resumes_large, db->counters.resumes_too_much)
DB_METRIC(m_resumes_schema, db->counters.resumes_other_schema)
DB_METRIC(m_resumes_failed, db->counters.resumes_failed)
DB_METRIC(m_sets, live_stats(db->live).query_sets)
DB_METRIC(m_groups, live_stats(db->live).groups)
DB_METRIC(m_subscription_state, live_stats(db->live).state_bytes)
DB_METRIC(m_tested, live_stats(db->live).groups_tested)
DB_METRIC(m_view_results, views_stats(db->views).results)
DB_METRIC(m_view_runs, views_stats(db->views).runs)
DB_METRIC(m_view_late, views_stats(db->views).late)
DB_METRIC(m_views_active, lanes_stats(db, LANE_VIEW).active)
DB_METRIC(m_view_failures, views_stats(db->views).failures)
DB_METRIC(m_pages, store_stats(db_store(db->db)).memory_bytes)
DB_METRIC(m_log_bytes, log_bytes(db_log(db->db)))
DB_METRIC(m_pages_dirty, store_stats(db_store(db->db)).dirty_bytes)
DB_METRIC(m_pages_file, store_stats(db_store(db->db)).file_bytes)
DB_METRIC(m_page_reads, store_stats(db_store(db->db)).page_reads)
DB_METRIC(m_page_errors, store_stats(db_store(db->db)).page_read_errors)
DB_METRIC(m_pages_evicted, store_stats(db_store(db->db)).pages_evicted)
DB_METRIC(m_pages_spilled, store_stats(db_store(db->db)).pages_spilled)
DB_METRIC(m_page_reads_loop, store_stats(db_store(db->db)).page_reads_owner)
DB_METRIC(m_page_waits, store_stats(db_store(db->db)).page_waits)
DB_METRIC(m_page_wait_us, store_stats(db_store(db->db)).page_wait_ns / 1000)
DB_METRIC(m_spill_waits, store_stats(db_store(db->db)).spill_waits)
DB_METRIC(m_spill_wait_us, store_stats(db_store(db->db)).spill_wait_ns / 1000)

static DbCheckpointStats checkpoint_stats(const Database *db) {
    DbCheckpointStats stats;
    db_checkpoint_stats(db->db, &stats);
    return stats;
}
DB_METRIC(m_checkpoints, checkpoint_stats(db).done)
DB_METRIC(m_checkpoint_failures, checkpoint_stats(db).failed)
DB_METRIC(m_checkpoint_bytes, checkpoint_stats(db).bytes)
DB_METRIC(m_checkpoint_log, checkpoint_stats(db).log_bytes)
DB_METRIC(m_module_log, modulelog_bytes(db->log))
DB_METRIC(m_instances, db->instances_made)
DB_METRIC(m_instances_inline, db->counters.instances_inline)
DB_METRIC(m_instance_wait, db->counters.instance_wait_ns / 1000)
DB_METRIC(m_failed, db->failed)
DB_METRIC(m_read_only, db->read_only != OK)

// clang-format off
static const Metric metrics[] = {
    {{"spacetime_worker_connected_clients", "gauge", "WebSocket clients connected now"}, m_clients},
    {{"lightcone_calls_ok_total", "counter", "reducer calls that committed"}, m_calls_ok},
    {{"lightcone_calls_user_error_total", "counter", "reducer calls that returned an error"}, m_calls_user_error},
    {{"lightcone_calls_fatal_total", "counter", "reducer calls that failed inside"}, m_calls_fatal},
    {{"lightcone_calls_deadline_total", "counter", "reducer calls stopped at their deadline"}, m_calls_deadline},
    {{"lightcone_calls_repeated_total", "counter", "calls that had happened already when they came again"}, m_calls_repeated},
    {{"lightcone_calls_refused_total", "counter", "reducer calls that never started"}, m_calls_refused},
    {{"lightcone_calls_missed_page_total", "counter", "times a reducer call began again because a page was not in memory"}, m_missed_page},
    {{"lightcone_slices_used_up_total", "counter", "reducer calls that needed more than their slice"}, m_overran},
    {{"lightcone_slow_calls_total", "counter", "reducer calls that ran in the slow lane"}, m_slow},
    {{"lightcone_slow_calls_active", "gauge", "reducer calls in the slow lane now"}, m_slow_active},
    {{"lightcone_slow_calls_queued", "gauge", "reducer calls that wait for a place there"}, m_slow_queued},
    {{"lightcone_conflicts_total", "counter", "transactions undone because others changed what they had read"}, m_conflicts},
    {{"lightcone_bulk_commits_total", "counter", "commits of slow calls whose rows were made ready beside the loop"}, m_bulk_commits},
    {{"lightcone_bulk_rows_total", "counter", "rows of these"}, m_bulk_rows},
    {{"lightcone_bulk_told_total", "counter", "commits whose subscribers' updates were made beside the loop"}, m_told},
    {{"lightcone_rows_applied_total", "counter", "rows of slow calls that the loop changed one by one"}, m_single_rows},
    {{"lightcone_exclusive_runs_total", "counter", "transactions that had the database to themselves after conflicts"}, m_exclusive},
    {{"lightcone_procedures_total", "counter", "procedures and HTTP handlers called"}, m_procedures},
    {{"lightcone_procedures_failed_total", "counter", "procedures and HTTP handlers that failed"}, m_procedures_failed},
    {{"lightcone_procedures_active", "gauge", "procedures and HTTP handlers under way"}, m_procedures_active},
    {{"lightcone_procedures_queued", "gauge", "procedures and HTTP handlers that wait for a place"}, m_procedures_queued},
    {{"lightcone_procedures_deadline_total", "counter", "procedures and HTTP handlers stopped at their deadline"}, m_procedures_deadline},
    {{"lightcone_stopped_total", "counter", "reducers, procedures and HTTP handlers stopped at a deadline"}, m_stopped},
    {{"lightcone_retries_total", "counter", "slow reducers that ran once more after a conflict"}, m_retries},
    {{"lightcone_lane_refused_total", "counter", "calls refused because too many waited to run beside the others"}, m_lane_refused},
    {{"lightcone_worker_jobs_passed_over_total", "counter", "jobs that others overtook because their identity had its share of the workers"}, m_passed_over},
    {{"lightcone_calls_delayed_total", "counter", "calls that waited for their time under a rate"}, m_delayed},
    {{"lightcone_calls_over_rate_total", "counter", "calls refused because a rate would let them wait too long"}, m_over_rate},
    {{"lightcone_calls_waiting", "gauge", "calls that wait for their time now"}, m_parked},
    {{"lightcone_identities", "gauge", "identities known to the scheduler now"}, m_parties},
    {{"lightcone_turns_held_back_total", "counter", "turns that ended because everybody in them had used up a share"}, m_held_back},
    {{"lightcone_identities_in_debt_total", "counter", "times that an identity let a round pass because it had used more than its share"}, m_in_debt},
    {{"lightcone_turns_hurried_total", "counter", "turns that ended early for somebody who asks for little beside others who do not"}, m_hurried},
    {{"lightcone_away_us_total", "counter", "microseconds within calls in which the machine ran somebody else, as far as it was noticed; no call is charged for them"}, m_away},
    {{"lightcone_syncs_hurried_total", "counter", "syncs that were waited for because that is quicker for such a one"}, m_hurried_syncs},
    {{"lightcone_batches_held_total", "counter", "batches that waited a moment for the next call of such a one"}, m_held},
    {{"lightcone_slow_clients_total", "counter", "clients cut off because they did not read what they were sent"}, m_slow_clients},
    {{"lightcone_inboxes_full_total", "counter", "times that a socket was not read because too much of its client waited"}, m_inboxes_full},
    {{"lightcone_inbox_messages", "gauge", "messages of clients that wait to be worked on"}, m_inbox_messages},
    {{"lightcone_inbox_bytes", "gauge", "bytes of them"}, m_inbox_bytes},
    {{"lightcone_snapshots_live", "gauge", "snapshots held now"}, m_snapshots},
    {{"lightcone_snapshot_oldest_age_us", "gauge", "age of the oldest snapshot, microseconds"}, m_snapshot_age},
    {{"lightcone_snapshot_bytes", "gauge", "memory kept for snapshots alone"}, m_snapshot_bytes},
    {{"lightcone_commits_total", "counter", "transactions that changed something"}, m_commits},
    {{"lightcone_log_syncs_total", "counter", "fdatasyncs of the commit log"}, m_syncs},
    {{"lightcone_turns_total", "counter", "turns of the loop with work for this database"}, m_turns},
    {{"spacetime_websocket_requests_total", "counter", "WebSocket messages received"}, m_messages},
    {{"spacetime_num_queries_evaluated", "counter", "one-off and HTTP queries"}, m_sql},
    {{"lightcone_reads_total", "counter", "queries read on a snapshot beside the loop"}, m_reads},
    {{"lightcone_reads_active", "gauge", "such queries under way"}, m_reads_active},
    {{"lightcone_compression_saved_bytes_total", "counter", "bytes that did not leave because answers were compressed"}, m_packing_saved},
    {{"lightcone_reads_cancelled_total", "counter", "such queries whose client went away"}, m_reads_cancelled},
    {{"lightcone_reads_refused_total", "counter", "answers that were larger than allowed"}, m_reads_refused},
    {{"lightcone_resumes_total", "counter", "clients that came back and were told only what they missed"}, m_resumes},
    {{"lightcone_resumes_other_history_total", "counter", "… that were told everything: the place they named is none of this log's"}, m_resumes_history},
    {{"lightcone_resumes_log_gone_total", "counter", "… because the log of that time has been let go"}, m_resumes_gone},
    {{"lightcone_resumes_too_much_total", "counter", "… because too much has happened since"}, m_resumes_large},
    {{"lightcone_resumes_other_schema_total", "counter", "… because the schema or a rule is another since then"}, m_resumes_schema},
    {{"lightcone_resumes_failed_total", "counter", "… for another reason"}, m_resumes_failed},
    {{"spacetime_subscription_sets", "gauge", "query sets subscribed now"}, m_sets},
    {{"spacetime_active_queries", "gauge", "distinct queries watched now"}, m_groups},
    {{"lightcone_subscription_state_bytes", "gauge", "bytes that subscriptions take for groups and for join columns without an index"}, m_subscription_state},
    {{"lightcone_groups_tested_total", "counter", "queries tested against changed rows"}, m_tested},
    {{"lightcone_view_results", "gauge", "results of views kept"}, m_view_results},
    {{"lightcone_view_runs_total", "counter", "times a view was run"}, m_view_runs},
    {{"lightcone_view_late_total", "counter", "times a view took too long for a commit and followed it"}, m_view_late},
    {{"lightcone_views_active", "gauge", "views under way beside the loop"}, m_views_active},
    {{"lightcone_view_failures_total", "counter", "times a view had no result"}, m_view_failures},
    {{"lightcone_store_bytes", "gauge", "memory of pages"}, m_pages},
    {{"lightcone_store_dirty_bytes", "gauge", "pages that the next checkpoint writes"}, m_pages_dirty},
    {{"lightcone_page_file_bytes", "gauge", "size of the page file in use"}, m_pages_file},
    {{"lightcone_page_reads_total", "counter", "pages read from the page file"}, m_page_reads},
    {{"lightcone_page_read_errors_total", "counter", "pages that could not be read"}, m_page_errors},
    {{"lightcone_pages_evicted_total", "counter", "pages that left memory"}, m_pages_evicted},
    {{"lightcone_page_reads_loop_total", "counter", "of the pages read, those read by the loop"}, m_page_reads_loop},
    {{"lightcone_page_waits_total", "counter", "of those, the ones for which the loop waited for the disk"}, m_page_waits},
    {{"lightcone_page_wait_microseconds_total", "counter", "time in which it did"}, m_page_wait_us},
    {{"lightcone_pages_spilled_total", "counter", "changed pages written out to make room"}, m_pages_spilled},
    {{"lightcone_spill_waits_total", "counter", "times the loop waited for that, because memory was far over its limit"}, m_spill_waits},
    {{"lightcone_spill_wait_microseconds_total", "counter", "time in which it did"}, m_spill_wait_us},
    {{"lightcone_checkpoints_total", "counter", "checkpoints written"}, m_checkpoints},
    {{"lightcone_checkpoint_failures_total", "counter", "checkpoints that failed"}, m_checkpoint_failures},
    {{"lightcone_checkpoint_bytes_total", "counter", "bytes of pages written by checkpoints"}, m_checkpoint_bytes},
    {{"lightcone_checkpoint_log_bytes", "gauge", "log since the last checkpoint began"}, m_checkpoint_log},
    {{"spacetime_message_log_size_bytes", "gauge", "size of the commit log"}, m_log_bytes},
    {{"spacetime_module_log_file_size_bytes", "gauge", "size of today's module log"}, m_module_log},
    {{"lightcone_module_instances_made_total", "counter", "module instances made"}, m_instances},
    {{"lightcone_module_instances_inline_total", "counter", "of those that replaced another, made on the loop because no worker had one"}, m_instances_inline},
    {{"lightcone_module_instance_wait_microseconds_total", "counter", "time in which calls waited for an instance"}, m_instance_wait},
    {{"lightcone_database_failed", "gauge", "1: the log cannot be written, nothing is accepted"}, m_failed},
    {{"lightcone_database_read_only", "gauge", "1: nothing can be written, the durable state is served"}, m_read_only},
};
// clang-format on

size_t metrics_count(void) {
    return ARRAY_LEN(metrics);
}

const MetricFamily *metrics_family(size_t which) {
    return &metrics[which].family;
}

uint64_t metrics_of(const Database *db, size_t which) {
    return metrics[which].value(db);
}

static const Metric *metric_named(const char *name) {
    for (size_t i = 0; name && i < ARRAY_LEN(metrics); i++) {
        if (strcmp(metrics[i].family.name, name) == 0) return &metrics[i];
    }
    return NULL;
}

bool metrics_value(const Database *db, const char *name, uint64_t *out) {
    const Metric *metric = metric_named(name);
    if (metric) *out = metric->value(db);
    return metric != NULL;
}

const char *metrics_help(const char *name) {
    const Metric *metric = metric_named(name);
    return metric ? metric->family.help : "";
}
