// main.c: the chat of ../chat on a terminal, in C.
//
//     chat-c [--name NAME] [--token-file FILE] [URL [DATABASE]]
//
// It is two descriptors and one poll: what is typed, and the client's socket. Everything that is printed
// comes from the database: what is typed goes to a reducer, and is shown when it comes back as a row.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chat.h"

#define LEAVE_SECONDS  5
#define HISTORY_MAX    20
#define LINE_MAX_BYTES 4096

typedef struct Chat {
    LcClient *client;
    const char *token_file;
    bool is_live;  // what was there before has been printed
    bool is_leaving;
    time_t leave_at;  // then without waiting for answers
    char line[LINE_MAX_BYTES];
    size_t line_len;
} Chat;

// ── what is printed ────────────────────────────────────────────────────────────────────────────

// Names come from strangers, and a terminal obeys control characters.
static void print_clean(LcString text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 0x7f) putchar(text.ptr[i]);
}

static void print_user(const ChatUser *user, LcIdentity identity) {
    char hex[LC_IDENTITY_HEX_BYTES];
    lc_identity_hex(identity, hex);
    if (user && user->name)
        print_clean(*user->name);
    else
        printf("%.8s", hex + 56);
}

static void print_message(const Chat *chat, const ChatMessage *message) {
    print_user(chat_user_find_by_identity(chat->client, message->sender), message->sender);
    printf(": ");
    print_clean(message->text);
    printf("\n");
}

static int by_time(const void *a, const void *b) {
    const ChatMessage *x = *(const ChatMessage *const *)a, *y = *(const ChatMessage *const *)b;
    return (x->sent.micros > y->sent.micros) - (x->sent.micros < y->sent.micros);
}

static void print_history(const Chat *chat) {
    size_t count = chat_message_count(chat->client), at = 0;
    const ChatMessage **messages = calloc(count + 1, sizeof *messages);
    if (!messages) return;
    for (const ChatMessage *m = chat_message_first(chat->client); m;
         m = chat_message_next(chat->client, m))
        messages[at++] = m;
    qsort(messages, at, sizeof *messages, by_time);
    for (size_t i = at > HISTORY_MAX ? at - HISTORY_MAX : 0; i < at; i++)
        print_message(chat, messages[i]);
    free(messages);
}

static void print_who(const Chat *chat) {
    for (const ChatUser *user = chat_user_first(chat->client); user;
         user = chat_user_next(chat->client, user)) {
        if (!user->online) continue;
        printf("* ");
        print_user(user, user->identity);
        printf(" is here\n");
    }
}

// ── what the database tells ────────────────────────────────────────────────────────────────────

static void message_came(LcClient *client, const ChatMessage *message, void *context) {
    (void)client;
    const Chat *chat = context;
    if (chat->is_live) print_message(chat, message);
}

static void user_came(LcClient *client, const ChatUser *user, void *context) {
    (void)client;
    const Chat *chat = context;
    if (!chat->is_live || !user->online) return;
    printf("* ");
    print_user(user, user->identity);
    printf(" is here\n");
}

static void user_changed(LcClient *client,
                         const ChatUser *old,
                         const ChatUser *user,
                         void *context) {
    (void)client;
    const Chat *chat = context;
    if (!chat->is_live) return;
    bool had_name = old->name != NULL, has_name = user->name != NULL;
    if (has_name && (!had_name || !lc_string_eq(*old->name, *user->name))) {
        printf("* ");
        print_user(old, user->identity);
        printf(" is now ");
        print_user(user, user->identity);
        printf("\n");
    }
    if (old->online != user->online) {
        printf("* ");
        print_user(user, user->identity);
        printf(user->online ? " is here\n" : " left\n");
    }
}

static void all_there(LcClient *client, LcSubscription *subscription, void *context) {
    (void)client, (void)subscription;
    Chat *chat = context;
    if (!chat->is_live) {
        print_history(chat);
        print_who(chat);
    }
    chat->is_live = true;
    printf("* connected\n");
}

static void refused(LcClient *client,
                    LcSubscription *subscription,
                    const char *error,
                    void *context) {
    (void)client, (void)subscription, (void)context;
    if (error) printf("! %s\n", error);
}

static void called(LcClient *client, const LcResult *result, void *context) {
    (void)client, (void)context;
    if (result->status != LC_CALL_OK) printf("! %.*s\n", LC_ARG(result->message));
}

static void connected(LcClient *client, void *context) {
    const Chat *chat = context;
    FILE *file = chat->token_file ? fopen(chat->token_file, "w") : NULL;
    if (file) {
        fputs(lc_client_token(client), file);
        fclose(file);
    }
}

static void disconnected(LcClient *client, const char *why, int retry_ms, void *context) {
    (void)client;
    const Chat *chat = context;
    if (chat->is_leaving) return;
    if (retry_ms < 0)
        printf("! %s\n", why);
    else
        printf("* %s; again in %d ms\n", why, retry_ms);
}

// ── what is typed ──────────────────────────────────────────────────────────────────────────────

static void line_typed(Chat *chat, const char *line) {
    LcError error = LC_OK;
    if (strcmp(line, "/quit") == 0)
        chat->is_leaving = true;
    else if (strcmp(line, "/who") == 0)
        print_who(chat);
    else if (strncmp(line, "/name ", 6) == 0)
        error = chat_call_set_name(chat->client, lc_string(line + 6), called, chat);
    else if (*line == '/')
        printf("! /name NAME, /who and /quit are what there is\n");
    else if (*line)
        error = chat_call_send_message(chat->client, lc_string(line), called, chat);
    if (error) printf("! %s\n", lc_error_text(error));
}

static void input_read(Chat *chat) {
    ssize_t got =
        read(STDIN_FILENO, chat->line + chat->line_len, sizeof chat->line - 1 - chat->line_len);
    if (got <= 0) {
        chat->is_leaving = true;
        return;
    }
    chat->line_len += (size_t)got;
    char *end;
    while ((end = memchr(chat->line, '\n', chat->line_len))) {
        *end = 0;
        line_typed(chat, chat->line);
        chat->line_len -= (size_t)(end + 1 - chat->line);
        memmove(chat->line, end + 1, chat->line_len);
    }
    if (chat->line_len == sizeof chat->line - 1)
        chat->line_len = 0;  // longer than any message may be
}

// ── the loop ───────────────────────────────────────────────────────────────────────────────────

static void chat_run(Chat *chat) {
    for (;;) {
        if (chat->is_leaving && chat->leave_at == 0) chat->leave_at = time(NULL) + LEAVE_SECONDS;
        if (chat->is_leaving &&
            (lc_client_pending(chat->client) == 0 || time(NULL) >= chat->leave_at))
            lc_client_close(chat->client);
        struct pollfd ready[] = {
            {.fd = chat->is_leaving ? -1 : STDIN_FILENO, .events = POLLIN},
            {.fd = lc_client_fd(chat->client), .events = lc_client_events(chat->client)},
        };
        int wait = lc_client_timeout_ms(chat->client);
        poll(ready, 2, chat->is_leaving && (wait < 0 || wait > 1000) ? 1000 : wait);
        if (ready[0].revents) input_read(chat);
        if (lc_client_step(chat->client) != LC_OK) return;
        fflush(stdout);
    }
}

static void token_read(const char *path, char *token, size_t size) {
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(token, 1, size - 1, file) : 0;
    token[len] = 0;
    token[strcspn(token, "\r\n")] = 0;
    if (file) fclose(file);
}

int main(int argc, char **argv) {
    static Chat chat;
    static char token[LINE_MAX_BYTES];
    const char *words[] = {"http://127.0.0.1:3000", "chat"}, *name = NULL;
    size_t word_count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--name") == 0 && i + 1 < argc)
            name = argv[++i];
        else if (strcmp(argv[i], "--token-file") == 0 && i + 1 < argc)
            chat.token_file = argv[++i];
        else if (*argv[i] != '-' && word_count < 2)
            words[word_count++] = argv[i];
        else
            return fprintf(stderr,
                           "usage: chat-c [--name NAME] [--token-file FILE] [URL [DATABASE]]\n"),
                   2;
    }
    if (chat.token_file) token_read(chat.token_file, token, sizeof token);

    LcOptions options = {
        .url = words[0],
        .database = words[1],
        .token = *token ? token : NULL,
        .module = &chat_module,
        .on_connect = connected,
        .on_disconnect = disconnected,
        .context = &chat,
        .tls_ca_file = getenv("CHAT_CA_FILE"),
    };
    LcError error = lc_client_open(&options, &chat.client);
    const char *const queries[] = {"SELECT * FROM user", "SELECT * FROM message"};
    LcSubscribe all = {.queries = queries,
                       .query_count = 2,
                       .on_applied = all_there,
                       .on_end = refused,
                       .context = &chat};
    ChatMessageListener messages = {.on_insert = message_came, .context = &chat};
    ChatUserListener users = {.on_insert = user_came, .on_update = user_changed, .context = &chat};
    if (!error) error = chat_message_listen(chat.client, messages);
    if (!error) error = chat_user_listen(chat.client, users);
    if (!error) error = lc_subscribe(chat.client, &all, NULL);
    if (!error && name) error = chat_call_set_name(chat.client, lc_string(name), called, &chat);
    if (error) fprintf(stderr, "%s: %s\n", words[0], lc_error_text(error));
    if (!error) chat_run(&chat);
    fflush(stdout);
    lc_client_free(&chat.client);
    return error || !chat.is_leaving;
}
