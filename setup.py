"""Lists the packages. Two lie outside `reason_env/`; a build finds them without symbolic links."""

from setuptools import find_packages, setup

OUTSIDE = ("agents", "wrappers")

setup(
    packages=[
        "reason_env",
        *(
            f"reason_env.{name}"
            for name in find_packages("reason_env")
            if not name.startswith(OUTSIDE)
        ),
        *(f"reason_env.{name}" for name in OUTSIDE),
        *(f"reason_env.{room}.{name}" for room in OUTSIDE for name in find_packages(room)),
    ]
)
