"""What no file of a model says: its licence in words, and how its authors run it. By the last part of a hub id."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "nobody says here whether their pictures may be sold: read the licence first"


@dataclass(frozen=True)
class Licence:
    name: str
    sale: str
    """whether pictures of the weights may be sold: the end of the sentence `The weights are under …:`"""


APACHE = Licence("Apache-2.0", "pictures may be sold")
FLUX_NC = Licence(
    "FLUX non-commercial license",
    "running them to earn money needs another licence, so a service may not sell pictures under this one",
)
STABILITY = Licence(
    "Stability AI Community License",
    "pictures may be sold by those who earn less than 1,000,000 USD a year; others need another licence",
)

LICENCES: dict[str, Licence] = {
    "apache-2.0": APACHE,
    "mit": Licence("MIT", "pictures may be sold"),
    "flux-1-dev-non-commercial-license": FLUX_NC,
    "flux-dev-non-commercial-license": FLUX_NC,
    "flux-non-commercial-license": FLUX_NC,
    "stabilityai-ai-community": STABILITY,
}
"""Licences by the names under which model cards state them."""


@dataclass(frozen=True)
class Known:
    licence: Licence
    steps: int
    guidance: float | None
    """default; null where the model takes none"""


KNOWN: dict[str, Known] = {
    "flux.1-dev": Known(FLUX_NC, 50, 3.5),
    "flux.1-krea-dev": Known(FLUX_NC, 28, 4.5),
    "flux.1-schnell": Known(APACHE, 4, None),
    "stable-diffusion-3-medium-diffusers": Known(STABILITY, 28, 7.0),
    "stable-diffusion-3.5-medium": Known(STABILITY, 40, 4.5),
    "stable-diffusion-3.5-large": Known(STABILITY, 28, 3.5),
    "stable-diffusion-3.5-large-turbo": Known(STABILITY, 4, 1.0),
    "flux.2-klein-4b": Known(APACHE, 4, None),
    "flux.2-klein-9b": Known(FLUX_NC, 4, None),
    "flux.2-klein-base-4b": Known(APACHE, 50, 4.0),
    "flux.2-klein-base-9b": Known(FLUX_NC, 50, 4.0),
}
