"""Run a command and write what it took to a JSON file: `python measured.py RESULT.json LIMIT_S COMMAND...`.

A process of its own, because the peak memory that Linux reports for a child is never less than its parent's: measured
from a test process that has PyTorch loaded, every command would seem to need as much.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

if __name__ == "__main__":
    result, limit, *command = sys.argv[1:]
    start = time.perf_counter()
    child = subprocess.Popen(command, start_new_session=True)
    timer = threading.Timer(float(limit), os.killpg, (child.pid, signal.SIGKILL))
    timer.start()
    _, status, usage = os.wait4(child.pid, 0)  # of the child and all that it waited for: the notebook's kernel
    timer.cancel()
    to_bytes = 1 if sys.platform == "darwin" else 1024
    with open(result, "w") as file:
        json.dump(
            {
                "wall_s": time.perf_counter() - start,
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "peak_bytes": usage.ru_maxrss * to_bytes,
            },
            file,
        )
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)
