/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/reach.h"
#include "shim/say.h"

typedef bool (*take_option)(struct options*, const char* value); /* false: the value makes no sense */

struct specification {
  const char* name;
  const char* value; /* as help shows it; NULL: takes none */
  int argument;
  char letter;      /* 0: none */
  take_option take; /* NULL: ends the program, see `finish` */
  const char* help; /* NULL: internal */
};

static bool parse_number(const char* text, uint64_t most, uint64_t* number, char** end) {
  if (*text < '0' || *text > '9') return false; /* strtoull takes signs and blanks */
  errno = 0;
  unsigned long long value = strtoull(text, end, 10);
  if (errno || value > most) return false;
  *number = value;
  return true;
}

static bool parse_whole(const char* text, uint64_t most, uint64_t* number) {
  char* end = NULL;
  return parse_number(text, most, number, &end) && !*end;
}

static bool take_count(const char* text, uint32_t least, uint32_t* count) {
  uint64_t number = 0;
  if (!parse_whole(text, UINT32_MAX, &number) || number < least) return false;
  *count = (uint32_t)number;
  return true;
}

static bool take_on(struct options* options, const char* value) {
  options->guest = value;
  options->remote = true; /* this guest or fail */
  return *value;
}

static bool take_local(struct options* options, const char* value) {
  (void)value;
  return options->local = true;
}

static bool take_remote(struct options* options, const char* value) {
  (void)value;
  return options->remote = true;
}

static bool take_wait(struct options* options, const char* value) {
  options->wait = true;
  uint64_t seconds = 0;
  if (value && !parse_whole(value, INT32_MAX, &seconds)) return false;
  options->wait_seconds = value ? (int64_t)seconds : -1;
  return true;
}

static bool take_cpus(struct options* options, const char* value) {
  return take_count(value, 1, &options->cpus);
}

static bool take_mem(struct options* options, const char* value) {
  static const char units[] = "KMGT";
  char* end = NULL;
  uint64_t number = 0;
  if (!parse_number(value, UINT64_MAX, &number, &end) || !number) return false;
  const char* unit = *end ? strchr(units, *end) : NULL;
  if (*end && (!unit || end[1])) return false;
  unsigned shift = unit ? 10u * (unsigned)(unit - units + 1) : 0;
  if (number > UINT64_MAX >> shift) return false;
  options->memory = number << shift;
  return true;
}

static bool take_retries(struct options* options, const char* value) {
  return take_count(value, 0, &options->retries);
}

static bool take_dry_run(struct options* options, const char* value) {
  (void)value;
  return options->dry_run = true;
}

static bool take_verbose(struct options* options, const char* value) {
  (void)value;
  return options->verbose = true;
}

/* XDG_RUNTIME_DIR of the shim's process, where the command's environment has none. */
static bool take_runtime(struct options* options, const char* value) {
  (void)options;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/ssi", value);
  tell_runtime_directory(path, false);
  setenv("XDG_RUNTIME_DIR", value, 0); /* for a deputy that is started; the command has an environment of its own */
  return true;
}

static bool take_exec(struct options* options, const char* value) {
  options->exec_path = value;
  return true;
}

static const struct specification specifications[] = {
    {"on", "GUEST", required_argument, 0, take_on, "on this guest, or fail"},
    {"local", NULL, no_argument, 0, take_local, "at home"},
    {"remote", NULL, no_argument, 0, take_remote, "never at home: exit 125 and say why"},
    {"wait", "[=SECONDS]", optional_argument, 0, take_wait, "queue when all guests are busy"},
    {"cpus", "N", required_argument, 0, take_cpus, "the command uses N processors"},
    {"mem", "SIZE", required_argument, 0, take_mem, "it needs this much memory: 512M, 4G"},
    {"retries", "N", required_argument, 0, take_retries, "run it again so often when its guest is lost (2)"},
    {"dry-run", NULL, no_argument, 0, take_dry_run, "print where it would run and why, run nothing"},
    {"verbose", NULL, no_argument, 'v', take_verbose,
     "one line on stderr at the end: guest, reason, seconds, bytes"},
    {"version", NULL, no_argument, 0, NULL, "print the version"},
    {"help", NULL, no_argument, 0, NULL, "print this"},
    {"exec", "PATH", required_argument, 0, take_exec, NULL},
    {"runtime", "DIRECTORY", required_argument, 0, take_runtime, NULL},
};
enum { COUNT = sizeof specifications / sizeof *specifications };

static void print_help(void) {
  puts(
      "usage: ssirun [options] [--] command [argument…]\n"
      "Runs the command on the best machine of the pool, or at home, with this machine's files.\n");
  for (int i = 0; i < COUNT; i++) {
    const struct specification* it = &specifications[i];
    if (!it->help) continue;
    char left[40];
    snprintf(left, sizeof left, "%s--%s%s%s", it->letter ? "-v, " : "", it->name,
             it->value && *it->value != '[' ? " " : "", it->value ? it->value : "");
    printf("  %-20s %s\n", left, it->help);
  }
  puts(
      "\nOptions end at the first word that is none. Without options the pool is used when that is faster;\n"
      "what cannot run there runs at home, as if ssirun had not been typed.\n"
      "  ssirun ffmpeg -i in.mov out.mp4\n"
      "  ssirun --remote -v make -j8\n\n"
      "Exit status: the command's own; dies by the signal that killed it. 125: ssirun itself failed, 126: "
      "found\n"
      "but not executable, 127: not found. SSI_DISABLE=1 in the environment keeps everything at home.\n"
      "A pool on this machine: ssi pool up. What is missing: ssi doctor.");
}

static int finish(const char* name) {
  if (!strcmp(name, "help"))
    print_help();
  else
    puts("ssirun " SSI_VERSION);
  return fflush(stdout) ? STATUS_FAILED : 0;
}

static int wrong(const char* what, const char* which) {
  say("%s '%s'; try 'ssirun --help'", what, which);
  return STATUS_FAILED;
}

static int reject(int answer, char** argv) {
  /* getopt(3): optopt is 0 for a long option that it doesn't know, our number (>= 256) for one that it does.
   */
  char letter[] = {'-', (char)optopt, 0};
  const char* which = optopt > 0 && optopt < 256 ? letter : argv[optind - 1];
  if (answer == ':') return wrong("a value is missing after", which);
  if (optopt >= 256) return wrong("no value is taken by", which);
  return wrong("unknown option", which);
}

int parse_options(int argc, char** argv, struct options* options) {
  *options = (struct options){.retries = DEFAULT_RETRIES};
  struct option names[COUNT + 1] = {0};
  for (int i = 0; i < COUNT; i++)
    names[i] = (struct option){specifications[i].name, specifications[i].argument, NULL, 256 + i};
  opterr = 0;
  for (int answer; (answer = getopt_long(argc, argv, "+:v", names, NULL)) != -1;) {
    if (answer == '?' || answer == ':') return reject(answer, argv);
    int index = answer - 256;
    for (int i = 0; answer < 256 && i < COUNT; i++)
      if (specifications[i].letter == answer) index = i;
    const struct specification* it = &specifications[index];
    if (!it->take) return finish(it->name);
    if (!it->take(options, optarg)) {
      say("--%s: '%s' makes no sense; try 'ssirun --help'", it->name, optarg ? optarg : "");
      return STATUS_FAILED;
    }
  }
  options->command = argv + optind;
  if (options->local && options->remote) return wrong("never at home contradicts", "--local");
  if (optind < argc) return -1;
  say("a command is missing; try 'ssirun --help'");
  return STATUS_FAILED;
}
