#include "lightcone.h"

#define FIELD_SIZE   100  // positions are 0 … 99 in both directions
#define STEPS_A_TICK 5    // how far one may go between two ticks
#define GEMS_MAX     20
#define NAME_CHARS   32
#define LEADERS      10
#define CHAT_KEPT    50
#define CHAT_CHARS   200

// Somebody who has joined. Who leaves keeps their name and their score.
LC_TABLE(player, PUBLIC)
typedef struct Player {
    Identity identity LC_PRIMARY_KEY;
    String name LC_UNIQUE;
    bool online LC_INDEX;
    int32_t x;
    int32_t y;
    uint32_t steps_left;
    uint32_t score;
} Player;

static Error name_check(String name) {
    if (name.len == 0) return lc_error("Say what you are called");
    if (lc_string_chars(name) > NAME_CHARS)
        return lc_error("A name has at most %d characters", NAME_CHARS);
    return OK;
}

// Enter the game. A client calls it once, with the name that the others will see.
LC_REDUCER
Error join(Ctx *ctx, String name) {
    name = lc_string_trim(name);
    TRY(name_check(name));
    if (player_find_by_identity(ctx->sender)) return lc_error("You are in the game already");
    if (player_find_by_name(name)) return lc_error("Somebody else is called %.*s", LC_ARG(name));
    return player_insert(&(Player){
        .identity = ctx->sender,
        .name = name,
        .online = true,
        .x = (int32_t)lc_random_below(ctx, FIELD_SIZE),
        .y = (int32_t)lc_random_below(ctx, FIELD_SIZE),
        .steps_left = STEPS_A_TICK,
    });
}

// A window that is open. Who plays in two is here until both are closed.
LC_TABLE(window)
typedef struct Window {
    ConnectionId connection LC_PRIMARY_KEY;
    Identity identity LC_INDEX;
} Window;

static Error online_set(Ctx *ctx) {
    Player *me = player_find_by_identity(ctx->sender);
    if (!me) return OK;  // connected, but has not joined
    WindowScan mine = window_filter_by_identity(ctx->sender);
    me->online = window_next(&mine);
    return player_update_by_identity(me);
}

LC_CONNECT
Error connected(Ctx *ctx) {
    TRY(window_insert(&(Window){.connection = *ctx->connection, .identity = ctx->sender}));
    return online_set(ctx);
}

LC_DISCONNECT
Error disconnected(Ctx *ctx) {
    window_delete_by_connection(*ctx->connection);
    return online_set(ctx);
}

// Something to collect. No two lie in the same place.
LC_TABLE(gem, PUBLIC, UNIQUE(x, y))
typedef struct Gem {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    int32_t x;
    int32_t y;
    uint32_t worth;
} Gem;

// A row here is a call of run_tick, at the time that `at` says.
LC_TABLE(tick, SCHEDULED(run_tick))
typedef struct Tick {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    ScheduleAt at;
} Tick;

LC_INIT
Error start(Ctx *ctx) {
    lc_log_info("the field is %d by %d", FIELD_SIZE, FIELD_SIZE);
    return tick_insert(&(Tick){.at = lc_every(lc_millis(200))});
}

static Error gem_drop(Ctx *ctx) {
    int32_t x = (int32_t)lc_random_below(ctx, FIELD_SIZE);
    int32_t y = (int32_t)lc_random_below(ctx, FIELD_SIZE);
    if (gem_count() >= GEMS_MAX || gem_find_by_x_y(x, y)) return OK;
    return gem_insert(&(Gem){.x = x, .y = y, .worth = 1 + (uint32_t)lc_random_below(ctx, 3)});
}

// Five times a second: everybody who is here may walk again, and a gem falls from the sky.
LC_REDUCER
Error run_tick(Ctx *ctx, Tick tick) {
    for (PlayerScan each = player_filter_by_online(true); player_next(&each);) {
        if (each.row->steps_left == STEPS_A_TICK) continue;
        each.row->steps_left = STEPS_A_TICK;
        TRY(player_update_by_identity(each.row));
    }
    return gem_drop(ctx);
}

typedef enum Direction { NORTH, EAST, SOUTH, WEST } Direction;

static Error step(Player *player, Direction direction) {
    static const int32_t x[] = {[NORTH] = 0, [EAST] = 1, [SOUTH] = 0, [WEST] = -1};
    static const int32_t y[] = {[NORTH] = -1, [EAST] = 0, [SOUTH] = 1, [WEST] = 0};
    player->x += x[direction];
    player->y += y[direction];
    bool inside =
        player->x >= 0 && player->x < FIELD_SIZE && player->y >= 0 && player->y < FIELD_SIZE;
    return inside ? OK : lc_error("There is a wall");
}

// Go one step. Nobody can go further than the rules say, whatever their client sends.
LC_REDUCER
Error move(Ctx *ctx, Direction direction) {
    Player *me = player_find_by_identity(ctx->sender);
    if (!me) return lc_error("Join the game first");
    if (me->steps_left == 0) return lc_error("Not so fast");
    TRY(step(me, direction));
    me->steps_left--;
    Gem *gem = gem_find_by_x_y(me->x, me->y);
    if (gem) {
        me->score += gem->worth;
        gem_delete_by_id(gem->id);
    }
    return player_update_by_identity(me);
}

typedef struct Leader {
    String name;
    uint32_t score;
} Leader;

// The best, the best of them first. Everybody sees the same, so one result serves all.
LC_VIEW
Array(Leader) leaderboard(AnonymousViewCtx *ctx) {
    Array(Leader) best = {0};
    for (PlayerScan each = player_scan(); player_next(&each);) {
        uint32_t score = each.row->score;
        if (best.len < LEADERS)
            lc_push(&best, (Leader){0});
        else if (score <= best.items[LEADERS - 1].score)
            continue;
        size_t place = best.len - 1;
        for (; place > 0 && best.items[place - 1].score < score; place--)
            best.items[place] = best.items[place - 1];
        best.items[place] = (Leader){each.row->name, score};
    }
    return best;
}

// The caller's own row, or none before they have joined.
LC_VIEW
Player *me(ViewCtx *ctx) {
    return player_find_by_identity(ctx->sender);
}

LC_TABLE(message, PUBLIC)
typedef struct Message {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    String from;
    Timestamp sent;
    String text;
} Message;

LC_REDUCER
Error say(Ctx *ctx, String text) {
    Player *me = player_find_by_identity(ctx->sender);
    if (!me) return lc_error("Join the game first");
    text = lc_string_trim(text);
    if (text.len == 0) return lc_error("Say something");
    if (lc_string_chars(text) > CHAT_CHARS) return lc_error("At most %d characters", CHAT_CHARS);
    Message message = {.from = me->name, .sent = ctx->timestamp, .text = text};
    TRY(message_insert(&message));  // message.id has its number now
    if (message.id > CHAT_KEPT)
        message_delete_range_by_id(LC_ANY, 0, LC_TO, message.id - CHAT_KEPT);
    return OK;
}
