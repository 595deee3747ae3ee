// lookup.c: the addresses of a host's name, found by a thread so that the program never waits for them.
//
// PICTURE
//   lookup_begin ──> a thread: getaddrinfo ──> `is_done`, and a byte into the pipe ──> lookup_take
//   lookup_abandon ──> the thread ends whenever getaddrinfo does, and frees what there is
//
//   getaddrinfo cannot be stopped, and there is no other portable way to look a name up as the system does. So
//   the client lets go of it: what they share has two owners, and the second to leave frees it. A client keeps
//   a look-up that takes longer than a try, and the next try waits for the same one: it never has two threads.
//
// ALWAYS TRUE
//   (4) The thread touches its Lookup and nothing else: no client, no callback, no LC_CLIENT_REALLOC.
//   (5) The reading end of the pipe is the client's, the writing end the thread's, and a byte is written under
//       the lock only while there is a reader: no SIGPIPE.
//
// CALLERS   link.c. START AT client_test.c, "lookups".
#include "client.h"

struct Lookup {
    pthread_mutex_t lock;
    bool is_done, is_abandoned;  // under the lock
    int ready[2];                // a pipe
    int error;                   // of getaddrinfo
    struct addrinfo *addresses;
    char *port;
    char host[];
};

static void lookup_free(Lookup *lookup) {
    if (lookup->addresses) freeaddrinfo(lookup->addresses);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup);
}

static void *lookup_run(void *shared) {
    Lookup *lookup = shared;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = LC_CLIENT_GETADDRINFO(lookup->host, lookup->port, &hints, &found);
    pthread_mutex_lock(&lookup->lock);
    lookup->error = error;
    lookup->addresses = error ? NULL : found;
    lookup->is_done = true;
    bool is_abandoned = lookup->is_abandoned;
    // An empty pipe takes a byte at once. Were it refused, the closing below would wake the client as well.
    ssize_t told = is_abandoned ? 0 : write(lookup->ready[1], "", 1);
    (void)told;
    close(lookup->ready[1]);
    pthread_mutex_unlock(&lookup->lock);
    if (is_abandoned) lookup_free(lookup);
    return NULL;
}

static bool pipe_open(int ends[2]) {
    if (pipe(ends) != 0) return false;
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    return true;
}

// The program's signals are for its own threads.
static int thread_start(Lookup *lookup) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = pthread_attr_init(&attributes);
    if (error) return error;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attributes, lookup_run, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

LC_PRIVATE Lookup *lookup_begin(const char *host, const char *port) {
    size_t host_len = strlen(host), port_len = strlen(port);
    Lookup *lookup = mem_new(sizeof *lookup + host_len + port_len + 2);
    if (!lookup) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(lookup->host, host, host_len + 1);
    lookup->port = lookup->host + host_len + 1;
    memcpy(lookup->port, port, port_len + 1);
    int error = pthread_mutex_init(&lookup->lock, NULL);
    if (error) {
        free(lookup);
        errno = error;
        return NULL;
    }
    error = pipe_open(lookup->ready) ? 0 : errno;
    if (!error && (error = thread_start(lookup)) != 0) {
        close(lookup->ready[0]);
        close(lookup->ready[1]);
    }
    if (!error) return lookup;
    lookup_free(lookup);
    errno = error;
    return NULL;
}

LC_PRIVATE int lookup_fd(const Lookup *lookup) {
    return lookup->ready[0];
}

LC_PRIVATE bool lookup_take(Lookup **handle, int *error, struct addrinfo **addresses) {
    Lookup *lookup = *handle;
    pthread_mutex_lock(&lookup->lock);
    bool is_done = lookup->is_done;
    pthread_mutex_unlock(&lookup->lock);
    if (!is_done) return false;
    *error = lookup->error;
    *addresses = lookup->addresses;
    lookup->addresses = NULL;
    *handle = NULL;
    close(lookup->ready[0]);
    lookup_free(lookup);
    return true;
}

LC_PRIVATE void lookup_abandon(Lookup **handle) {
    Lookup *lookup = *handle;
    if (!lookup) return;
    *handle = NULL;
    pthread_mutex_lock(&lookup->lock);
    lookup->is_abandoned = true;
    bool is_done = lookup->is_done;
    close(lookup->ready[0]);
    pthread_mutex_unlock(&lookup->lock);
    if (is_done) lookup_free(lookup);
}
