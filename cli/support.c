// support.c: what every command needs of the process: its memory, its last words, questions to the
// person at the terminal, and whole files.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static CliGlobals globals;

bool cli_global_set(Str name, const char *value) {
    if (str_eq(name, STR("config-path")))
        globals.config_path = value;
    else if (str_eq(name, STR("root-dir")))
        globals.root_dir = value;
    else
        return false;
    return true;
}

Arena *cli_arena(void) {
    static Arena arena;  // never freed: it ends with the process
    return &arena;
}

static NORETURN void out_of_memory(void) {
    fputs("Error: out of memory\n", stderr);
    exit(1);
}

char *cli_format(const char *fmt, ...) {
    char *text = NULL;
    va_list list;
    va_start(list, fmt);
    va_list again;
    va_copy(again, list);
    int len = vsnprintf(NULL, 0, fmt, list);
    va_end(list);
    if (len >= 0) text = arena_alloc(cli_arena(), (size_t)len + 1);
    if (!text) out_of_memory();
    vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

char *cli_copy(Str text) {
    char *copy = arena_alloc(cli_arena(), text.len + 1);
    if (!copy) out_of_memory();
    if (text.len > 0) memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

char *cli_buf_text(Buf *buf) {
    buf_put_u8(buf, 0);
    if (!buf_ok(buf)) out_of_memory();
    char *text = cli_copy((Str){(char *)buf->ptr, buf->len - 1});
    buf_deinit(buf);
    return text;
}

static const char *exe_path(void) {
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path);
    return len > 0 ? cli_copy((Str){path, (size_t)len}) : "lightcone";
}

const CliGlobals *cli_globals(void) {
    if (!globals.exe) globals.exe = exe_path();
    return &globals;
}

void cli_die(const char *fmt, ...) {
    fflush(stdout);
    va_list list;
    va_start(list, fmt);
    fputs("Error: ", stderr);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fputc('\n', stderr);
    exit(1);
}

void cli_die_cause(const char *cause, const char *fmt, ...) {
    fflush(stdout);
    va_list list;
    va_start(list, fmt);
    fputs("Error: ", stderr);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fprintf(stderr, "\n\nCaused by:\n    %s\n", cause);
    exit(1);
}

char *cli_ask(const char *question) {
    fputs(question, stdout);
    fflush(stdout);
    char *line = NULL;
    size_t cap = 0;
    ssize_t len = getline(&line, &cap, stdin);
    char *answer = NULL;
    if (len >= 0) {
        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
            len--;
        answer = cli_copy((Str){line, (size_t)len});
    }
    free(line);
    return answer;
}

bool cli_confirm(const char *question) {
    char *answer = cli_ask(cli_format("%s [y/N]", question));
    if (!answer) putchar('\n');
    return answer && (str_eq_nocase(str_from(answer), STR("y")) ||
                      str_eq_nocase(str_from(answer), STR("yes")));
}

bool cli_wants_colour(int fd) {
    return isatty(fd) && getenv("NO_COLOR") == NULL;
}

bool cli_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool cli_dir_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *cli_join(const char *dir, const char *name) {
    if (name[0] == '/') return name;
    return cli_format("%s/%s", dir, name);
}

char *cli_file_read(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        if (errno == ENOENT || errno == ENOTDIR) return NULL;
        cli_die_cause(strerror(errno), "Could not read %s", path);
    }
    Buf content = {0};
    uint8_t piece[16384];
    size_t got;
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buf_put(&content, piece, got);
    if (ferror(file)) cli_die_cause(strerror(errno), "Could not read %s", path);
    fclose(file);
    if (len) *len = content.len;
    return cli_buf_text(&content);
}

static void make_directories(const char *path) {
    char *part = cli_copy(str_from(path));
    for (char *at = part + 1; *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            cli_die_cause(strerror(errno), "Could not create directory %s", part);
        *at = '/';
    }
}

// Written beside its place and renamed, so that a crash leaves the old file or the new one.
void cli_file_write(const char *path, Bytes content) {
    make_directories(path);
    // Root can rename a file over /dev/null, which would be the end of it.
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        cli_die("Could not write %s: it exists and is not a file", path);
    const char *beside = cli_format("%s.new-%d", path, (int)getpid());
    FILE *file = fopen(beside, "wb");
    if (!file) cli_die_cause(strerror(errno), "Could not write %s", path);
    bool ok = fwrite(content.ptr, 1, content.len, file) == content.len;
    ok = (fclose(file) == 0) && ok;
    if (!ok || rename(beside, path) != 0) {
        const char *why = strerror(errno);
        unlink(beside);
        cli_die_cause(why, "Could not write %s", path);
    }
}
