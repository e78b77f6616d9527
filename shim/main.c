/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun: hands a command to the deputy and ends as the command does, or becomes the command. Links libc
 * only: it is started once per command. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/bound.h"
#include "shim/caller.h"
#include "shim/deputy_link.h"
#include "shim/home.h"
#include "shim/options.h"
#include "shim/path_shim.h"
#include "shim/reach.h"
#include "shim/relay.h"
#include "shim/resolve.h"
#include "shim/signals.h"
#include "shim/title.h"
#include "shim/traced.h"

struct command {
  const struct options* options;
  const char* path;
  char** own_argv;
};

static int at_home(const struct command* command, const struct reason* why) {
  const struct options* options = command->options;
  if (options->remote) {
    say("%s", why->text);
    return STATUS_FAILED;
  }
  if (options->dry_run) return printf("home: %s\n", why->text) < 0 || fflush(stdout) ? STATUS_FAILED : 0;
  if (options->verbose) say("home: %s", why->text);
  return exec_at_home(command->path, options->command);
}

/* ssirun by ssirun: the inner one has its own options. */
static bool is_ssirun(const char* path) {
  char* original = is_self(path) ? bound_original(path) : NULL;
  const bool is = is_self(path) && !original;
  free(original);
  return is;
}

/* Reasons to stay at home that are known without asking anybody. */
static bool stays_home(const struct command* command, struct reason* why) {
  if (command->options->local)
    because(why, "--local");
  else if (switched_on("SSI_DISABLE"))
    because(why, "SSI_DISABLE is set");
  else if (is_ssirun(command->path))
    because(why, "it is ssirun itself");
  else
    return false;
  return true;
}

/* It is the command from now on, also for ps(1). */
static void job_started(void* context) {
  const struct command* command = context;
  take_title(command->own_argv, command->options->command, command->path);
}

static int hand_over(const struct command* command, int link, struct caller* caller, struct reason* why) {
  static struct terminal terminal;
  terminal_open(&terminal, &caller->descriptors);
  hold_signals(caller);
  bool sent = send_run(link, command->options, caller, command->path, &terminal, why);
  if (!sent) {
    release_signals(caller);
    return at_home(command, why);
  }
  struct relay relay = {.link = link,
                        .verbose = command->options->verbose,
                        .caller = caller,
                        .terminal = &terminal,
                        .started = job_started,
                        .context = (void*)(uintptr_t)command};
  int status = STATUS_FAILED;
  return relay_job(&relay, why, &status) == RELAY_HOME ? at_home(command, why) : status;
}

static int run(const struct command* command) {
  struct reason why;
  if (stays_home(command, &why)) return at_home(command, &why);
  static struct caller caller;
  if (!take_caller(&caller, &why)) return at_home(command, &why);
  const char* directory = runtime_directory(&why);
  if (!directory) {
    /* Something is wrong that the user can mend; a diverted command's stderr is not ours to write to. */
    if (!command->options->exec_path && !command->options->remote && !command->options->verbose)
      say("%s", why.text);
    return at_home(command, &why);
  }
  int link = reach_deputy(directory, &why);
  return link < 0 ? at_home(command, &why) : hand_over(command, link, &caller, &why);
}

static const char* name_in(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Started by a program's name and not by our own: its arguments are all that program's. False: by our own. */
static bool stands_for(char** argv, struct options* options, int* status) {
  const char* start = started_as(argv);
  int error = 0;
  char* path = traced_program();
  if (!path && !is_other_name(start)) return false;
  if (!path) path = bound_program(start);
  if (!path) {
    path = behind_shim(start, &error);
    /* A program finds its folder by that, gcc for one: by its path, or by its name on PATH, where the link stands before it. */
    if (path && argv[0] && (!strcmp(argv[0], start) || !strcmp(argv[0], name_in(start)))) argv[0] = path;
  }
  *options = (struct options){.retries = DEFAULT_RETRIES, .exec_path = path, .command = argv};
  *status = path ? -1 : cannot_execute(name_in(start), error);
  return true;
}

/* What PATH finds for argv[0]; behind a link of `ssi shims`, which would be ourselves. */
static char* resolved(char** argv, int* error) {
  char* path = resolve_command(argv[0], error);
  if (!path || !is_other_name(path) || !is_ssirun(path)) return path;
  char* program = behind_shim(path, error);
  free(path);
  if (program) argv[0] = program; /* as above */
  return program;
}

int main(int argc, char** argv) {
  struct options options;
  int status = -1;
  if (!stands_for(argv, &options, &status)) status = parse_options(argc, argv, &options);
  if (status >= 0) return status;
  int error = 0;
  const char* name = options.exec_path ? options.exec_path : options.command[0];
  char* path = NULL;
  if (!options.exec_path)
    path = resolved(options.command, &error);
  else if (!(error = executable_error(name)))
    path = strdup(name);
  if (!path) return cannot_execute(name, error ? error : ENOMEM);
  const struct command command = {&options, path, argv};
  return run(&command);
}
