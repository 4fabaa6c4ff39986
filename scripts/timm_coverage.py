"""Which networks can be probes? Hold ``fisher.diagonal`` against plain autograd over timm's architectures.

Random weights, the smallest images that a network takes, a few samples, double precision. The oracle squares the gradient
of each sample by plain autograd, on two copies of the sample (torch has kernels that are wrong for a batch of one), along
one random direction in logit space; the package gets the same direction. One row a network::

    .venv/bin/python scripts/timm_coverage.py book/runs/timm_coverage.csv --minutes 10

The file is written after each network and a second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from t2v import fisher

FIELDS = (
    "model",
    "family",
    "pixels",
    "verdict",
    "error",
    "taken",
    "left_out",
    "slow",
    "probe_layers",
    "reason",
)
SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299)
TOLERANCE = 1e-8

#: Small networks of each family, those first that fold windows or tokens into the batch.
MODELS = """
swin_tiny_patch4_window7_224 maxvit_pico_rw_256 maxvit_rmlp_pico_rw_256 mobilevit_xxs
coatnet_rmlp_nano_rw_224 davit_tiny tiny_vit_5m_224 vit_relpos_small_patch16_224 mvitv2_tiny
convnext_atto vit_tiny_patch16_224 deit_tiny_patch16_224 beit_base_patch16_224 resnet18
tf_efficientnet_lite0 regnetx_002 mixer_s32_224 poolformer_s12 xcit_nano_12_p16_224 levit_128s
cait_xxs24_224 pvt_v2_b0 twins_svt_small nf_regnet_b0 gcvit_xxtiny edgenext_xx_small focalnet_tiny_srf
hgnetv2_b0 densenet121 inception_v3 dla34 hrnet_w18_small ghostnet_050 mobilenetv2_035
mobilenetv3_small_050 rexnetr_100 repvgg_a0 volo_d1_224 eva02_tiny_patch14_224 efficientvit_m0
efficientvit_b0 tnt_s_legacy_patch16_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 sam2_hiera_tiny
csatv2 coatnet_nano_rw_224 maxvit_tiny_tf_224 mobilevitv2_050 crossvit_tiny_240 convit_tiny pit_ti_224
hiera_tiny_224 nest_tiny coat_tiny visformer_tiny efficientformer_l1 efficientformerv2_s0 fastvit_t8
nextvit_small resmlp_12_224 gmlp_ti16_224 gmixer_12_224 convmixer_768_32 sequencer2d_s mambaout_femto
starnet_s050 repvit_m0_9 rdnet_tiny mobileone_s0 mobilenetv4_conv_small_035 mnasnet_050 mixnet_s
fbnetc_100 tf_efficientnetv2_b0 efficientnet_b0 lcnet_035 hardcorenas_a semnasnet_075 tinynet_e
spnasnet_100 regnety_002 resnext26ts seresnext26t_32x4d ecaresnet26t skresnet18 res2net50_14w_8s
resnest14d resnet26t resnetv2_18 resnetv2_50x1_bit nf_resnet26 eca_nfnet_l0 test_nfnet bat_resnext26ts
halonet26t botnet26t_256 lambda_resnet26t cspresnet50 cspdarknet53 darknet53 selecsls42 vovnet39a
ese_vovnet19b_dw vgg11 vgg11_bn xception41 legacy_xception inception_v4 inception_resnet_v2
inception_next_atto dpn48b tresnet_m seresnet18 legacy_seresnet18 gernet_s convnextv2_atto
deit3_small_patch16_224 samvit_base_patch16 vit_small_patch14_dinov2 vit_pe_core_tiny_patch16_384
vit_dlittle_patch16_reg1_gap_256 vitamin_small_224 hieradet_small shvit_s1 swiftformer_xs tf_mixnet_s
vit_srelpos_small_patch16_224 vit_tiny_r_s16_p8_224 flexivit_small test_vit test_resnet test_efficientnet
test_convnext test_byobnet test_mambaout ghostnetv2_100 ghostnetv3_050 cpubone_nano cspnext_tiny
efficientvim_m1 fasternet_t0 iformer_s lcnetv2_small lowformer_b0 repghostnet_050 naflexvit_base_patch16_gap
qwen3_vit_88m mobilenetv5_300m gemma4_vit_167m pnasnet5large nasnetalarge
""".split()  # noqa: SIM905


def smallest(name: str) -> tuple[nn.Module, int]:
    """Build a network with three classes and find the smallest square image that goes through it."""
    last: Exception | None = None
    own = int(timm.get_pretrained_cfg(name).input_size[1]) if timm.get_pretrained_cfg(name) else 224
    for pixels in sorted({*(s for s in SIZES if s <= own), own}):
        for options in ({}, {"img_size": pixels}):
            try:
                torch.manual_seed(0)
                model = timm.create_model(name, num_classes=3, **options).eval()
                with torch.no_grad():
                    model(torch.randn(2, 3, pixels, pixels))
                return model, pixels
            except Exception as error:  # each family refuses a size in its own way
                last = error
    raise RuntimeError(f"no size goes through: {type(last).__name__}: {last}")


def stir(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every weight off the zeros and ones of its start, behind which a wrong gradient could hide."""
    g = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(
                torch.randn(p.shape, generator=g, dtype=p.dtype)
                * (0.05 if p.ndim < 2 else 0.1 * float(p.std(unbiased=False)))
            )
    return model


@contextmanager
def one_direction(vectors: Tensor) -> Iterator[None]:
    """Let the package pull back given vectors, one for each sample, in place of its own."""
    own = fisher._logit_vectors

    def given(logits: Tensor, *_: Any) -> Iterator[Tensor]:
        yield vectors[: len(logits)].to(logits)

    fisher._logit_vectors = given
    try:
        yield
    finally:
        fisher._logit_vectors = own


def oracle(model: nn.Module, x: Tensor, vectors: Tensor, names: list[str]) -> dict[str, Tensor]:
    """Return the mean squared gradient along each sample's vector, by plain autograd."""
    parameters = [model.get_parameter(name).requires_grad_(True) for name in names]
    total = [torch.zeros_like(p) for p in parameters]
    for sample, v in zip(x, vectors, strict=True):
        logits = model(torch.stack([sample, sample]))[0]
        for t, g in zip(total, torch.autograd.grad(logits, parameters, v, allow_unused=True), strict=True):
            if g is not None:
                t += g**2 / len(x)
    return {name: t.detach() for name, t in zip(names, total, strict=True)}


def judge(model: nn.Module, x: Tensor, seed: int = 1) -> dict[str, object]:
    """Compare the package with the oracle, weight by weight and filter by filter; returns a row's entries."""
    v = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    v -= v.mean(1, keepdim=True)
    try:
        found = fisher.supported(model, x)
    except ValueError as error:
        return {"verdict": "refused", "reason": str(error)}
    names = list(found.taken)
    with one_direction(v):
        whole = fisher.diagonal(model, x, layers=names)
        pooled = fisher.diagonal(model, x, layers=names, pool="filter")
    error = max(
        max(_error(whole[name], want), _error(pooled[name], _pool(model, name, want)))
        for name, want in oracle(model, x, v, names).items()
    )
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    probe = [f"{n}.weight" for n, m in model.named_modules() if isinstance(m, kinds)]
    return {
        "verdict": "exact" if error <= TOLERANCE else "wrong",
        "error": f"{error:.1e}",
        "taken": len(names),
        "left_out": len(found.left_out),
        "slow": len(found.slow),
        "probe_layers": f"{len(set(names) & set(probe))}/{len(probe)}",
        "reason": "; ".join(sorted(found.left_out))[:200],
    }


def _pool(model: nn.Module, name: str, t: Tensor) -> Tensor:
    if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding):
        return t.mean(0)
    return t.flatten(1).mean(1) if t.ndim > 1 else t


def _error(got: Tensor, want: Tensor) -> float:
    """Return the largest difference, relative to the largest value; gradients of 1e-15 are zero but for rounding."""
    return float((got - want).abs().max() / max(float(want.abs().max()), 1e-20))


def run(name: str, samples: int = 3) -> dict[str, object]:
    """Return the row of a network."""
    row: dict[str, object] = {"model": name, "family": family(name)}
    try:
        model, pixels = smallest(name)
        g = torch.Generator().manual_seed(0)
        x = torch.randn(samples, 3, pixels, pixels, generator=g, dtype=torch.float64)
        return {**row, "pixels": pixels, **judge(stir(model), x)}
    except Exception as error:  # a network that does not run in double precision, or with three classes
        return {**row, "verdict": "not run", "reason": f"{type(error).__name__}: {error}"[:200]}


def family(name: str) -> str:
    """Return the file of timm that builds a network."""
    return str(timm.model_entrypoint(name).__module__.rpartition(".")[2]) if timm.is_model(name) else ""


def read(path: Path) -> list[dict[str, object]]:
    """Return the rows of an earlier call."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Write the table beside the old one, and put it in its place."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)


def main() -> None:
    """Go on with the table until every network is in it, or the time is over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--minutes", type=float, default=600.0, help="CPU minutes after which to stop")
    options = parser.parse_args()
    rows = read(options.out)
    done = {row["model"] for row in rows}
    start = time.process_time()
    for name in options.models:
        if name in done or not timm.is_model(name):
            continue
        if time.process_time() - start > 60 * options.minutes:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            began = time.process_time()
            rows.append(run(name))
        write(options.out, rows)
        last = {key: rows[-1].get(key, "") for key in ("model", "verdict", "error", "slow", "probe_layers")}
        print(*last.values(), f"{time.process_time() - began:.1f} s", rows[-1].get("reason", ""), flush=True)
    verdicts = [str(row["verdict"]) for row in rows]
    print({kind: verdicts.count(kind) for kind in sorted(set(verdicts))}, f"of {len(rows)}")


if __name__ == "__main__":
    main()
