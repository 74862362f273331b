"""Claims of CW-VAE's paper, and criteria for them on vector frames, set before the first run.

A criterion is about means over seeds, or about a rank correlation over all seeds.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.video.inspection import SIGHTED
from benchmarks.paper.systems import FACTORS, MIDDLE, RSSM, SPEEDS, System, clockwork
from benchmarks.paper.world import CHANCE
from benchmarks.trial.scores import order

SURE = 0.05  # largest p of a rank correlation
NEAR_CHANCE = 0.05  # distance from chance of the share of identities right with the top blind
UNCHANGED = 1.05  # error of places with the top blind, divided by that with all levels seeing
AS_CHEAP = 1.25  # cost of an update, divided by RSSM's; divided by NoTmpAbs's, the limit is 1
FLAT = 1.2  # nats by which the top's prior entropy may drift: 0.1 per latent
BLIND_TOP = "level 3 blind"
COST = "cost"

Cells = Mapping[str, Mapping[str, Any]]  # results by the cell's name


class Verdict(NamedTuple):
    """The result of checking a claim."""

    text: str
    held: bool


def longer(cells: Cells) -> Verdict:
    """The larger the factor, the more frames until fewer than half of the identities are right."""
    frames = [np.array(cells[clockwork(k).name]["frames_to_half"], float) for k in FACTORS]
    rho, p = order(FACTORS, [[x] for x in frames])
    told = ", ".join(f"{k}: {np.median(x):.0f}" for k, x in zip(FACTORS, frames, strict=True))
    text = (
        f"frames until identity falls below half, by factor {told} (median); ρ {rho:.2f}, p {p:.4f}"
    )
    return Verdict(text, rho > 0 and p < SURE)


def falling(cells: Cells) -> Verdict:
    """KL falls with the level, at every factor above 1."""
    kl = {k: kl_of(cells, clockwork(k)) for k in FACTORS[1:]}
    told = "; ".join(f"{k}: {', '.join(f'{x:.1f}' for x in levels)}" for k, levels in kl.items())
    held = all((np.diff(levels) < 0).all() for levels in kl.values())
    return Verdict(f"nats by level, by factor {told}", held)


def faster(cells: Cells) -> Verdict:
    """The upper levels' share of KL falls as balls get faster."""
    kl = [np.array(cells[clockwork(MIDDLE, v).name]["kl"]) for v in SPEEDS]
    shares = [x[:, 1:].sum(1) / x.sum(1) for x in kl]
    rho, p = order(SPEEDS, [[x] for x in shares])
    told = ", ".join(f"{v:g}: {x.mean():.1%}" for v, x in zip(SPEEDS, shares, strict=True))
    text = f"upper levels' share of KL by speed {told}; ρ {rho:.2f}, p {p:.4f}"
    return Verdict(text, rho < 0 and p < SURE)


def blind(cells: Cells) -> Verdict:
    """With the top blind, identities are at chance, and places are as accurate as before."""
    summary = cells[clockwork(MIDDLE).name]["summary"]
    sees, lacks = (summary[view] for view in (SIGHTED, BLIND_TOP))
    identity = [float(np.mean(x["identity_later"])) for x in (sees, lacks)]
    place = [float(np.mean(x["place"])) for x in (sees, lacks)]
    text = (
        f"with the top blind identities right, 100 frames and more ahead, {identity[0]:.2f} → "
        f"{identity[1]:.2f} (chance {CHANCE:.2f}); error of places over the first 20 frames "
        f"{place[0]:.3f} → {place[1]:.3f}"
    )
    guessed = abs(identity[1] - CHANCE) <= NEAR_CHANCE < identity[0] - CHANCE
    return Verdict(text, guessed and place[1] <= UNCHANGED * place[0])


def cheap(cells: Cells) -> Verdict:
    """An update costs no more than NoTmpAbs's, and about as much as RSSM's."""
    seconds = cells[COST]["seconds_per_update"]
    own, flat, rssm = (seconds[s.model] for s in (clockwork(MIDDLE), clockwork(1), RSSM))
    text = f"CPU-seconds of an update: {own / flat:.2f} of NoTmpAbs's, {own / rssm:.2f} of RSSM's"
    return Verdict(text, own <= flat and own <= AS_CHEAP * rssm)


def certain(cells: Cells) -> Verdict:
    """The top's prior remains equally certain over 1 000 frames. TALD Figure 10."""
    drift = float(np.mean(np.array(cells[clockwork(MIDDLE).name]["entropy_drift"])[:, -1]))
    text = f"the top's prior entropy, last 100 frames over first 100: {drift:+.2f} nats"
    return Verdict(text, abs(drift) <= FLAT)


def kl_of(cells: Cells, system: System) -> np.ndarray:
    """KL by level, [L] nats, mean over seeds."""
    return np.array(cells[system.name]["kl"]).mean(0)


class Claim(NamedTuple):
    """A claim, the names of the cells that it needs, and its check."""

    text: str
    needs: tuple[str, ...]
    check: Callable[[Cells], Verdict]


ALONE = (clockwork(MIDDLE).name,)
CLAIMS = (
    Claim(
        "(a) The larger the factor, the longer more than half of the identities are right",
        tuple(clockwork(k).name for k in FACTORS),
        longer,
    ),
    Claim("(b) KL falls with the level", tuple(clockwork(k).name for k in FACTORS[1:]), falling),
    Claim(
        "(c) The faster the balls, the less of KL is the upper levels'",
        tuple(clockwork(MIDDLE, v).name for v in SPEEDS),
        faster,
    ),
    Claim("(d) The top holds the identities, and not the places", ALONE, blind),
    Claim("(e) An update costs no more than NoTmpAbs's, and about RSSM's", (COST,), cheap),
    Claim("(f) The top's prior stays as certain as it was", ALONE, certain),
)


def verdicts(cells: Cells) -> list[str]:
    """Every claim with its result, as lines of Markdown."""
    lines = []
    for claim in CLAIMS:
        if set(claim.needs) <= set(cells):
            found = claim.check(cells)
            said = f"**{'held' if found.held else 'did not hold'}**: {found.text}."
        else:
            said = "not run yet."
        lines.append(f"- {claim.text}: {said}")
    return lines
