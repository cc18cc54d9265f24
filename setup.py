"""Lists the packages. Two lie outside `reason_env/`; a build finds them without symbolic links."""

from setuptools import find_packages, setup

BESIDE = ("agents", "wrappers")

setup(
    packages=[
        "reason_env",
        *(
            f"reason_env.{name}"
            for name in find_packages("reason_env")
            if not name.startswith(BESIDE)
        ),
        *(f"reason_env.{name}" for name in BESIDE),
        *(f"reason_env.{room}.{name}" for room in BESIDE for name in find_packages(room)),
    ]
)
