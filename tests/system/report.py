"""What the test prints: phases, checks, and the summary at the end."""

import time


class Report:
    """Checks and phases, printed as they come and once more at the end."""

    def __init__(self, seed):
        self.seed, self.checks, self.phases, self.begun = seed, [], [], time.monotonic()

    def phase(self, name):
        self.close_phase()
        self.phases.append([name, time.monotonic(), None])
        print(f"\n[{time.monotonic() - self.begun:5.0f} s] {name}")

    def close_phase(self):
        if self.phases and self.phases[-1][2] is None:
            self.phases[-1][2] = time.monotonic()

    def check(self, what, ok, detail=""):
        self.checks.append((what, bool(ok)))
        print(f"  {'ok    ' if ok else 'FAILED'} {what}{': ' if str(detail) else ''}{detail}")

    def none(self, what, problems):
        self.check(what, not problems, "; ".join(problems[:5]))

    def summary(self):
        self.close_phase()
        print("\nphase" + " " * 47 + "seconds")
        for name, begun, ended in self.phases:
            print(f"{name:<52}{ended - begun:7.1f}")
        print(f"{'all':<52}{time.monotonic() - self.begun:7.1f}\n")
        failed = [what for what, ok in self.checks if not ok]
        for what in failed:
            print(f"FAILED {what}")
        print(f"seed {self.seed}\n{len(self.checks) - len(failed)} passed, {len(failed)} failed")
