"""Compares a wheel and an sdist with the files that git tracks: REPOSITORY WHEEL SDIST."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

repository, wheel, sdist = sys.argv[1:]
tracked = subprocess.run(
    ["git", "-C", repository, "ls-files"], capture_output=True, text=True, check=True
).stdout.splitlines()
links = {"reason_env/agents", "reason_env/wrappers"}
packages = {
    name if name.startswith("reason_env/") else f"reason_env/{name}"
    for name in tracked
    if name.startswith(("reason_env/", "agents/", "wrappers/")) and name not in links
}
in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
assert in_wheel == packages, sorted(in_wheel ^ packages)[:10]
with tarfile.open(sdist) as archive:
    in_sdist = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
# Only what concerns the repository itself, or names a folder without sources, is left out.
left_out = {name for name in tracked if name not in in_sdist} - links
assert all(name.startswith(".") for name in left_out), sorted(left_out)[:10]
print(f"{Path(wheel).name}: {len(in_wheel)} files; {Path(sdist).name}: {len(in_sdist)} files")
