// dev.c: the loop behind `lightcone dev`.
//
// PICTURE
//   a file changed ──(quiet for 300 ms)──> build ──> publish ──> generate ──> waiting for the next change
//                                            └────────┴──── failed: said why, the old version runs on
//   beside it: the server (when none answered), the log of each database, the front end
//
// Every step is a `lightcone` of its own, so a step that fails ends itself and not us, and what it says is what
// the same command says when it is typed. Publishing comes before the bindings: a page that reloads because its
// bindings changed must find the database that they are for.
//
// ALWAYS TRUE
//   (1) At most one step runs. What changes meanwhile begins a new cycle after it.
//   (2) Everything started here has ended when we have.
#include "cli/dev.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/client_env.h"
#include "cli/config.h"
#include "cli/http.h"
#include "cli/process.h"
#include "cli/watch.h"

enum {
    QUIET_MS = 300,  // editors write several files
    SERVER_WAIT_MS = 30000,
    CLIENT_EARLY_MS = 200,
    LOG_AGAIN_MS = 2000,
    END_PATIENCE_MS = 5000,
    WORDS_MAX = 32,
};

typedef enum Step { STEP_NONE, STEP_BUILD, STEP_PUBLISH, STEP_GENERATE } Step;

typedef struct Dev {
    const DevPlan *plan;
    Watch *watch;
    int signals;
    Step step;
    pid_t step_pid, server, client;
    pid_t logs[DEV_DATABASES_MAX];
    int64_t log_again_ms[DEV_DATABASES_MAX];  // 0: not waited for
    int64_t change_ms;                        // when the last change was seen; 0: none waits
    int64_t client_began_ms;
    bool has_run;  // a cycle has ended well
    bool ending, failed;
} Dev;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ── commands of our own ────────────────────────────────────────────────────────────────────────

typedef struct Words {
    const char *list[WORDS_MAX];
    size_t count;
} Words;

static void add(Words *words, const char *word) {
    ASSERT(words->count + 1 < WORDS_MAX);
    words->list[words->count++] = word;
}

static void add_pair(Words *words, const char *name, const char *value) {
    if (!value) return;
    add(words, name);
    add(words, value);
}

static Words command(const char *name) {
    const CliGlobals *globals = cli_globals();
    Words words = {0};
    add(&words, globals->exe);
    add_pair(&words, "--config-path", globals->config_path);
    add_pair(&words, "--root-dir", globals->root_dir);
    add(&words, name);
    return words;
}

static bool is_wasm(const DevPlan *plan) {
    return !cli_file_exists(cli_join(plan->module, "package.json"));
}

// What the build has made, so that it is not built again.
static void add_built(Words *words, const DevPlan *plan) {
    if (!plan->module) return;
    bool wasm = is_wasm(plan);
    add_pair(words,
             wasm ? "--bin-path" : "--js-path",
             cli_join(plan->module, wasm ? "build/module.wasm" : "dist/bundle.js"));
}

static Words build_words(const DevPlan *plan) {
    Words words = command("build");
    add_pair(&words, "--module-path", plan->module);
    return words;
}

static Words publish_words(const Dev *dev) {
    const DevPlan *plan = dev->plan;
    bool again = dev->has_run && strcmp(plan->delete_data, "always") == 0;
    Words words = command("publish");
    add_built(&words, plan);
    add_pair(&words, "--server", plan->server);
    add_pair(&words, "--env", plan->env);
    add(&words, cli_format("--delete-data=%s", again ? "on-conflict" : plan->delete_data));
    // Clients are made again with the module, and whether a server far away is meant was asked at the start.
    add(&words, plan->yes ? "--yes=all" : "--yes=break-clients,remote");
    if (plan->database_count == 1) add(&words, plan->databases[0]);
    return words;
}

static Words generate_words(const DevPlan *plan) {
    Words words = command("generate");
    add_built(&words, plan);
    add_pair(&words, "--env", plan->env);
    add(&words, "--yes");
    if (!plan->has_targets) add_pair(&words, "--lang", "typescript");
    return words;
}

// ── steps ──────────────────────────────────────────────────────────────────────────────────────

static bool step_wanted(const DevPlan *plan, Step step) {
    if (step == STEP_BUILD) return plan->module != NULL;
    if (step == STEP_PUBLISH) return plan->publish;
    return plan->generate && (plan->has_targets || plan->client_in_typescript);
}

static void step_start(Dev *dev, Step step) {
    static const char *const saying[] = {
        [STEP_BUILD] = "Building...",
        [STEP_PUBLISH] = "Publishing...",
        [STEP_GENERATE] = "Generating module bindings...",
    };
    const DevPlan *plan = dev->plan;
    Words words = step == STEP_BUILD     ? build_words(plan)
                  : step == STEP_PUBLISH ? publish_words(dev)
                                         : generate_words(plan);
    puts(saying[step]);
    bool asks = step == STEP_PUBLISH && !plan->yes && isatty(STDIN_FILENO);
    dev->step = step;
    dev->step_pid = process_start(&(ProcessPlan){.words = words.list, .asks = asks});
}

static void log_start(Dev *dev, int which) {
    const DevPlan *plan = dev->plan;
    Words words = command("logs");
    add(&words, "--no-config");
    add(&words, "--follow");
    add_pair(&words, "--num-lines", dev->has_run ? "0" : "10");
    add_pair(&words, "--server", plan->base_url);
    if (plan->database_count > 1)
        add_pair(&words, "--prefix", cli_format("[%s] ", plan->databases[which]));
    add(&words, plan->databases[which]);
    dev->log_again_ms[which] = 0;
    dev->logs[which] = process_start(&(ProcessPlan){.words = words.list});
}

static void client_start(Dev *dev) {
    const DevPlan *plan = dev->plan;
    if (!plan->client || dev->client) return;
    const char *words[] = {"sh", "-c", plan->client, NULL};
    dev->client_began_ms = now_ms();
    dev->client = process_start(&(ProcessPlan){
        .words = words,
        .env = client_env_list(plan->directory, plan->databases[0], plan->base_url),
    });
}

static void cycle_succeeded(Dev *dev) {
    puts("---");
    dev->step = STEP_NONE;
    for (int i = 0; dev->plan->publish && i < dev->plan->database_count; i++)
        if (!dev->logs[i]) log_start(dev, i);
    dev->has_run = true;
    client_start(dev);
}

static void step_next(Dev *dev) {
    while (dev->step < STEP_GENERATE) {
        dev->step++;
        if (!step_wanted(dev->plan, dev->step)) continue;
        step_start(dev, dev->step);
        return;
    }
    cycle_succeeded(dev);
}

static void cycle_start(Dev *dev) {
    dev->change_ms = 0;
    dev->step = STEP_NONE;
    const DevPlan *plan = dev->plan;
    if (plan->client_in_typescript &&
        client_env_update(plan->directory, plan->databases[0], plan->base_url))
        printf("Updating .env.local with database name %s...\n", plan->databases[0]);
    step_next(dev);
}

static void step_failed(Dev *dev) {
    Step failed = dev->step;
    dev->step = STEP_NONE;
    fflush(stdout);
    if (failed == STEP_PUBLISH)
        fputs(
            "Error: The module was not published.\n"
            "If that is because rows would be lost: change the tables in another way, or begin without data "
            "by\n\tlightcone dev --delete-data=on-conflict\n",
            stderr);
    else if (failed == STEP_BUILD)
        fputs("Error: The module was not built.\n", stderr);
    else
        fputs("Error: The bindings were not generated.\n", stderr);
    if (failed != STEP_BUILD && !dev->has_run) {
        dev->ending = dev->failed = true;  // no change of the source would help
        return;
    }
    if (dev->has_run && dev->plan->publish) fputs("The version before goes on running.\n", stderr);
    puts("Waiting for next change...");
}

// ── the server ─────────────────────────────────────────────────────────────────────────────────

static bool server_answers(const Dev *dev) {
    HttpReply reply;
    const char *why;
    return http_try(&(HttpCall){.method = "GET",
                                .url = cli_format("%s/v1/ping", dev->plan->base_url),
                                .timeout_s = 5},
                    &reply,
                    &why);
}

static bool server_is_local(const char *base_url) {
    CliServer server = config_split_url(base_url);
    if (!server.host || strcmp(server.protocol, "http") != 0) return false;
    Str host = {server.host, strcspn(server.host, ":")};
    return str_eq(host, STR("localhost")) || str_eq(host, STR("127.0.0.1"));
}

static void signals_take(Dev *dev, int wait_ms);

static void server_words_last(const char *log) {
    const char *text = cli_file_read(log, NULL);
    const char *at = text ? text + strlen(text) : "";
    for (int lines = 0; text && at > text && lines <= 15; lines += at[-1] == '\n')
        at--;
    fputs(at, stderr);
}

// When nothing answers at an address of this machine, a server is started there. False: it could not be.
static bool server_ready(Dev *dev) {
    if (server_answers(dev)) return true;
    const char *url = dev->plan->base_url;
    if (!server_is_local(url)) {
        fprintf(stderr,
                "Error: No server answers at %s. Start it, or choose another with --server.\n",
                url);
        return false;
    }
    CliServer server = config_split_url(url);
    const char *log = cli_join(config_data_directory(), "server.log");
    cli_file_write(log, BYTES("", 0));
    printf("No server answers at %s: starting one, with its data in %s\n",
           url,
           config_data_directory());
    Words words = command("start");
    add_pair(&words, "--listen-addr", server.host);
    dev->server = process_start(&(ProcessPlan){.words = words.list, .output = log});
    for (int64_t end = now_ms() + SERVER_WAIT_MS; now_ms() < end && !dev->ending;) {
        signals_take(dev, 50);
        if (!dev->server) break;  // it has ended
        if (server_answers(dev)) return true;
    }
    if (dev->ending) return false;
    fprintf(stderr, "Error: The server did not start. Its last words (%s):\n", log);
    server_words_last(log);
    return false;
}

// ── what happens ───────────────────────────────────────────────────────────────────────────────

static int exit_code(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void client_ended(Dev *dev, int status) {
    int code = exit_code(status);
    dev->client = 0;
    if (dev->ending) return;
    printf("Client process exited with code %d. File watcher is still active.\n", code);
    if (code == 0 || now_ms() - dev->client_began_ms > CLIENT_EARLY_MS) return;
    fprintf(stderr, "Error: `%s` could not be run.\n", dev->plan->client);
    dev->ending = dev->failed = true;
}

static void child_ended(Dev *dev, pid_t pid, int status) {
    if (pid == dev->step_pid) {
        dev->step_pid = 0;
        if (dev->ending) return;
        if (exit_code(status) == 0)
            step_next(dev);
        else
            step_failed(dev);
        return;
    }
    if (pid == dev->client) client_ended(dev, status);
    if (pid == dev->server) dev->server = 0;
    for (int i = 0; i < dev->plan->database_count; i++) {
        if (pid != dev->logs[i]) continue;
        dev->logs[i] = 0;
        dev->log_again_ms[i] = now_ms() + LOG_AGAIN_MS;
    }
}

static void signals_take(Dev *dev, int wait_ms) {
    struct pollfd polled = {.fd = dev->signals, .events = POLLIN};
    if (poll(&polled, 1, wait_ms) <= 0) return;
    struct signalfd_siginfo info;
    while (read(dev->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD) dev->ending = true;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        child_ended(dev, pid, status);
}

// A log ends when its server does, or its database. When the server was ours it is started again.
static void logs_again(Dev *dev) {
    for (int i = 0; i < dev->plan->database_count && !dev->ending; i++) {
        if (!dev->log_again_ms[i] || now_ms() < dev->log_again_ms[i]) continue;
        if (server_answers(dev) || (server_is_local(dev->plan->base_url) && server_ready(dev)))
            log_start(dev, i);
        else
            dev->log_again_ms[i] = now_ms() + LOG_AGAIN_MS;
    }
}

static void changes_take(Dev *dev) {
    const char *path = watch_read(dev->watch);
    if (path) dev->change_ms = now_ms();
}

static void cycle_if_due(Dev *dev) {
    if (!dev->change_ms || dev->step != STEP_NONE || now_ms() - dev->change_ms < QUIET_MS) return;
    puts("File change detected, rebuilding...");
    cycle_start(dev);
}

static int wait_ms(const Dev *dev) {
    bool timed = dev->change_ms != 0;
    for (int i = 0; i < dev->plan->database_count; i++)
        timed = timed || dev->log_again_ms[i] != 0;
    return timed ? 50 : -1;
}

static void wait_for_something(Dev *dev) {
    struct pollfd polled[] = {
        {.fd = dev->signals, .events = POLLIN},
        {.fd = watch_fd(dev->watch), .events = POLLIN},
    };
    if (poll(polled, ARRAY_LEN(polled), wait_ms(dev)) < 0 && errno != EINTR)
        cli_die_cause(strerror(errno), "Could not wait for changes");
    if (polled[1].revents) changes_take(dev);
    if (polled[0].revents) signals_take(dev, 0);
}

static void end_everything(Dev *dev) {
    pid_t all[DEV_DATABASES_MAX + 3];
    size_t count = 0;
    all[count++] = dev->client;
    all[count++] = dev->step_pid;
    for (int i = 0; i < dev->plan->database_count; i++)
        all[count++] = dev->logs[i];
    processes_end(all, count, END_PATIENCE_MS);
    processes_end(&dev->server,
                  1,
                  END_PATIENCE_MS);  // last: the others have something to say to it
}

static int signals_open(void) {
    sigset_t set;
    sigemptyset(&set);
    const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        sigaddset(&set, taken[i]);
    int fd = -1;
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) cli_die_cause(strerror(errno), "Could not prepare for signals");
    return fd;
}

static void banner(const DevPlan *plan) {
    puts("Starting development mode...");
    for (int i = 0; i < plan->database_count; i++)
        printf("Database: %s\n", plan->databases[i]);
    for (int i = 0; i < plan->watched_count; i++)
        printf("Watching for changes in: %s\n", plan->watched[i]);
    if (plan->client) printf("Client command: %s\n", plan->client);
    puts("Press Ctrl+C to stop\n");
}

int dev_run_plan(const DevPlan *plan) {
    static Dev dev;
    dev.plan = plan;
    setvbuf(stdout, NULL, _IOLBF, 0);  // our lines among those of the children
    banner(plan);
    dev.signals = signals_open();
    // Watching begins before the first build, so that nothing is missed.
    dev.watch = watch_open(plan->watched, (size_t)plan->watched_count);
    if (plan->publish && !server_ready(&dev)) dev.ending = dev.failed = true;
    if (!dev.ending) cycle_start(&dev);
    while (!dev.ending) {
        wait_for_something(&dev);
        logs_again(&dev);
        if (!dev.ending) cycle_if_due(&dev);
    }
    end_everything(&dev);
    watch_close(dev.watch);
    return dev.failed ? 1 : 0;
}
