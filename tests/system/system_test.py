#!/usr/bin/env python3
"""The main job on the real stack: random work on the source while two workers run and one is killed, then a replay.

Called by run.sh, which builds the worker and brings the stack up. Every check is printed; the last line counts them. Faults are
checks too: a run in which nothing was killed and no partition moved would prove nothing.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

import checker
from outside import (
    BOOTSTRAP,
    REGISTRY_URL,
    STACK_HOME,
    STACK_LOGS,
    Failed,
    Worker,
    copy_out,
    destination_url,
    group_lag,
    group_members,
    log_offsets,
    psql,
    tool,
    value,
    wait_until,
)
from report import Report
from setting import (
    CONFIG,
    MAINTENANCE,
    OBSERVER,
    PARTITIONS,
    SILVER,
    SILVER_DB,
    SOURCE,
    SOURCE_DB,
    clean_up,
)
from workload import RECORDS, SCHEMA, SUMMARY, TABLES, Author, Workload

STATEMENTS_BEFORE_KILL, STATEMENTS_WHILE_ONE_WORKER, STATEMENTS_AFTER_RETURN = 4000, 2000, 6000
HTTP_PORT = int(os.environ.get("SILVERSINK_SYSTEM_HTTP_PORT", "19100"))  # of worker a; worker b has the next one
SHUTDOWN_SECONDS = 30  # shutdown_timeout's default


class Scenario:
    def __init__(self, seed, directory):
        self.report, self.seed, self.directory = Report(seed), seed, directory
        # of topics, slot, connector and group: never one that was used before
        self.name = f"system_{int(time.time()) % 10**8}"
        self.topics = rf"{self.name}\.public\..*"
        self.workers = []
        self.workload = None

    def topic(self, table):
        return f"{self.name}.public.{table}"

    def prepare(self):
        self.report.phase("clean slate, source tables, snapshot")
        clean_up()
        psql(MAINTENANCE, f"create database {SOURCE_DB}")
        psql(destination_url("postgres"), f"create database {SILVER_DB}")
        psql(SILVER, "create schema silver")
        psql(SOURCE, SCHEMA, "begin", *Author(f"{self.seed}/rows").seed_rows(), "commit")
        judged = list(checker.self_test(SOURCE))
        self.report.none(
            f"the checker is right about {len(judged)} copies and counts, all but 2 of them wrong",
            [what for what, right in judged if not right],
        )
        for table, partitions in PARTITIONS.items():
            self.create_topic(self.topic(table), partitions)
        self.create_topic(f"{self.name}.dead", 1)
        self.snapshot = int(value(SOURCE, "select max(id) from audit.change"))
        self.snapshot_rows = {table: int(value(SOURCE, f"select count(*) from {table}")) for table in TABLES}
        tool(
            "connect",
            "put",
            self.name,
            os.path.join(STACK_HOME, "source.json"),
            f"database.dbname={SOURCE_DB}",
            f"topic.prefix={self.name}",
            f"slot.name={self.name}",
            f"publication.name={self.name}",
            "table.include.list=" + ",".join(f"public.{table}" for table in TABLES),
            "poll.interval.ms=50",
        )
        tool("connect", "wait", self.name)
        wait_until(
            "the connector streams",
            60,
            lambda: (
                value(MAINTENANCE, f"select active from pg_replication_slots where slot_name = '{self.name}'") == "t"
            ),
        )
        wait_until("the topics hold the snapshot", 60, lambda: self.records_in_topics() == self.records_expected())
        self.report.check("the topics hold the snapshot", True, f"{sum(self.snapshot_rows.values())} rows")

    def create_topic(self, topic, partitions):
        tool("topics", "--create", "--topic", topic, "--partitions", str(partitions), "--replication-factor", "1")

    def records_expected(self):
        """Records by table, from the source's own witness."""
        later = dict(copy_out(SOURCE, RECORDS.format(snapshot=self.snapshot).strip()))
        return {table: rows + int(later.get(table, 0)) for table, rows in self.snapshot_rows.items()}

    def records_in_topics(self):
        found = dict.fromkeys(TABLES, 0)
        for (topic, _), end in log_offsets(self.topics).items():
            found[topic.rsplit(".", 1)[1]] += end
        return found

    # --- what is looked at ---------------------------------------------------------------------------------------------------

    def positions(self):
        return checker.positions(SILVER, self.name)

    def owners(self):
        return {place: row["owner"] for place, row in self.positions().items()}

    def shared_by(self, workers):
        """Waits until Kafka's own tool sees that many members, each with partitions, and the destination that many owners."""

        def shared():
            members = group_members(self.name)
            if len(members) != workers or 0 in members or sum(members) != sum(PARTITIONS.values()):
                return None
            owners = self.owners()
            return owners if len(set(owners.values())) == workers and len(owners) == sum(PARTITIONS.values()) else None

        return wait_until(f"{workers} worker(s) share the partitions", 60, shared, self.workers)

    def caught_up(self, seconds):
        ends = log_offsets(self.topics)

        def behind():
            found = self.positions()
            return {place: end for place, end in ends.items() if found.get(place, {}).get("next_offset") != end}

        try:
            wait_until("every position is at the end of its log", seconds, lambda: not behind(), self.workers)
            wait_until("Kafka's committed offsets are there too", 30, lambda: self.lag_is_zero(ends), self.workers)
        except Failed as failure:
            lag = {place: lag for place, (_, lag) in group_lag(self.name).items() if lag != 0}
            raise Failed(f"{failure}; positions short of {behind()}; Kafka's tool shows lag {lag}") from None

    def lag_is_zero(self, ends):
        return group_lag(self.name) == {place: (end, 0) for place, end in ends.items()}

    # --- the phases ------------------------------------------------------------------------------------------------------------

    def start_workers(self):
        self.report.phase("two workers start")
        for number, name in enumerate("ab"):
            path, port = os.path.join(self.directory, f"worker-{name}.toml"), HTTP_PORT + number
            with open(path, "w") as file:
                file.write(
                    CONFIG.format(name=self.name, bootstrap=BOOTSTRAP, registry=REGISTRY_URL, silver=SILVER, port=port)
                )
            self.workers.append(Worker(name, path, self.directory, port))
        self.workers[0].start()
        wait_until(
            "the destination has a position table",
            30,
            lambda: value(SILVER, "select to_regclass('silversink.position')"),
            self.workers[:1],
        )
        psql(SILVER, OBSERVER)
        self.workers[1].start()
        self.report.check("two workers share the group", self.shared_by(2))

    def work_and_kill(self):
        self.report.phase("random work; one worker is killed and comes back")
        self.workload = work = Workload(SOURCE, self.seed, self.directory)
        work.start()
        self.worked_on(STATEMENTS_BEFORE_KILL)
        survivor, victim = self.workers
        before = self.positions()
        was_alive, at = victim.alive(), work.statements()
        self.report.check(
            "worker b was alive and died of kill -9", was_alive and victim.kill() == -9, f"pid {victim.process.pid}"
        )

        taken = self.shared_by(1)
        moved = {place for place, owner in taken.items() if before[place]["owner"] != owner}
        self.report.check(
            "the survivor took the dead worker's partitions over",
            moved and survivor.alive(),
            f"{len(moved)} of {len(taken)}",
        )
        claimed = self.positions()
        self.report.check(
            "each of them under a higher owner epoch",
            all(claimed[place]["owner_epoch"] > before[place]["owner_epoch"] for place in moved),
        )
        wait_until(
            "the survivor applies what it took over",
            60,
            lambda: sum(self.positions()[place]["next_offset"] - claimed[place]["next_offset"] for place in moved) > 0,
            self.workers,
        )
        self.worked_on(STATEMENTS_WHILE_ONE_WORKER)
        self.report.check("the sessions went on meanwhile", work.running(), f"{work.statements() - at} statements")

        victim.start()
        self.report.check("the dead worker came back and has partitions", self.shared_by(2))
        self.worked_on(STATEMENTS_AFTER_RETURN)
        self.report.check("each session worked until it was told to stop", work.finish())
        self.report.check("statements", work.statements() >= 10_000, work.statements())
        self.report.check("rolled-back transactions", work.rollbacks() > 50, work.rollbacks())
        for what, count in copy_out(SOURCE, SUMMARY.format(snapshot=self.snapshot).strip()):
            self.report.check(what, int(count) > 50, count)

    def worked_on(self, statements):
        goal = self.workload.statements() + statements
        wait_until(f"{statements} more statements", 120, lambda: self.workload.statements() >= goal, self.workers)

    def catch_up(self):
        self.report.phase("the workload is over, the workers catch up")
        expected = self.records_expected()
        wait_until("Debezium has written every change", 120, lambda: self.records_in_topics() == expected, self.workers)
        self.report.check("the topics hold every change of the source", True, f"{sum(expected.values())} records")
        self.caught_up(120)
        for worker in self.workers:
            answers = {path: worker.http_status(path) for path in ("/livez", "/readyz", "/metrics")}
            self.report.check(
                f"worker {worker.name} answers live, ready and with metrics", set(answers.values()) == {200}, answers
            )

    def verify(self, when):
        for table in TABLES:
            found = checker.Comparison(table, SOURCE, SILVER)
            self.report.check(
                f"{when}: silver.{table} equals its source",
                not found.problems,
                "; ".join(found.problems) or f"{found.live} live, {found.deleted} deleted",
            )
        ends = log_offsets(self.topics)
        self.report.none(f"{when}: the counts tile the offsets (I1)", checker.accounting(self.positions(), ends))
        self.report.check(
            f"{when}: no lag in any partition, as Kafka's own tool shows it",
            self.lag_is_zero(ends),
            f"{len(ends)} partitions",
        )
        self.report.check(
            f"{when}: silversink.dead_letter is empty",
            value(SILVER, "select count(*) from silversink.dead_letter") == "0",
        )
        self.report.check(
            f"{when}: the dead-letter topic is empty", set(log_offsets(f"{self.name}.dead").values()) == {0}
        )

    def stop_workers(self, when):
        for worker in self.workers:
            code, seconds = worker.terminate(SHUTDOWN_SECONDS)
            self.report.check(
                f"{when}: worker {worker.name} stops on SIGTERM with 0", code == 0, f"{code} after {seconds:.1f} s"
            )
        wait_until("the group is empty", 30, lambda: not group_members(self.name))

    def replay(self):
        self.report.phase("the group is reset to earliest, the workers replay")
        self.stop_workers("before the reset")
        ends, starts = log_offsets(self.topics), log_offsets(self.topics, "earliest")
        rows, written, seen = (
            checker.fingerprint(SILVER),
            checker.rows_written(SILVER),
            value(SILVER, "select max(id) from observer.position"),
        )
        tool("groups", "--group", self.name, "--reset-offsets", "--to-earliest", "--all-topics", "--execute")
        self.report.check(
            "Kafka's own tool reset every partition",
            group_lag(self.name) == {place: (start, ends[place] - start) for place, start in starts.items()},
        )
        for worker in self.workers:
            worker.start()
        self.shared_by(2)
        self.caught_up(120)
        self.stop_workers("after the replay")

        lowest = {
            (topic, int(partition)): int(offset)
            for topic, partition, offset in copy_out(
                SILVER,
                f"select topic, partition, min(next_offset) from observer.position where id > {seen} group by 1, 2",
            )
        }
        self.report.none(
            "the reset was honoured: every position went back to the start",
            [
                f"{place}: {lowest.get(place)}"
                for place, start in starts.items()
                if ends[place] > start and lowest.get(place) != start
            ],
        )
        self.report.check("the replay changed no row", rows == checker.fingerprint(SILVER))
        self.report.check("the replay wrote no row version", written == checker.rows_written(SILVER), written)
        steps = (
            "select count(*) from (select id, next_offset - lag(next_offset) over w as step, owner_epoch - lag(owner_epoch) over w "
            "as epochs from observer.position window w as (partition by topic, partition order by id)) t where "
        )
        self.report.check(
            "no position went back before the reset", value(SILVER, steps + f"step < 0 and id <= {seen}") == "0"
        )
        self.report.check("no owner epoch ever went back", value(SILVER, steps + "epochs < 0") == "0")

    def until_caught_up(self):
        self.report.phase("--until-caught-up with nothing to do")
        rows, worker = checker.fingerprint(SILVER), self.workers[0]
        worker.start("--until-caught-up")
        code = worker.wait(60)
        self.report.check("run --until-caught-up ends with 0", code == 0, code)
        self.report.check("and changes no row", rows == checker.fingerprint(SILVER))

    def run(self):
        self.prepare()
        self.start_workers()
        self.work_and_kill()
        self.catch_up()
        self.verify("live")
        self.replay()
        self.verify("replayed")
        self.until_caught_up()
        for worker in self.workers:
            with open(worker.log, errors="replace") as log:
                self.report.none(
                    f"worker {worker.name} did not panic", [line.strip() for line in log if "panicked" in line]
                )

    def stop_everything(self):
        if self.workload and self.workload.running():
            self.workload.finish()
        for worker in self.workers:
            if worker.alive():
                worker.kill()


def tail(path, lines=40):
    print(f"\n--- {path}, last lines")
    with open(path, errors="replace") as file:
        print("".join(file.readlines()[-lines:]).rstrip())


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument(
        "--seed", type=int, default=int(time.time()) % 10**6, help="repeats the workload of an earlier run"
    )
    arguments.add_argument(
        "--keep", action="store_true", help="leave the databases, the topics and the logs of this run"
    )
    options = arguments.parse_args()
    directory = tempfile.mkdtemp(prefix="silversink-system-")
    print(f"seed {options.seed}, logs in {directory}")
    scenario = Scenario(options.seed, directory)
    try:
        scenario.run()
    except Failed as failure:
        scenario.report.check(scenario.report.phases[-1][0], False, failure)
    finally:
        scenario.stop_everything()
    passed = all(ok for _, ok in scenario.report.checks)
    if not passed:
        print(f"\nleft for inspection: {SOURCE}, {SILVER}, topics {scenario.topics}, logs in {directory}")
        for worker in scenario.workers:
            tail(worker.log)
        tail(os.path.join(STACK_LOGS, "connect.log"), 15)
    elif not options.keep:
        scenario.report.phase("clean up")
        clean_up()
        shutil.rmtree(directory)
    scenario.report.summary()
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
