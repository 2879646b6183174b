#!/bin/sh
# flux-dev on two GPUs of one host by ulysses against one GPU: bf16 and fp8dqrow, compiled by region.
#
#   sh benchmarks/ranks_h200.sh OUT          (PYTHON=python3, STEPS=28; RING=1 adds a short eager call by ring attention)
#
# The two baselines run at the same time, one on each GPU; then both GPUs record each scheme. About four minutes on two H200.
# In OUT: a run directory each, its log, and speedup.txt. Exit code 1 where a run failed; the others are there all the same.
set -u
out=$1
python=${PYTHON:-python3}
steps=${STEPS:-28}
failed=0
mkdir -p "$out"
# NVLink multicast stays off: on a shared host it can take GPUs out of service, and an all-to-all does not use it.
export NCCL_NVLS_ENABLE=0 OMP_NUM_THREADS=8
export TORCHINDUCTOR_CACHE_DIR="$out/.inductor"
common="--steps $steps --trace-steps 2 --repeats 2 --compile regional --phases timed,traced,places"

alone() { # GPU, scheme
    CUDA_VISIBLE_DEVICES=$1 timeout 150 "$python" -m profiler record flux-dev --scheme "$2" $common -o "$out/$2-1" >"$out/$2-1.log" 2>&1
}

together() { # name, kind, options
    name=$1 kind=$2
    shift 2
    timeout 150 "$python" -m torch.distributed.run --standalone --nproc-per-node 2 -m profiler record flux-dev --parallel "$kind" \
        "$@" -o "$out/$name" >"$out/$name.log" 2>&1 || { failed=1; tail -n 30 "$out/$name.log"; }
}

alone 0 bf16 & first=$!
alone 1 fp8dqrow & second=$!
wait $first || { failed=1; tail -n 30 "$out/bf16-1.log"; }
wait $second || { failed=1; tail -n 30 "$out/fp8dqrow-1.log"; }
for scheme in bf16 fp8dqrow; do
    together "$scheme-2" ulysses --scheme $scheme $common
done
if [ -n "${RING:-}" ]; then
    together bf16-ring-2 ring --scheme bf16 --steps 4 --trace-steps 2 --repeats 1 --warmup 0 --phases timed,traced
fi
rm -rf "$out/.inductor"

"$python" - "$out" <<'END' | tee "$out/speedup.txt"
import json, statistics, sys
from pathlib import Path

def seconds(name):
    path = Path(sys.argv[1], name, "run.json")
    run = json.loads(path.read_text()) if path.exists() else {}
    if run.get("status") != "ok":
        print(f"{name}: {run.get('status', 'no run')}: {(run.get('failure') or {}).get('message')}")
        return None
    peak = max(each["peak_bytes"] or 0 for each in run["phases"] if each["name"] == "timed") / 2**30
    found = statistics.median(run["timed"]["iterations_ns"]) / 1e9
    print(f"{name}: {found:.3f} s a call of {run['timed']['steps']} steps, peak {peak:.2f} GiB on rank 0")
    return found

for scheme in ("bf16", "fp8dqrow"):
    one, two = seconds(f"{scheme}-1"), seconds(f"{scheme}-2")
    if one and two:
        print(f"{scheme}: {one / two:.2f} times as fast on two GPUs")
END
exit $failed
