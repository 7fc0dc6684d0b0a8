"""The full figures of the attacks by queries: success and questions per class, for every clinic.

    python benchmarks/black_box.py [fundus chest derm] [--images real] [--patients 24] [--budget 5000]

NES, pixel by pixel and in blocks, and Square see probabilities and are held to eps 4/255; the attacks that see labels, to 8/255. A question costs some
4 ms on 2 cores, so this may take hours: stop it when you like, it goes on where it was.
"""

import argparse

from medattack_edu import open_clinic, studies
from medattack_edu.clinics.tasks import CLASSES


def written(estimate, digits=2):
    """An Estimate with its interval, or a dash."""
    if not estimate.n:
        return "-"
    return f"{estimate:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clinics", nargs="*", default=list(CLASSES), help="default: all three")
    parser.add_argument("--images", default="auto", help="auto, phantom, medmnist, real or a path")
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--budget", type=int, default=5000, help="questions a patient")
    parser.add_argument("--attacks", nargs="*", default=list(studies.SETTINGS), choices=list(studies.SETTINGS))
    arguments = parser.parse_args()
    for name in arguments.clinics:
        clinic = open_clinic(name, arguments.images)
        clinic.banner()
        for attack in arguments.attacks:
            (asked,) = studies.queries(clinic, n=arguments.patients, budget=arguments.budget, names=(attack,)).values()
            print(
                f"\n{attack}, eps {255 * asked.eps:g}/255, at most {asked.budget:,} questions, {len(asked.labels)} patients"
            )
            for label, words in ((None, "all"), *enumerate(clinic.classes)):
                success, median = written(asked.success(label=label)), written(asked.median(label), 0)
                print(f"  {words:<16} success {success:<24} median questions of the successes {median}", flush=True)


if __name__ == "__main__":
    main()
