"""Runs on a Dask cluster: the notebooks go to its workers, what became of them comes back.

The workers need the course installed, in the same version, and their own prepared cache; no folder is shared with them. Dask
itself is the optional extra ``cluster``, imported here and only when it is asked for.
"""

import asyncio
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nbformat

import medattack_edu
from medattack_edu.course.lesson_run import LessonRun, run_lesson

ANSWER_LIMIT_S = 10  # for the scheduler to answer, and for a first worker to be there


def run_each_there(plans, note, *, address, settings, timeout):
    """Make every run of `plans` on the cluster, and call ``note(lesson_run)`` here as each is finished.

    A worker that is lost costs nothing but time: another one begins its runs anew. Each worker runs as many notebooks at a
    time as it has threads. If this is left early, runs that wait are cancelled; those that a worker has begun end there.

    Args:
        plans: `Plan` objects.
        address: of the scheduler, as it prints it, e.g. ``tcp://10.0.0.1:8786``.
        settings: environment variables of the kernels, beyond those of the workers.
        timeout: seconds that one cell may take.

    Raises:
        ValueError: if Dask isn't installed, nothing answers at the address, or its workers can't run a lesson.
    """
    with _connected(address) as client:
        from distributed import as_completed

        waiting = {}
        for plan in plans:
            text = plan.path.read_text(encoding="utf-8")
            run = client.submit(_run_there, plan.path.name, text, plan.parameters, settings, timeout, pure=False)
            waiting[run] = plan
        try:
            for run in as_completed(waiting, loop=client.loop):
                note(_came_back(run, waiting[run]))
                run.release()  # else the cluster keeps every notebook to the end
        finally:
            client.cancel(list(waiting))


def _run_there(name, text, parameters, settings, timeout):
    """On a worker: run the notebook of this text."""
    with tempfile.TemporaryDirectory(prefix="medattack-") as folder:
        path = Path(folder, name)
        path.write_text(text, encoding="utf-8")
        return run_lesson(path, settings=settings, parameters=parameters, timeout=timeout)


def _came_back(run, plan):
    """The `LessonRun` of a finished task; one with an error if the cluster couldn't finish it."""
    try:
        lesson = run.result()
        lesson.path = plan.path
        return lesson
    except Exception as error:  # workers that were lost again and again, or a scheduler that is gone
        notebook = nbformat.read(plan.path, as_version=4)
        return LessonRun(plan.path, notebook, plan.parameters, error=f"{type(error).__name__}: {error}")


@contextmanager
def _connected(address):
    """A Dask client whose workers are known to have this version of the course."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            'Dask isn\'t installed. In the folder of the course: .venv/bin/python -m pip install -e ".[cluster]"'
        ) from error
    try:
        asyncio.run(asyncio.wait_for(_knock(address), ANSWER_LIMIT_S))
        client = Client(address, timeout=ANSWER_LIMIT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"No Dask scheduler answers at {address} ({error or 'no answer in time'}). Start one with `dask scheduler`, then a `dask worker "
            "ADDRESS` or more, and give the address that it prints, for example tcp://10.0.0.1:8786."
        ) from error
    with client:
        _check_workers(client, address)
        yield client


async def _knock(address):
    """Raise an error unless a scheduler answers. A client that finds none is no way to ask: thrown away, it hangs."""
    from distributed.core import connect

    answer = await connect(address, timeout=ANSWER_LIMIT_S)
    await answer.close()


def _check_workers(client, address):
    try:
        client.wait_for_workers(1, timeout=ANSWER_LIMIT_S)
    except TimeoutError as error:
        raise ValueError(
            f"The scheduler at {address} has no workers. Start some with: dask worker {address}"
        ) from error
    here = medattack_edu.__version__
    for worker, there in client.run(_version, on_error="return").items():
        if isinstance(there, Exception):
            raise ValueError(f"The worker {worker} can't import medattack_edu ({there}). Install the course on it.")
        if there != here:
            raise ValueError(
                f"The worker {worker} has version {there} of the course, this machine {here}. Install the same."
            )


def _version():
    return medattack_edu.__version__
