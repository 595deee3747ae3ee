// start.c: `lightcone start`: signals, the life of the server. Spec: http-api-and-auth §15.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "node/start_args.h"
#include "node/version.h"

// Ten thousand clients need ten thousand descriptors.
static void descriptors_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) log_warn("cannot raise the limit of open files");
    }
}

static void reload(Node *node, bool has_tls) {
    Diag diag = {0};
    if (!has_tls) {
        log_info("hangup: there is no certificate to read again");
    } else if (node_reload(node, &diag) == OK) {
        log_info("hangup: the certificate was read again");
    } else {
        log_error("%s; the server goes on with the certificate it had", diag.text);
    }
}

static void wait_for_signal(Node *node, bool has_tls, const sigset_t *signals) {
    int got = 0;
    while (sigwait(signals, &got) != 0 || got == SIGHUP) {
        if (got == SIGHUP) reload(node, has_tls);
    }
    log_info("%s: stopping", got == SIGINT ? "interrupted" : "asked to terminate");
}

int node_start_command(int argc, char **argv) {
    StartArgs args = {
        .node = {.io = io_real(), .data_dir = "data", .port = 3000, .issuers = {.any = true}},
        .host = "127.0.0.1"};
    int code = start_args_read(argc, argv, &args);
    if (code) return code;
    if (args.help) {
        fputs(start_usage, stdout);
        return 0;
    }
    args.node.host = args.host;

    // Threads made from here on inherit the mask: only this one hears the signals.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    // Closing the terminal of a server that was started by hand ends it, as of old.
    if (args.node.tls_cert || !isatty(STDERR_FILENO)) sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);  // `ulimit -f` is a disk that is full, not the end
    descriptors_raise();

    Diag diag = {0};
    Node *node = NULL;
    printf("lightcone version: %s (compatible with %s)\n",
           LIGHTCONE_VERSION,
           LIGHTCONE_COMPATIBLE_VERSION);
    printf("database running in data directory %s\n",
           args.node.in_memory ? "(memory only)" : args.node.data_dir);
    fflush(stdout);
    Err err = node_start(&args.node, &node, &diag);
    if (err != OK) {
        fprintf(stderr, "Error: %s\n", diag.text[0] ? diag.text : err_text(err));
        return 1;
    }
    // Test harnesses of the original read the address from this very sentence (§15).
    if (node_pg_port(node))
        printf("PostgreSQL's protocol on %s:%u\n",
               args.node.pg_host ? args.node.pg_host : args.host,
               node_pg_port(node));
    printf("Starting SpacetimeDB listening on %s:%u\n", args.host, node_port(node));
    fflush(stdout);
    wait_for_signal(node, args.node.tls_cert, &signals);
    node_stop(&node);
    log_info("stopped");
    return 0;
}
