"""What the test talks to: psql, Kafka's own tools, the worker processes. Knows nothing of the scenario."""

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

STACK_HOME = os.environ["STACK_HOME"]
BOOTSTRAP = os.environ["STACK_BOOTSTRAP"]
REGISTRY_URL = os.environ["STACK_REGISTRY_URL"]
STACK_LOGS = os.environ["LOGS"]


def source_url(database):
    return f"postgresql://stack:stack@127.0.0.1:{os.environ['STACK_SOURCE_PORT']}/{database}"


def destination_url(database):
    return f"postgresql://stack:stack@127.0.0.1:{os.environ['STACK_DESTINATION_PORT']}/{database}?sslmode=disable"


class Failed(Exception):
    """Something the scenario cannot go on without did not happen."""


def wait_until(what, seconds, condition, watch=()):
    """Polls `condition` until it is true and returns its value; fails when a worker in `watch` ends by itself meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        for worker in watch:
            if worker.expected and not worker.alive():
                raise Failed(f"worker {worker.name} ended with {worker.process.returncode} while waiting: {what}")
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.1)


# --- PostgreSQL ----------------------------------------------------------------------------------------------------------


def psql(url, *statements):
    """Runs the statements and returns the lines that they print, fields separated by tabs."""
    command = ["psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", url]
    result = subprocess.run(command, input="\n;\n".join(statements), capture_output=True, text=True)
    if result.returncode != 0:
        raise Failed(f"psql: {result.stderr.strip()[:500]}")
    return result.stdout.removesuffix("\n").split("\n") if result.stdout else []


def value(url, query):
    lines = psql(url, query)
    return lines[0] if lines else None


def copy_out(url, query):
    """Rows as lists of text, in COPY's text form: NULL is \\N, everything else is escaped and therefore unambiguous."""
    return [line.split("\t") for line in psql(url, f"copy ({query}) to stdout")]


# --- Kafka and Kafka Connect ---------------------------------------------------------------------------------------------


def tool(name, *arguments, check=True):
    result = subprocess.run([os.path.join(STACK_HOME, name), *arguments], capture_output=True, text=True)
    if check and result.returncode != 0:
        raise Failed(f"{name} {' '.join(arguments)}: {(result.stderr + result.stdout).strip()[-500:]}")
    return result.stdout


def log_offsets(topics, when="latest"):
    """End (or start, when="earliest") offsets of topics matching the regular expression: {(topic, partition): offset}."""
    found = {}
    for line in tool("offsets", "--topic", topics, "--time", when, check=False).splitlines():
        if match := re.fullmatch(r"(\S+):(\d+):(\d+)", line):
            found[match[1], int(match[2])] = int(match[3])
    return found


def group_lag(group):
    """As kafka-consumer-groups shows it: {(topic, partition): (committed offset, lag)}, None for a dash."""
    found = {}
    for line in tool("groups", "--describe", "--group", group, "--offsets", check=False).splitlines():
        fields = line.split()
        if len(fields) >= 6 and fields[0] == group:
            number = [None if field == "-" else int(field) for field in (fields[3], fields[5])]
            found[fields[1], int(fields[2])] = tuple(number)
    return found


def group_members(group):
    """Number of partitions of each member, as kafka-consumer-groups shows it, in no order."""
    lines = tool("groups", "--describe", "--group", group, "--members", check=False).splitlines()
    return [int(line.split()[-1]) for line in lines if line.split()[:1] == [group]]


# --- the worker ----------------------------------------------------------------------------------------------------------


class Worker:
    """One `silversink run` process; its log goes on in the same file when it is started again."""

    def __init__(self, name, config, directory, port):
        self.name, self.config, self.port = name, config, port
        self.log = os.path.join(directory, f"worker-{name}.log")
        self.process, self.expected = None, False  # expected: nobody told it to end

    def start(self, *arguments):
        with open(self.log, "ab") as log:
            command = [os.environ["SILVERSINK_BIN"], "run", "--config", self.config, *arguments]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.expected = "--until-caught-up" not in arguments

    def http_status(self, path):
        """Status of GET `path`, None when nothing answers."""
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5).status
        except urllib.error.HTTPError as answer:
            return answer.code
        except OSError:
            return None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9; returns what is left of the process: -9 when it was alive."""
        self.expected = False
        self.process.send_signal(signal.SIGKILL)
        return self.process.wait(10)

    def terminate(self, seconds):
        """SIGTERM; returns the exit code and the time that it took, or None when it did not end in time."""
        self.expected, begun = False, time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds), time.monotonic() - begun

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
