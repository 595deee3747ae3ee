// commands.h: the commands, one file for each family, and the little they share.
#pragma once
#include "cli/cli.h"

extern const CliCommand command_start, command_init, command_dev, command_publish, command_build,
    command_generate, command_call, command_sql, command_logs, command_describe, command_list,
    command_delete, command_rename, command_settings, command_lock, command_unlock, command_server,
    command_login, command_logout, command_identity, command_extract, command_check, command_backup,
    command_restore, command_mcp, command_version;

// `start` passes its words to the server unread, so it is not parsed like the others.
int start_run(int argc, char **argv);

// What `describe --settings` prints (cmd_settings.c).
struct CliTarget;
void settings_show(const struct CliTarget *target, bool json);

// Options that many commands have.
// clang-format off
#define SPEC_SERVER    {"server", NULL, 's', ARG_VALUE, "URL|NAME", "The server: a URL, or a name from `lightcone server list`"}
#define SPEC_ANON      {"anonymous", "anon-identity", 0, ARG_FLAG, NULL, "Send no token"}
#define SPEC_NO_CONFIG {"no-config", NULL, 0, ARG_FLAG, NULL, "Ignore the project file"}
#define SPEC_ENV       {"env", NULL, 0, ARG_VALUE, "NAME", "Read the project file of this environment too"}
#define SPEC_YES       {"yes", NULL, 'y', ARG_FLAG, NULL, "Do not ask; the answer is yes"}
// clang-format on
