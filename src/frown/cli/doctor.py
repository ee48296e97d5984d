"""`frown doctor`: what is installed."""

from __future__ import annotations

from frown.cli.options import AsJson


def doctor(*, json_: AsJson = False) -> None:
    """Say what is installed, and what is missing for which extra."""
    from frown.cli.output import print_json
    from frown.plan.doctor import examine
    from frown.report.doctor import doctor_lines

    findings = examine()
    if json_:
        print_json(findings)
    else:
        print("\n".join(doctor_lines(findings)))
