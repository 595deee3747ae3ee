#include "os/discard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/mem.h"
#include "base/test.h"

enum { THREADS = 4, EACH = 500 };

typedef struct Thing {
    int number;
    Discard discard;
    pthread_t by;
} Thing;

static atomic_int ended, sum, ended_here;

static void thing_end(Discard *self) {
    Thing *thing = CONTAINER_OF(self, Thing, discard);
    atomic_fetch_add(&sum, thing->number);
    if (pthread_equal(thing->by, pthread_self())) atomic_fetch_add(&ended_here, 1);
    mem_free(thing);
    atomic_fetch_add(&ended, 1);
}

static void *discard_many(void *arg) {
    (void)arg;
    for (int i = 1; i <= EACH; i++) {
        Thing *thing = MEM_NEW(Thing);
        if (!thing) return NULL;
        thing->number = i;
        thing->by = pthread_self();
        discard_later(&thing->discard, thing_end);
    }
    return NULL;
}

TEST(discard, ends_all_that_several_threads_are_done_with_once_and_beside_them) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, discard_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 5000 && atomic_load(&ended) < THREADS * EACH; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    EXPECT_EQ(atomic_load(&ended), THREADS * EACH);
    EXPECT_EQ(atomic_load(&sum), THREADS * EACH * (EACH + 1) / 2);
    EXPECT_EQ(atomic_load(&ended_here), 0);
}

TEST_MAIN()
