// start.c: `lightcone start`: arguments, signals, the life of the server. Spec: http-api-and-auth §15.
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "node/node.h"
#include "node/version.h"

static const char usage[] =
    "Start the server.\n"
    "\n"
    "Usage: lightcone start [options]\n"
    "\n"
    "  -l, --listen-addr HOST:PORT   where to listen (default 127.0.0.1:3000; port 0 picks a free one)\n"
    "      --pg-port PORT            speak PostgreSQL's protocol too, on this port of the same host\n"
    "      --pg-listen HOST:PORT     the same on another address\n"
    "      --data-dir DIR            where databases live (default: your data directory,\n"
    "                                $XDG_DATA_HOME/lightcone/data or ~/.local/share/lightcone/data)\n"
    "      --jwt-key-dir DIR         signing keys id_ecdsa, id_ecdsa.pub (default DATA-DIR/keys)\n"
    "      --jwt-priv-key-path FILE  a private key of your own, together with\n"
    "      --jwt-pub-key-path FILE   its public key\n"
    "      --issuers LIST            whose tokens are accepted besides the server's own: any (default) OpenID\n"
    "                                Connect issuer on the public internet, none, or addresses, with commas\n"
    "      --tls-cert FILE           speak TLS: the certificate with its chain, in PEM, together with\n"
    "      --tls-key FILE            its private key; SIGHUP makes the server read both again\n"
    "      --static DIR              serve the files of DIR at /\n"
    "      --in-memory               keep nothing on disk\n"
    "      --loops N                 most database threads (default 64); each database has one of its\n"
    "                                own until then\n"
    "      --reducer-deadline MS     stop a reducer that runs longer (default 10000)\n"
    "      --slice-ms MS             a reducer that needs longer goes on beside the others (default 2;\n"
    "                                0: it is waited for; none: every reducer begins there)\n"
    "      --cold-slice-ms MS        the same for its first runs in an instance of the module, which are\n"
    "                                slower (default 50)\n"
    "      --exclusive-ms MS         how long one that keeps conflicting with others may have the\n"
    "                                database to itself (default 1000)\n"
    "      --procedure-exclusive-ms MS  the same for a procedure's transaction (default 250)\n"
    "      --procedure-deadline MS   stop a procedure or HTTP handler that computes longer, waiting not\n"
    "                                counted (default 60000)\n"
    "      --outbound-http MODE      requests that modules make: public (default) reaches addresses of\n"
    "                                the public internet, all also private ones, off nothing\n"
    "      --outbound-max BYTES      largest body of a response to such a request (default 67108864)\n"
    "      --setting KEY=VALUE       what holds for databases whose owners say nothing else; may be given\n"
    "                                again (the keys: lightcone settings --help)\n"
    "      --view-failure MODE       what a view that fails does to the transaction that made it run:\n"
    "                                drop (default): its subscriptions end with the error; abort: the\n"
    "                                transaction is undone\n"
    "      --memory-max BYTES        most memory for the tables of one database; the rest of them stays\n"
    "                                on disk (default: no limit)\n"
    "      --checkpoint-log BYTES    so much log between two checkpoints (default 67108864): a start\n"
    "                                after a crash replays at most twice that\n"
    "      --checkpoint-rate BYTES   a checkpoint writes at most so much a second (default 67108864)\n"
    "      --log-keep BYTES          keep at least so much log behind a checkpoint (default 0)\n"
    "      --log-keep-hours N        keep the log of the last N hours (default 0)\n"
    "      --ping-interval MS        ask a silent client for a sign of life this often (default 15000)\n"
    "      --idle-timeout MS         drop a client that gives none, or a request that never ends\n"
    "                                (default 30000)\n"
    "      --log-level LEVEL         error, warn, info or debug (default info)\n"
    "      --non-interactive         accepted and ignored: the server never asks\n"
    "  -h, --help                    this text\n"
    "\n"
    "Example: lightcone start --listen-addr 127.0.0.1:3000 --data-dir ./data\n";

enum { ISSUERS_NAMED_MAX = 16 };

enum {
    OPT_DATA = 256,
    OPT_PG_PORT,
    OPT_PG_LISTEN,
    OPT_KEY_DIR,
    OPT_PRIV,
    OPT_PUB,
    OPT_ISSUERS,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_STATIC,
    OPT_MEMORY,
    OPT_LOOPS,
    OPT_DEADLINE,
    OPT_SLICE,
    OPT_COLD_SLICE,
    OPT_EXCLUSIVE,
    OPT_PROCEDURE_EXCLUSIVE,
    OPT_PROCEDURE_DEADLINE,
    OPT_OUTBOUND,
    OPT_OUTBOUND_MAX,
    OPT_VIEW_FAILURE,
    OPT_SETTING,
    OPT_MEMORY_MAX,
    OPT_CHECKPOINT_LOG,
    OPT_CHECKPOINT_RATE,
    OPT_LOG_KEEP,
    OPT_LOG_KEEP_HOURS,
    OPT_PING,
    OPT_IDLE,
    OPT_LEVEL,
    OPT_IGNORED,
    OPT_IGNORED_VALUE
};

static const struct option options_known[] = {
    {"listen-addr", required_argument, NULL, 'l'},
    {"pg-port", required_argument, NULL, OPT_PG_PORT},
    {"pg-listen", required_argument, NULL, OPT_PG_LISTEN},
    {"data-dir", required_argument, NULL, OPT_DATA},
    {"jwt-key-dir", required_argument, NULL, OPT_KEY_DIR},
    {"jwt-priv-key-path", required_argument, NULL, OPT_PRIV},
    {"jwt-pub-key-path", required_argument, NULL, OPT_PUB},
    {"issuers", required_argument, NULL, OPT_ISSUERS},
    {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"static", required_argument, NULL, OPT_STATIC},
    {"in-memory", no_argument, NULL, OPT_MEMORY},
    {"loops", required_argument, NULL, OPT_LOOPS},
    {"reducer-deadline", required_argument, NULL, OPT_DEADLINE},
    {"slice-ms", required_argument, NULL, OPT_SLICE},
    {"cold-slice-ms", required_argument, NULL, OPT_COLD_SLICE},
    {"exclusive-ms", required_argument, NULL, OPT_EXCLUSIVE},
    {"procedure-exclusive-ms", required_argument, NULL, OPT_PROCEDURE_EXCLUSIVE},
    {"procedure-deadline", required_argument, NULL, OPT_PROCEDURE_DEADLINE},
    {"outbound-http", required_argument, NULL, OPT_OUTBOUND},
    {"outbound-max", required_argument, NULL, OPT_OUTBOUND_MAX},
    {"view-failure", required_argument, NULL, OPT_VIEW_FAILURE},
    {"setting", required_argument, NULL, OPT_SETTING},
    {"memory-max", required_argument, NULL, OPT_MEMORY_MAX},
    {"checkpoint-log", required_argument, NULL, OPT_CHECKPOINT_LOG},
    {"checkpoint-rate", required_argument, NULL, OPT_CHECKPOINT_RATE},
    {"log-keep", required_argument, NULL, OPT_LOG_KEEP},
    {"log-keep-hours", required_argument, NULL, OPT_LOG_KEEP_HOURS},
    {"ping-interval", required_argument, NULL, OPT_PING},
    {"idle-timeout", required_argument, NULL, OPT_IDLE},
    {"log-level", required_argument, NULL, OPT_LEVEL},
    {"non-interactive", no_argument, NULL, OPT_IGNORED},
    {"edition", required_argument, NULL, OPT_IGNORED_VALUE},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int complain(const char *fmt, const char *what) {
    fprintf(stderr, "Error: ");
    fprintf(stderr, fmt, what);
    fprintf(stderr, "\nRun `lightcone start --help` for the options.\n");
    return 2;
}

static bool number(const char *text, long long min, long long max, long long *out) {
    char *end;
    *out = strtoll(text, &end, 10);
    return *text && !*end && *out >= min && *out <= max;
}

// HOST:PORT; an IPv6 host is in brackets.
static bool address(const char *text, char *host, size_t host_size, uint16_t *port) {
    const char *colon = strrchr(text, ':');
    long long value;
    if (!colon || !number(colon + 1, 0, 65535, &value)) return false;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && colon[-1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= host_size) return false;
    memcpy(host, text, len);
    host[len] = 0;
    *port = (uint16_t)value;
    return true;
}

static bool outbound_mode(const char *text, OutboundAccess *out) {
    static const char *const words[] =
        {[OUTBOUND_PUBLIC] = "public", [OUTBOUND_ALL] = "all", [OUTBOUND_OFF] = "off"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) != 0) continue;
        *out = (OutboundAccess)i;
        return true;
    }
    return false;
}

static bool setting_option(Settings *settings, const char *text) {
    const char *equals = strchr(text, '=');
    Diag diag = {0};
    long long value;
    const SettingRule *rule = equals ? setting_find((Str){text, (size_t)(equals - text)}) : NULL;
    if (!rule || !number(equals + 1, INT64_MIN, INT64_MAX, &value)) {
        (void)complain("--setting takes KEY=NUMBER with a key that there is, not `%s`", text);
        return false;
    }
    if (setting_set(settings, rule, value, &diag) == OK) return true;
    (void)complain("--setting: %s", diag.text);
    return false;
}

typedef struct StartArgs {
    NodeOptions node;
    char host[256], pg_host[256];
    Str issuers[ISSUERS_NAMED_MAX];
    bool help;
} StartArgs;

static bool issuers_option(StartArgs *args, const char *text) {
    AuthIssuers *into = &args->node.issuers;
    *into = (AuthIssuers){.any = strcmp(text, "any") == 0, .named = args->issuers};
    if (into->any || strcmp(text, "none") == 0) return true;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        if (len == 0 || into->count == ISSUERS_NAMED_MAX) return false;
        args->issuers[into->count++] = (Str){at, len};
        at += len;
        if (!*at) return true;
    }
}

// 0, or an exit code after the reason was printed.
static int arguments(int argc, char **argv, StartArgs *args) {
    long long value;
    int c;
    LogLevel level;
    optind = 1;
    while ((c = getopt_long(argc, argv, "l:h", options_known, NULL)) != -1) {
        switch (c) {
        case 'l':
            if (!address(optarg, args->host, sizeof args->host, &args->node.port))
                return complain("`%s` is not HOST:PORT", optarg);
            break;
        case OPT_PG_PORT:
            if (!number(optarg, 0, 65535, &value))
                return complain("--pg-port takes a port from 0 to 65535, not `%s`", optarg);
            args->node.pg = true;
            args->node.pg_port = (uint16_t)value;
            break;
        case OPT_PG_LISTEN:
            if (!address(optarg, args->pg_host, sizeof args->pg_host, &args->node.pg_port))
                return complain("`%s` is not HOST:PORT", optarg);
            args->node.pg = true;
            args->node.pg_host = args->pg_host;
            break;
        case OPT_DATA: args->node.data_dir = optarg; break;
        case OPT_KEY_DIR: args->node.key_dir = optarg; break;
        case OPT_PRIV: args->node.private_key_path = optarg; break;
        case OPT_PUB: args->node.public_key_path = optarg; break;
        case OPT_ISSUERS:
            if (!issuers_option(args, optarg))
                return complain("--issuers takes at most 16 addresses, not `%s`", optarg);
            break;
        case OPT_TLS_CERT: args->node.tls_cert = optarg; break;
        case OPT_TLS_KEY: args->node.tls_key = optarg; break;
        case OPT_STATIC: args->node.static_dir = optarg; break;
        case OPT_MEMORY: args->node.in_memory = true; break;
        case OPT_LOOPS:
            if (!number(optarg, 1, 4096, &value))
                return complain("--loops takes a number from 1 to 4096, not `%s`", optarg);
            args->node.loops_max = (uint32_t)value;
            break;
        case OPT_DEADLINE:
            if (!number(optarg, 1, 86400000, &value))
                return complain(
                    "--reducer-deadline takes milliseconds from 1 to 86400000, not `%s`",
                    optarg);
            args->node.deadline = value * 1000;
            break;
        case OPT_SLICE:
            if (strcmp(optarg, "none") == 0) {
                args->node.slice = SLICE_NONE;
                break;
            }
            if (!number(optarg, 0, 10000, &value))
                return complain("--slice-ms takes milliseconds from 0 to 10000, not `%s`", optarg);
            args->node.slice = value ? value * 1000 : SLICE_OFF;
            break;
        case OPT_COLD_SLICE:
            if (!number(optarg, 1, 10000, &value))
                return complain("--cold-slice-ms takes milliseconds from 1 to 10000, not `%s`",
                                optarg);
            args->node.cold_slice = value * 1000;
            break;
        case OPT_EXCLUSIVE:
            if (!number(optarg, 1, 60000, &value))
                return complain("--exclusive-ms takes milliseconds from 1 to 60000, not `%s`",
                                optarg);
            args->node.exclusive = value * 1000;
            break;
        case OPT_PROCEDURE_EXCLUSIVE:
            if (!number(optarg, 1, 60000, &value))
                return complain(
                    "--procedure-exclusive-ms takes milliseconds from 1 to 60000, not `%s`",
                    optarg);
            args->node.procedure_exclusive = value * 1000;
            break;
        case OPT_PROCEDURE_DEADLINE:
            if (!number(optarg, 1, 86400000, &value))
                return complain(
                    "--procedure-deadline takes milliseconds from 1 to 86400000, not `%s`",
                    optarg);
            args->node.procedure_deadline = value * 1000;
            break;
        case OPT_OUTBOUND:
            if (!outbound_mode(optarg, &args->node.outbound))
                return complain("--outbound-http takes public, all or off, not `%s`", optarg);
            break;
        case OPT_OUTBOUND_MAX:
            if (!number(optarg, 1, 1 << 30, &value))
                return complain(
                    "--outbound-max takes a number of bytes, at most 1073741824, not `%s`",
                    optarg);
            args->node.outbound_response_max = (size_t)value;
            break;
        case OPT_VIEW_FAILURE:
            args->node.view_failure_aborts = strcmp(optarg, "abort") == 0;
            if (!args->node.view_failure_aborts && strcmp(optarg, "drop") != 0)
                return complain("--view-failure takes drop or abort, not `%s`", optarg);
            break;
        case OPT_SETTING:
            if (!setting_option(&args->node.settings, optarg)) return 2;
            break;
        case OPT_MEMORY_MAX:
            if (!number(optarg, 1 << 20, INT64_MAX, &value))
                return complain("--memory-max takes a number of bytes, at least 1048576, not `%s`",
                                optarg);
            args->node.memory_max = (size_t)value;
            break;
        case OPT_CHECKPOINT_LOG:
            if (!number(optarg, 1 << 20, INT64_MAX, &value))
                return complain(
                    "--checkpoint-log takes a number of bytes, at least 1048576, not `%s`",
                    optarg);
            args->node.checkpoint_bytes = (uint64_t)value;
            break;
        case OPT_CHECKPOINT_RATE:
            if (!number(optarg, 1 << 20, INT64_MAX, &value))
                return complain(
                    "--checkpoint-rate takes bytes a second, at least 1048576, not `%s`",
                    optarg);
            args->node.checkpoint_rate = (uint64_t)value;
            break;
        case OPT_LOG_KEEP:
            if (!number(optarg, 0, INT64_MAX, &value))
                return complain("--log-keep takes a number of bytes, not `%s`", optarg);
            args->node.log_keep.bytes = (uint64_t)value;
            break;
        case OPT_LOG_KEEP_HOURS:
            if (!number(optarg, 0, 1000000, &value))
                return complain("--log-keep-hours takes a number from 0 to 1000000, not `%s`",
                                optarg);
            args->node.log_keep.us = value * 3600 * 1000000;
            break;
        case OPT_PING:
            if (!number(optarg, 1, 86400000, &value))
                return complain("--ping-interval takes milliseconds from 1 to 86400000, not `%s`",
                                optarg);
            args->node.limits.ping_interval = value * 1000;
            break;
        case OPT_IDLE:
            if (!number(optarg, 1, 86400000, &value))
                return complain("--idle-timeout takes milliseconds from 1 to 86400000, not `%s`",
                                optarg);
            args->node.limits.idle_timeout = args->node.limits.request_timeout = value * 1000;
            break;
        case OPT_LEVEL:
            if (!log_level_parse(str_from(optarg), &level))
                return complain("--log-level takes error, warn, info or debug, not `%s`", optarg);
            log_set_level(level);
            break;
        case OPT_IGNORED:
        case OPT_IGNORED_VALUE: break;
        case 'h': args->help = true; return 0;
        default: fputs("Run `lightcone start --help` for the options.\n", stderr); return 2;
        }
    }
    if (optind < argc) return complain("unexpected argument `%s`", argv[optind]);
    if (!args->node.private_key_path != !args->node.public_key_path) {
        return complain("%s", "--jwt-priv-key-path and --jwt-pub-key-path go together");
    }
    if (!args->node.tls_cert != !args->node.tls_key)
        return complain("%s", "--tls-cert and --tls-key go together");
    return 0;
}

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
    int code = arguments(argc, argv, &args);
    if (code) return code;
    if (args.help) {
        fputs(usage, stdout);
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
