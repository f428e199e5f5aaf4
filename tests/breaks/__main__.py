"""``make breaks``: each break of the table in a copy of the tree, and whether the test that it names fails of it."""

from __future__ import annotations

import argparse
import os
import queue
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from breaks import table
from breaks.running import Tree, Verdict, judge_unbroken
from breaks.table import Break

ROOT = Path(__file__).resolve().parents[2]
UNBROKEN_LIMIT = 900.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="breaks", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="copies of the tree, each with a test")
    parser.add_argument("words", nargs="*", help="only the breaks whose file, test or reason has one of these words")
    asked = parser.parse_args()
    whole = table.load()
    if complaints := list(table.check(whole, ROOT)):
        return _complain("the table does not fit the code", complaints)
    breaks = [each for each in whole if not asked.words or any(word in f"{each} {each.test}" for word in asked.words)]
    with ExitStack() as stack:
        folders = [stack.enter_context(tempfile.TemporaryDirectory(prefix="recado-breaks-")) for _ in range(asked.jobs)]
        trees = [Tree.copied(ROOT, Path(folder)) for folder in folders]
        if complaints := _unbroken(trees[0], breaks, asked.jobs):
            return _complain("tests that do not pass before anything is broken", complaints)
        return _summary(_try_all(trees, breaks))


def _unbroken(tree: Tree, breaks: list[Break], jobs: int) -> list[str]:
    tests = sorted({each.test for each in breaks})
    print(f"{len(tests)} tests, nothing broken ...", flush=True)
    return list(judge_unbroken(tests, tree.run(tests, UNBROKEN_LIMIT, "-n", str(jobs), "--dist", "worksteal")))


def _try_all(trees: list[Tree], breaks: list[Break]) -> dict[Break, Verdict]:
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)
    done: dict[Break, Verdict] = {}

    def work(each: Break) -> None:
        tree, began = free.get(), time.monotonic()
        try:
            verdict = tree.try_break(each)
        finally:
            free.put(tree)
        done[each] = verdict
        print(f"{len(done):3}/{len(breaks)} {time.monotonic() - began:4.0f} s  {each}: {verdict}", flush=True)

    with ThreadPoolExecutor(len(trees)) as pool:
        list(pool.map(work, breaks))
    return done


def _summary(done: dict[Break, Verdict]) -> int:
    missed = {each: verdict for each, verdict in done.items() if not verdict.caught}
    print()
    for rule in table.RULES:
        of_rule = [each for each in done if each.rule == rule]
        caught = sum(done[each].caught for each in of_rule)
        print(f"rule {rule:2}: {caught:2} of {len(of_rule):2} caught")
    for each, verdict in missed.items():
        print(f"{each}\n    {each.text.strip()}  ->  {each.becomes.strip()}\n    {each.test}: {verdict}")
    print(f"{len(done) - len(missed)} of {len(done)} breaks are caught")
    return 1 if missed or not done else 0


def _complain(what: str, complaints: list[str]) -> int:
    print(f"{what}:", *complaints, sep="\n  ", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
