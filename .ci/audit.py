"""Asks for known weaknesses of the packages in use, with pip-audit, and says how many of them were really looked up.

pip-audit itself ends with "No known vulnerabilities found" and code 0 where its service knows none of the packages, as
behind a mirror that only has files. Here that is told as what it is. Exit code 1: a weakness without an exception.
``AUDIT_REQUIRED=1``: also if nothing could be looked up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

#: ids of weaknesses that do not concern this project, with the reason; none at present
EXCEPTIONS: dict[str, str] = {}
COMMAND = ["-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off", "--format", "json"]


def verdict(report: dict[str, Any] | None, required: bool = False) -> tuple[int, list[str]]:
    """Exit code and lines for a report of pip-audit; None: it made none."""
    packages = report["dependencies"] if report else []
    looked_up = [package for package in packages if "vulns" in package]
    if not looked_up:
        reason = f"the service knows none of {len(packages)} packages" if packages else "the service does not answer"
        return int(required), [f"audit: NOT DONE, {reason}; run it again where the public package index is reached"]
    lines, failed = [], False
    for package in looked_up:
        for each in package["vulns"]:
            known = {each["id"], *each.get("aliases", ())} & EXCEPTIONS.keys()
            failed |= not known
            note = (
                f"excepted: {EXCEPTIONS[known.pop()]}"
                if known
                else f"fixed in {', '.join(each['fix_versions']) or '-'}"
            )
            lines.append(f"audit: {package['name']} {package['version']}: {each['id']} ({note})")
    lines.append(f"audit: {len(looked_up)} of {len(packages)} packages looked up, {len(lines)} weaknesses")
    return int(failed), lines


def main() -> int:
    """Run pip-audit and tell what it found."""
    done = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = None
    code, lines = verdict(report, os.environ.get("AUDIT_REQUIRED") == "1")
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
