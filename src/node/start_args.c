// start_args.c: the options of `lightcone start`, in one table: what each is called, takes and sets.
#include "node/start_args.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

const char start_usage[] =
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

static int complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

static int complain(const char *fmt, ...) {
    va_list args;
    fprintf(stderr, "Error: ");
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nRun `lightcone start --help` for the options.\n");
    return 2;
}

// ── what an option takes ───────────────────────────────────────────────────────────────────────

typedef struct StartOption StartOption;
struct StartOption {
    const char *name;
    const char *takes;  // "HOST:PORT"; of a number, what it counts; NULL: nothing
    bool (*set)(StartArgs *args,
                const StartOption *option,
                const char *text);  // false: it is not that
    // Of set_text, set_flag and set_number: the field, and which numbers it takes, in what unit.
    size_t at, size;
    int64_t least, most, times;
};

static bool number(const char *text, int64_t least, int64_t most, int64_t *out) {
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *text && !*end && errno == 0 && *out >= least && *out <= most;
}

static bool set_nothing(StartArgs *args, const StartOption *option, const char *text) {
    (void)args, (void)option, (void)text;
    return true;
}

static bool set_help(StartArgs *args, const StartOption *option, const char *text) {
    (void)option, (void)text;
    args->help = true;
    return true;
}

static bool set_flag(StartArgs *args, const StartOption *option, const char *text) {
    (void)text;
    *(bool *)((uint8_t *)args + option->at) = true;
    return true;
}

static bool set_text(StartArgs *args, const StartOption *option, const char *text) {
    memcpy((uint8_t *)args + option->at, &text, sizeof text);
    return true;
}

static bool set_number(StartArgs *args, const StartOption *option, const char *text) {
    int64_t value;
    if (!number(text, option->least, option->most, &value)) return false;
    value *= option->times;
    uint32_t narrow = (uint32_t)value;
    uint8_t *field = (uint8_t *)args + option->at;
    memcpy(field, option->size == sizeof narrow ? (void *)&narrow : &value, option->size);
    return true;
}

// HOST:PORT; an IPv6 host is in brackets.
static bool address(const char *text, char *host, size_t host_size, uint16_t *port) {
    const char *colon = strrchr(text, ':');
    int64_t value;
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

static bool set_listen(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    args->node.host = args->host;
    return address(text, args->host, sizeof args->host, &args->node.port);
}

static bool set_pg_listen(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    args->node.pg = true;
    args->node.pg_host = args->pg_host;
    return address(text, args->pg_host, sizeof args->pg_host, &args->node.pg_port);
}

static bool set_pg_port(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    int64_t value;
    if (!number(text, 0, 65535, &value)) return false;
    args->node.pg = true;
    args->node.pg_port = (uint16_t)value;
    return true;
}

static bool set_issuers(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    AuthIssuers *into = &args->node.issuers;
    *into = (AuthIssuers){.any = strcmp(text, "any") == 0, .named = args->issuers};
    if (into->any || strcmp(text, "none") == 0) return true;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        if (len == 0 || into->count == START_ISSUERS_MAX) return false;
        args->issuers[into->count++] = (Str){at, len};
        at += len;
        if (!*at) return true;
    }
}

static bool set_slice(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    int64_t value = 0;
    bool none = strcmp(text, "none") == 0;
    if (!none && !number(text, 0, 10000, &value)) return false;
    args->node.slice = none ? SLICE_NONE : value ? value * 1000 : SLICE_OFF;
    return true;
}

static bool set_outbound(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    static const char *const words[] =
        {[OUTBOUND_PUBLIC] = "public", [OUTBOUND_ALL] = "all", [OUTBOUND_OFF] = "off"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) != 0) continue;
        args->node.outbound = (OutboundAccess)i;
        return true;
    }
    return false;
}

static bool set_view_failure(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    args->node.view_failure_aborts = strcmp(text, "abort") == 0;
    return args->node.view_failure_aborts || strcmp(text, "drop") == 0;
}

static bool set_setting(StartArgs *args, const StartOption *option, const char *text) {
    (void)option;
    const char *equals = strchr(text, '=');
    int64_t value;
    const SettingRule *rule = equals ? setting_find((Str){text, (size_t)(equals - text)}) : NULL;
    if (!rule || !number(equals + 1, INT64_MIN, INT64_MAX, &value)) return false;
    return setting_set(&args->node.settings, rule, value, &args->diag) == OK;
}

static bool set_level(StartArgs *args, const StartOption *option, const char *text) {
    (void)args, (void)option;
    LogLevel level;
    if (!log_level_parse(str_from(text), &level)) return false;
    log_set_level(level);
    return true;
}

// ── the options ────────────────────────────────────────────────────────────────────────────────

#define FIELD(name)        .at = offsetof(StartArgs, node.name), .size = sizeof((StartArgs *)0)->node.name
#define TEXT(field, what)  .takes = what, .set = set_text, FIELD(field)
#define FLAG(field)        .set = set_flag, FIELD(field)
#define BY(function, what) .takes = what, .set = function
#define NUMBER(field, low, high, unit, what) \
    .takes = what, .set = set_number, FIELD(field), .least = low, .most = high, .times = unit

#define MS    1000          // in microseconds
#define HOURS 3600000000ll  // the same
#define DAY   86400000      // in milliseconds
#define MIB   (1 << 20)
#define MOST  INT64_MAX

// clang-format off
static const StartOption options[] = {
    {"listen-addr", BY(set_listen, "HOST:PORT")},
    {"pg-listen", BY(set_pg_listen, "HOST:PORT")},
    {"pg-port", BY(set_pg_port, "a port from 0 to 65535")},
    {"data-dir", TEXT(data_dir, "a directory")},
    {"jwt-key-dir", TEXT(key_dir, "a directory")},
    {"jwt-priv-key-path", TEXT(private_key_path, "a file")},
    {"jwt-pub-key-path", TEXT(public_key_path, "a file")},
    {"issuers", BY(set_issuers, "at most 16 addresses")},
    {"tls-cert", TEXT(tls_cert, "a file")},
    {"tls-key", TEXT(tls_key, "a file")},
    {"static", TEXT(static_dir, "a directory")},
    {"in-memory", FLAG(in_memory)},
    {"loops", NUMBER(loops_max, 1, 4096, 1, "a number")},
    {"reducer-deadline", NUMBER(deadline, 1, DAY, MS, "milliseconds")},
    {"slice-ms", BY(set_slice, "milliseconds from 0 to 10000, or none")},
    {"cold-slice-ms", NUMBER(cold_slice, 1, 10000, MS, "milliseconds")},
    {"exclusive-ms", NUMBER(exclusive, 1, 60000, MS, "milliseconds")},
    {"procedure-exclusive-ms", NUMBER(procedure_exclusive, 1, 60000, MS, "milliseconds")},
    {"procedure-deadline", NUMBER(procedure_deadline, 1, DAY, MS, "milliseconds")},
    {"outbound-http", BY(set_outbound, "public, all or off")},
    {"outbound-max", NUMBER(outbound_response_max, 1, 1024 * MIB, 1, "bytes")},
    {"view-failure", BY(set_view_failure, "drop or abort")},
    {"setting", BY(set_setting, "KEY=NUMBER with a key that there is")},
    {"memory-max", NUMBER(memory_max, MIB, MOST, 1, "bytes")},
    {"checkpoint-log", NUMBER(checkpoint_bytes, MIB, MOST, 1, "bytes")},
    {"checkpoint-rate", NUMBER(checkpoint_rate, MIB, MOST, 1, "bytes a second")},
    {"log-keep", NUMBER(log_keep.bytes, 0, MOST, 1, "bytes")},
    {"log-keep-hours", NUMBER(log_keep.us, 0, 1000000, HOURS, "a number")},
    {"ping-interval", NUMBER(limits.ping_interval, 1, DAY, MS, "milliseconds")},
    {"idle-timeout", NUMBER(limits.idle_timeout, 1, DAY, MS, "milliseconds")},
    {"log-level", BY(set_level, "error, warn, info or debug")},
    {"non-interactive", .set = set_nothing},
    {"edition", BY(set_nothing, "a word")},
    {"help", .set = set_help},
};
// clang-format on

// ── reading them ───────────────────────────────────────────────────────────────────────────────

#define FIRST_LONG 256  // what getopt_long gives for options[0]; short ones are characters

static const StartOption *option_called(const char *name) {
    const StartOption *option = options;
    while (strcmp(option->name, name) != 0)
        option++;
    return option;
}

static const StartOption *option_of(int found) {
    return found == 'l'   ? option_called("listen-addr")
           : found == 'h' ? option_called("help")
                          : &options[found - FIRST_LONG];
}

static int option_set(StartArgs *args, const StartOption *option, const char *text) {
    diag_clear(&args->diag);
    if (option->set(args, option, text)) return 0;
    if (args->diag.text[0]) return complain("--%s: %s", option->name, args->diag.text);
    if (option->set == set_number)
        return complain("--%s takes %s from %lld to %lld, not `%s`",
                        option->name,
                        option->takes,
                        (long long)option->least,
                        (long long)option->most,
                        text);
    return complain("--%s takes %s, not `%s`", option->name, option->takes, text);
}

int start_args_read(int argc, char **argv, StartArgs *args) {
    struct option known[ARRAY_LEN(options) + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        known[i] = (struct option){.name = options[i].name,
                                   .has_arg = options[i].takes ? required_argument : no_argument,
                                   .val = FIRST_LONG + (int)i};
    }
    optind = 1;
    for (int found, code; (found = getopt_long(argc, argv, "l:h", known, NULL)) != -1;) {
        if (found == '?') {
            fputs("Run `lightcone start --help` for the options.\n", stderr);
            return 2;
        }
        if ((code = option_set(args, option_of(found), optarg)) != 0) return code;
        if (args->help) return 0;
    }
    NodeOptions *node = &args->node;
    node->limits.request_timeout = node->limits.idle_timeout;
    if (optind < argc) return complain("unexpected argument `%s`", argv[optind]);
    if (!node->private_key_path != !node->public_key_path)
        return complain("--jwt-priv-key-path and --jwt-pub-key-path go together");
    if (!node->tls_cert != !node->tls_key) return complain("--tls-cert and --tls-key go together");
    return 0;
}
