"""`frown doctor`: what is installed, or what a model is."""

from __future__ import annotations

from frown.cli.options import AsJson


def doctor(*, model: str | None = None, json_: AsJson = False) -> None:
    """Say what is installed and what is missing for which extra; with --model, whether a model can be trained here.

    Parameters
    ----------
    model
        A Hugging Face causal-LM folder, a folder of LoRA adapters, a GGUF file, a hub name, or lab:NAME: whether chat
        template, end tokens, weights and context are as training needs them, how fast it is on this machine, and the
        settings that a run would choose.
    """
    from frown.cli.output import print_json

    if model is not None:
        from frown.plan.model_doctor import examine_model
        from frown.report.doctor import model_lines

        report = examine_model(model)
        if json_:
            print_json(report.as_json())
        else:
            print("\n".join(model_lines(report)))
        return

    from frown.plan.doctor import examine
    from frown.report.doctor import doctor_lines

    findings = examine()
    if json_:
        print_json(findings)
    else:
        print("\n".join(doctor_lines(findings)))
