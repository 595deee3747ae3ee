// prompt.c: the prompt is libedit's, whose history is one of the whole process.
#include "cli/prompt.h"

#include <editline/readline.h>
#include <locale.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config.h"

enum { HISTORY_LINES_MAX = 1000 };

Prompt prompt_open(const char *text, const char *name) {
    Prompt prompt = {.text = text, .is_person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    if (!prompt.is_person) return prompt;
    prompt.history = cli_join(config_directory(), name);
    setlocale(LC_CTYPE, "");  // letters of more than one byte are one place
    using_history();
    stifle_history(HISTORY_LINES_MAX);
    (void)!read_history(prompt.history);  // there is none the first time
    rl_bind_key('\t', rl_insert);
    return prompt;
}

// A line that repeats the one before is not worth a place.
static void remember(const char *line) {
    HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
    if (line[0] && (!last || strcmp(last->line, line) != 0)) add_history(line);
}

char *prompt_read(const Prompt *prompt) {
    if (!prompt->is_person) return cli_ask("");
    char *line = readline(prompt->text);
    if (!line) return NULL;
    remember(line);
    char *kept = cli_copy(str_from(line));
    free(line);
    return kept;
}

void prompt_close(const Prompt *prompt) {
    if (!prompt->history) return;
    mode_t before = umask(077);
    (void)!write_history(prompt->history);  // a history that cannot be kept is no reason to fail
    umask(before);
}
