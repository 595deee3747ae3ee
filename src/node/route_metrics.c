// route_metrics.c: GET /v1/metrics, Prometheus text. Spec: http-api-and-auth §18.
//
// Every loop writes its own numbers, on its own thread, into a text of its own; the last one to finish hands them
// back to the loop on which the question arrived. The format wants all samples of a metric together, behind what it
// is. So each text has them metric by metric, in the same order, and a mark where each ends:
//
//   loop 0   a a | b | c c |        answer   # a's HELP, TYPE   a a a   # b's   b b   # c's   c c
//   loop 1   a   | b |     |
#include "base/mem.h"
#include "node/metrics.h"
#include "node/node_private.h"
#include "node/routes.h"
#include "os/background.h"

typedef struct MetricsJob MetricsJob;
typedef struct MetricsPart {
    LoopTask task;
    MetricsJob *job;
    Buf text;
    Buf ends;  // u64 each
} MetricsPart;

struct MetricsJob {
    ConnOwner owner;
    LoopTask answer;
    NodeLoop *home;
    NetConn *conn;  // NULL: the asker left
    atomic_uint waiting;
    uint32_t part_count;
    MetricsPart parts[];
};

// In this order in each text: those of a loop, of the process, of each database, and of its parts.
static const MetricFamily loop_families[] = {
    {"lightcone_connections", "gauge", "connections open now"},
    {"lightcone_bytes_in_total", "counter", "bytes received"},
    {"lightcone_bytes_out_total", "counter", "bytes sent"},
    {"lightcone_messages_in_total", "counter", "WebSocket messages received"},
    {"lightcone_messages_out_total", "counter", "WebSocket messages sent"},
    {"lightcone_slow_clients_cut_total",
     "counter",
     "connections cut off because they did not read"},
    {"lightcone_idle_clients_cut_total", "counter", "connections cut off because nothing came"},
};
static const MetricFamily process_families[] = {
    {"lightcone_worker_jobs_total", "counter", "jobs beside the loops"},
    {"lightcone_worker_jobs_refused_total", "counter", "of these, refused because too many waited"},
    {"lightcone_worker_jobs_queued", "gauge", "jobs that wait for a worker"},
    {"lightcone_worker_jobs_running", "gauge", "jobs under way"},
    {"lightcone_worker_jobs_waiting", "gauge", "of these, jobs that wait for something outside"},
    {"lightcone_pulse_beats_total", "counter", "times that the system was made to choose who runs"},
    {"lightcone_background_called_back_total", "counter", "times that slow work got no core"},
};
static const MetricFamily part_families[] = {
    {"lightcone_setting", "gauge", "what is set; set=\"0\": nobody has, it is the default"},
    {"spacetime_num_table_rows", "gauge", "rows of the table"},
    {"spacetime_table_size_bytes", "gauge", "bytes of the table's rows"},
};

static size_t family_count(void) {
    return ARRAY_LEN(loop_families) + ARRAY_LEN(process_families) + metrics_count() +
           ARRAY_LEN(part_families);
}

static const MetricFamily *family_at(size_t i) {
    if (i < ARRAY_LEN(loop_families)) return &loop_families[i];
    i -= ARRAY_LEN(loop_families);
    if (i < ARRAY_LEN(process_families)) return &process_families[i];
    i -= ARRAY_LEN(process_families);
    if (i < metrics_count()) return metrics_family(i);
    return &part_families[i - metrics_count()];
}

// ── a loop's part ──────────────────────────────────────────────────────────────────────────────

static void end_family(MetricsPart *part) {
    buf_put_u64(&part->ends, part->text.len);
}

static void write_loop(MetricsPart *part, const NodeLoop *loop) {
    NetStats net = net_stats(loop->net);
    const uint64_t values[] = {net.connections,
                               net.bytes_in,
                               net.bytes_out,
                               net.messages_in,
                               net.messages_out,
                               net.slow_cut,
                               net.idle_cut};
    static_assert(ARRAY_LEN(values) == ARRAY_LEN(loop_families), "one each");
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        buf_printf(&part->text,
                   "%s{loop=\"%u\"} %llu\n",
                   loop_families[i].name,
                   loop->number,
                   (unsigned long long)values[i]);
        end_family(part);
    }
}

// The workers and the pulse are the process's, so the front loop speaks of them.
static void write_process(MetricsPart *part, const NodeLoop *loop) {
    WorkerStats stats = worker_pool_stats(loop->node->workers);
    const uint64_t values[] = {stats.jobs,
                               stats.refused,
                               stats.queued,
                               stats.running,
                               stats.waiting,
                               pulse_beats(loop->node->pulse),
                               background_called_back()};
    static_assert(ARRAY_LEN(values) == ARRAY_LEN(process_families), "one each");
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (loop->number == 0)
            buf_printf(&part->text,
                       "%s %llu\n",
                       process_families[i].name,
                       (unsigned long long)values[i]);
        end_family(part);
    }
}

typedef struct Named {
    const MetricFamily *family;
    const Database *db;
    const char *hex;  // its identity
} Named;

static void write_value(Buf *out, const Named *of, size_t which) {
    buf_printf(out,
               "%s{database_identity=\"%s\"} %llu\n",
               of->family->name,
               of->hex,
               (unsigned long long)metrics_of(of->db, which));
}

static void write_settings(Buf *out, const Named *of) {
    const Settings *settings = &of->db->settings;
    for (uint32_t i = 0; i < setting_count; i++) {
        buf_printf(out,
                   "%s{database_identity=\"%s\",key=\"%s\",set=\"%d\"} %lld\n",
                   of->family->name,
                   of->hex,
                   setting_rules[i].key,
                   setting_is_own(settings, &setting_rules[i]),
                   (long long)setting_get(settings, &setting_rules[i]));
    }
}

static void write_tables(Buf *out, const Named *of, bool bytes) {
    const Catalog *catalog = db_catalog(of->db->db);
    for (uint32_t i = 0; i < catalog_table_count(catalog); i++) {
        const CatalogTable *t = catalog_table_at(catalog, i);
        if (t->is_system || !t->table) continue;
        uint64_t value = bytes ? table_data_bytes(t->table) : table_row_count(t->table, NULL);
        buf_printf(out,
                   "%s{db=\"%s\",table_id=\"%u\",table_name=\"" STR_FMT "\"} %llu\n",
                   of->family->name,
                   of->hex,
                   t->table_id,
                   STR_ARG(t->name),
                   (unsigned long long)value);
    }
}

static void write_of(Buf *out, const Named *of, size_t which) {
    size_t of_parts = metrics_count();
    if (which < of_parts)
        write_value(out, of, which);
    else if (which == of_parts)
        write_settings(out, of);
    else
        write_tables(out, of, which == of_parts + 2);
}

static void write_databases(MetricsPart *part, const NodeLoop *loop) {
    size_t before = ARRAY_LEN(loop_families) + ARRAY_LEN(process_families);
    for (size_t which = 0; before + which < family_count(); which++) {
        for (const Database *db = loop->databases; db; db = db->next) {
            char hex[IDENTITY_HEX_LEN + 1];
            identity_hex(&db->identity, hex);
            Named of = {family_at(before + which), db, hex};
            write_of(&part->text, &of, which);
        }
        end_family(part);
    }
}

// ── the answer ─────────────────────────────────────────────────────────────────────────────────

static void put_family(Buf *out, const MetricsJob *job, size_t which) {
    const MetricFamily *family = family_at(which);
    buf_printf(out, "# HELP %s %s\n", family->name, family->help);
    buf_printf(out, "# TYPE %s %s\n", family->name, family->kind);
    for (uint32_t i = 0; i < job->part_count; i++) {
        const MetricsPart *part = &job->parts[i];
        const uint8_t *end = part->ends.ptr + which * sizeof(uint64_t);
        size_t from = which ? load_u64(end - sizeof(uint64_t)) : 0;
        buf_put_bytes(out, BYTES(part->text.ptr + from, load_u64(end) - from));
    }
}

static void answer_run(LoopTask *task, NodeLoop *loop) {
    MetricsJob *job = CONTAINER_OF(task, MetricsJob, answer);
    Buf all = {0};
    (void)loop;
    for (uint32_t i = 0; i < job->part_count; i++)
        all.failed |= !buf_ok(&job->parts[i].text) || !buf_ok(&job->parts[i].ends);
    for (size_t which = 0; buf_ok(&all) && which < family_count(); which++)
        put_family(&all, job, which);
    for (uint32_t i = 0; i < job->part_count; i++) {
        buf_deinit(&job->parts[i].text);
        buf_deinit(&job->parts[i].ends);
    }
    if (job->conn) {
        net_conn_set_data(job->conn, NULL);
        http_respond(job->conn,
                     buf_ok(&all) ? 200 : 503,
                     NULL,
                     0,
                     STR("text/plain; version=0.0.4; charset=utf-8"),
                     buf_bytes(&all));
    }
    buf_deinit(&all);
    mem_free(job);
}

static void part_run(LoopTask *task, NodeLoop *loop) {
    MetricsPart *part = CONTAINER_OF(task, MetricsPart, task);
    MetricsJob *job = part->job;
    write_loop(part, loop);
    write_process(part, loop);
    write_databases(part, loop);
    if (atomic_fetch_sub_explicit(&job->waiting, 1, memory_order_acq_rel) == 1)
        loop_post(job->home, &job->answer);
}

static void job_conn_closed(void *self) {
    ((MetricsJob *)self)->conn = NULL;
}

void route_metrics(Request *r) {
    Node *node = r->node;
    pthread_mutex_lock(&node->mutex);
    uint32_t count = node->loop_count;
    MetricsJob *job = mem_zalloc(sizeof(MetricsJob) + count * sizeof(MetricsPart));
    if (job) {
        job->owner.conn_closed = job_conn_closed;
        job->answer.run = answer_run;
        job->home = r->loop;
        job->conn = r->conn;
        job->part_count = count;
        atomic_init(&job->waiting, count);
        net_conn_set_data(r->conn, job);
        for (uint32_t i = 0; i < count; i++) {
            job->parts[i].job = job;
            job->parts[i].task.run = part_run;
            loop_post(node->loops[i], &job->parts[i].task);
        }
    }
    pthread_mutex_unlock(&node->mutex);
    if (!job) request_err(r, ERR_NOMEM, NULL);
}
