#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Black-box comparison of a process proxy with local execution.
usage: run.py [--prefix 'ssirun --remote'] [--root DIR] [--only RE] [--cases FILE]... [--exceptions FILE] [--jobs N] [--json OUT] [-v]

Each case runs locally first (prefix empty: the oracle), then with the prefix, in a fresh directory of the same path under
--root (which the proxy must serve). What may run at home stands in exceptions.toml: these run after the others, one by one,
with the prefix less its --remote. Last line: 'N passed, N failed, N skipped'. NEAR counts as failed (a death by signal shown as
exit status 128+n). Standard library only; python >= 3.11.
"""
import argparse
import json
import pathlib
import signal
import sys

from compare import HERE, Comparison, load_cases


def options(argv):
    parser = argparse.ArgumentParser(usage=__doc__.split("\n")[1].removeprefix("usage: "))
    parser.add_argument("--prefix", default="")
    parser.add_argument("--root", default="blackbox-root")
    parser.add_argument("--only", default=".")
    parser.add_argument("--cases", action="append", type=pathlib.Path)
    parser.add_argument("--exceptions", default=HERE / "exceptions.toml", type=pathlib.Path)
    parser.add_argument("--jobs", default=4, type=int)
    parser.add_argument("--json")
    parser.add_argument("-v", action="store_true")
    return parser.parse_args(argv)


def main():
    asked = options(sys.argv[1:])
    sys.stdout.reconfigure(errors="backslashreplace")
    # Started in the background of a script, we would hand on ignored signals.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    comparison = Comparison(asked.prefix, asked.root, asked.jobs, asked.exceptions)
    verdicts = []
    for verdict in comparison.run(load_cases(asked.cases, asked.only)):
        verdicts.append(verdict)
        print(verdict.verdict, verdict.id, f"({verdict.local.seconds:.2f}s -> {verdict.here.seconds:.2f}s)", "; ".join(verdict.why), flush=True)
        if asked.v and verdict.verdict in ("FAIL", "NEAR"):
            print(f"     local: {verdict.local}\n     here:  {verdict.here}"[:4000])
    count = {word: sum(verdict.verdict == word for verdict in verdicts) for word in ("PASS", "NEAR", "FAIL", "SKIP")}
    if asked.json:
        pathlib.Path(asked.json).write_text(json.dumps([
            {"id": verdict.id, "verdict": verdict.verdict, "why": verdict.why, "local_s": round(verdict.local.seconds, 3),
             "here_s": round(verdict.here.seconds, 3)} for verdict in verdicts], indent=1))
    print(comparison.summary())
    print(f"strict {count['PASS']}, near (128+n) {count['NEAR']}")
    print(f"{count['PASS']} passed, {count['FAIL'] + count['NEAR']} failed, {count['SKIP']} skipped")
    return 1 if count["FAIL"] + count["NEAR"] or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
