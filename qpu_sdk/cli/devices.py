"""The commands devices, emulate and doctor."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import devices, noises, platforms
from .printing import Json, print_rows, show_values, tell, tell_json

if TYPE_CHECKING:
    from ..devices.base import DeviceSpec


def devices_command(
    device: Annotated[
        str | None, typer.Argument(help="A device to open and describe, such as local:slos.", autocompletion=devices)
    ] = None,
    json_: Json = False,
) -> None:
    """List the kinds of device that can be opened, or describe one."""
    from ..devices.registry import describe_devices, open_device

    if device is not None:
        spec = open_device(device, seed=0).spec
        if json_:
            tell_json(asdict(spec))
        else:
            show_values(_told(spec), False)
        return
    rows = describe_devices()
    if json_:
        tell_json([{"device": name, "what": what} for name, what in rows])
    else:
        print_rows(rows)


def _told(spec: DeviceSpec) -> dict[str, object]:
    """What a device says of itself, for people; what it has not is left out."""
    told = {f.name: getattr(spec, f.name) for f in fields(spec)}
    told["rates"] = f"{spec.rates.credits_per_shot:g} credits a shot, {spec.rates.seconds_per_setting:g} s a setting"
    told["record_names"] = ", ".join(spec.record_names)
    return {name: value for name, value in told.items() if value not in (None, "", {})}


def emulate_command(
    platform: Annotated[
        list[str] | None,
        typer.Option(
            help="qpu:NAME or sim:NAME, repeatable; none: belenos, ascella and sim:ideal.", autocompletion=platforms
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: any that is free.")] = 8080,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the counts.")] = 0,
    noise: Annotated[
        str | None,
        typer.Option(
            help="ideal, belenos, belenos-3, belenos-published, key=value,...; none: by name.", autocompletion=noises
        ),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="A calibration record as the hidden truth instead.")] = None,
    faults: Annotated[Path | None, typer.Option(help="A TOML of faults to inject.")] = None,
    seconds_per_setting: Annotated[float | None, typer.Option(help="Simulated; none: 15 on qpu:*, 1 on sim:*.")] = None,
    queue: Annotated[float, typer.Option(help="Simulated seconds that every job waits.")] = 0.0,
    job_limit: Annotated[float | None, typer.Option(help="Simulated seconds after which a job is cut short.")] = None,
    time_scale: Annotated[float, typer.Option(help="Simulated seconds in one second.")] = 1000.0,
    max_waiting: Annotated[int | None, typer.Option(help="Jobs that may wait; none: 1 on qpu:*, 10 on sim:*.")] = None,
    credits: Annotated[float | None, typer.Option(help="Of the account; none: without limit.")] = None,
    payload: Annotated[int | None, typer.Option(help="Payload version of the platforms, 1 or 2.")] = None,
) -> None:
    """Serve Quandela Cloud on this machine, to rehearse for free. Ctrl-C ends it, and its jobs are gone then.

    It takes only the token that it prints, or that of QPU_SDK_EMULATOR_TOKEN. A line tells of each job.
    """
    from ..devices.noise_text import parse_noise
    from ..emulator.faults import Faults
    from ..emulator.server import serve
    from ..emulator.settings import PLATFORMS, CloudSettings

    chosen, drawn = os.environ.get("QPU_SDK_EMULATOR_TOKEN", "").strip(), f"rehearsal-{secrets.token_hex(12)}"
    truth = parse_noise(noise) if noise is not None else None
    if record is not None:
        from ..calibration.store import load_record

        truth = load_record(record).noise()
    settings = CloudSettings(
        seed=seed,
        platforms=tuple(platform) if platform else PLATFORMS,
        noise=truth,
        seconds_per_setting=seconds_per_setting,
        queue_s=queue,
        job_limit_s=job_limit,
        time_scale=time_scale,
        max_waiting=max_waiting,
        credits=credits,
        payload_version=payload,
        tokens=frozenset({chosen or drawn}),
    )
    loaded = Faults.load(faults) if faults is not None else None
    token = "$QPU_SDK_EMULATOR_TOKEN" if chosen else drawn
    serve(settings, loaded, port=port, ready=lambda url: _say_where(url, settings.platforms, token), told=_say)


def _say_where(url: str, platforms: Sequence[str], token: str) -> None:
    tell(f"Quandela Cloud, emulated, at {url} until Ctrl-C. In another terminal:")
    tell(f"  export PCVL_CLOUD_TOKEN={token}")
    tell(f'  curl -s -H "Authorization: Bearer $PCVL_CLOUD_TOKEN" {url}/emulator/jobs    # all its jobs')
    tell("and one of these as the device:")
    for name in platforms:
        tell(f"  'quandela:{name}?url={url}'")


def _say(line: str) -> None:
    with suppress(OSError):  # a reader that is gone is no reason to fail a client
        tell(line)


def doctor_command(json_: Json = False) -> None:
    """Check this installation: versions, engines, data, and that simulation and sampling work."""
    from .doctor import diagnose

    rows = diagnose()
    if json_:
        tell_json([{"check": c, "ok": ok, "detail": d} for c, ok, d in rows])
    else:
        print_rows([(("ok   " if ok else "FAIL ") + check, detail) for check, ok, detail in rows])
    if not all(ok for _, ok, _ in rows):
        raise typer.Exit(1)
