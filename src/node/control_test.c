#include "node/control.h"

#include "base/test.h"
#include "sim/sim.h"

static const Identity alice = {{1}}, bob = {{2}}, chat = {{10}}, game = {{11}};

static void collect(void *ctx, Str name) {
    buf_put_str(ctx, name);
    buf_put_u8(ctx, ' ');
}

static void expect_names(Control *control, const Identity *database, const char *want) {
    Buf got = {0};
    control_names(control, database, collect, &got);
    EXPECT_BYTES(buf_bytes(&got), BYTES(want, strlen(want)));
    buf_deinit(&got);
}

static Control *open_control(Sim *sim) {
    Control *control = NULL;
    Diag diag = {0};
    EXPECT_OK(control_open(sim_io(sim), "control", false, &control, &diag));
    return control;
}

TEST(control, keeps_databases_and_names_over_a_power_loss) {
    Sim *sim;
    Identity found;
    EXPECT_OK(sim_new(1, &sim));
    Control *control = open_control(sim);
    ControlDatabase record = {.identity = chat,
                              .owner = alice,
                              .host_kind = 1,
                              .initial_program = {7},
                              .exists = true,
                              .generation = 3},
                    read;
    EXPECT_OK(control_put(control, &record));
    record.locked = true;
    EXPECT_OK(control_put(control, &record));
    EXPECT_OK(control_add_name(control, STR("chat"), &chat, &alice));
    EXPECT_OK(control_add_name(control, STR("talk"), &chat, &alice));
    control_close(&control);
    sim_disk_reboot(sim, 5);

    control = open_control(sim);
    EXPECT_OK(control_find(control, &chat, &read));
    EXPECT(
        memcmp(&read, &record, sizeof read) == 0 ||
        (read.locked && read.exists && read.generation == 3 && identity_eq(&read.owner, &alice)));
    EXPECT_OK(control_resolve(control, STR("talk"), &found));
    EXPECT(identity_eq(&found, &chat));
    expect_names(control, &chat, "chat talk ");
    record.exists = false;
    EXPECT_OK(control_put(control, &record));
    EXPECT_OK(control_resolve(control, STR("talk"), &found));  // names outlive what they named
    control_close(&control);
    sim_free(&sim);
}

TEST(control, a_name_belongs_to_who_used_it_first) {
    Sim *sim;
    Identity found;
    EXPECT_OK(sim_new(1, &sim));
    Control *control = open_control(sim);
    EXPECT_OK(control_add_name(control, STR("chat"), &chat, &alice));
    EXPECT_ERR(control_add_name(control, STR("chat"), &game, &bob), ERR_DENIED);
    EXPECT_ERR(control_add_name(control, STR("chat"), &game, &alice), ERR_EXISTS);
    Str names[] = {STR("one"), STR("two")};
    EXPECT_OK(control_set_names(control, &chat, names, 2, &alice));
    expect_names(control, &chat, "one two ");
    EXPECT_ERR(control_resolve(control, STR("chat"), &found), ERR_NOT_FOUND);
    EXPECT_ERR(control_add_name(control, STR("chat"), &game, &bob), ERR_DENIED);  // still hers
    EXPECT_OK(control_add_name(control, STR("chat"), &game, &alice));
    Str taken[] = {STR("three"), STR("chat")};
    EXPECT_ERR(control_set_names(control, &chat, taken, 2, &alice), ERR_EXISTS);
    expect_names(control, &chat, "one two ");
    control_close(&control);
    sim_free(&sim);
}

TEST(control, an_identity_without_a_database_is_for_those_it_belonged_to) {
    Sim *sim;
    EXPECT_OK(sim_new(1, &sim));
    Control *control = open_control(sim);
    EXPECT_OK(control_may_create(control, &chat, &bob));  // nobody's
    EXPECT_OK(control_add_name(control, STR("chat"), &chat, &alice));
    EXPECT_OK(control_add_name(control, STR("intruder"), &chat, &bob));
    EXPECT_OK(control_may_create(control, &chat, &alice));
    EXPECT_ERR(control_may_create(control, &chat, &bob), ERR_DENIED);
    ControlDatabase deleted = {.identity = game, .owner = bob, .generation = 1};
    EXPECT_OK(control_put(control, &deleted));
    EXPECT_OK(control_may_create(control, &game, &bob));
    EXPECT_ERR(control_may_create(control, &game, &alice), ERR_DENIED);
    control_close(&control);
    sim_free(&sim);
}

TEST(control, says_what_is_wrong_with_a_name) {
    const char *why;
    EXPECT(control_name_ok(STR("my-chat-2"), &why));
    EXPECT(!control_name_ok(STR(""), &why));
    EXPECT_STR(why, "database names cannot be empty");
    EXPECT(!control_name_ok(STR("-a"), &why) && !control_name_ok(STR("a--b"), &why) &&
           !control_name_ok(STR("a-"), &why));
    EXPECT_STR(why, "invalid hyphen in database name");
    EXPECT(!control_name_ok(STR("Chat"), &why));
    EXPECT_STR(why, "invalid characters in database name");
    EXPECT(!control_name_ok(STR("c200000000000000000000000000000000000000000000000000000000000000"),
                            &why));
    EXPECT_STR(why, "database names cannot be identities");
}

static void expect_settings(Control *control, const Identity *database, const char *want) {
    Buf got = {0};
    EXPECT_OK(control_settings(control, database, &got));
    EXPECT_BYTES(buf_bytes(&got), BYTES(want, strlen(want)));
    buf_deinit(&got);
}

TEST(control, keeps_settings_until_the_database_is_deleted) {
    Sim *sim;
    EXPECT_OK(sim_new(3, &sim));
    Control *control = open_control(sim);
    ControlDatabase record = {.identity = chat, .owner = alice, .exists = true};
    EXPECT_OK(control_put(control, &record));
    expect_settings(control, &chat, "");
    EXPECT_OK(control_settings_put(control, &chat, STR("slice_us=5\n")));
    EXPECT_OK(control_settings_put(control, &chat, STR("slice_us=7\n")));
    control_close(&control);
    sim_disk_reboot(sim, 9);

    control = open_control(sim);
    expect_settings(control, &chat, "slice_us=7\n");
    expect_settings(control, &game, "");
    record.locked = true;
    EXPECT_OK(control_put(control, &record));
    expect_settings(control, &chat, "slice_us=7\n");
    record.exists = false;
    EXPECT_OK(control_put(control, &record));
    expect_settings(control, &chat, "");
    control_close(&control);
    sim_free(&sim);
}

TEST_MAIN()
