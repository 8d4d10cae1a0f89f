"""A program in the place of llama-bench: it answers with a recorded run, made over into what is asked.

The recording is of llama-bench as it comes with llama-cpp-python 0.3.36, with the bundled model.
"""

import json
import sys
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "unit/host/bench/recorded/llama-bench.json"
# What it can be asked, as the real one does; flash attention is slower with it, and one batch size fails.
PROGRAM = """#!{python}
import json, sys
arguments = sys.argv[1:]
if arguments == ["--help"]:
    print("usage: llama-bench [options]")
    print("  -p, --n-prompt <n>  (default: 512)")
    print("  -n, --n-gen <n>  (default: 128)")
    print("{repack}")
    sys.exit()
known = set("-m -p -n -t -fa -b -ub -ngl -r -o {repack}".split())
given = dict(zip(arguments[::2], arguments[1::2]))
for name in given:
    if name not in known:
        print("error: invalid parameter for argument: " + name, file=sys.stderr)
        sys.exit(1)
if given["-b"] == "128":
    print("error: failed to create context", file=sys.stderr)
    sys.exit(1)
if given["-o"] != "json" or given["-r"] != "1":
    sys.exit("error: this stands in for one repetition as JSON")
prompt, _, tokens = json.load(open("{recorded}"))
slow = 2 if given["-fa"] == "1" else 1
def row(like, n_prompt, n_gen):
    each = like["avg_ns"] // (like["n_prompt"] + like["n_gen"])
    taken = each * (n_prompt + n_gen) * slow
    return like | dict(n_prompt=n_prompt, n_gen=n_gen, avg_ns=taken, samples_ns=[taken])
rows = [row(prompt, int(count), 0) for count in given["-p"].split(",")]
print("warning: asserts enabled, performance may be affected", file=sys.stderr)
print(json.dumps(rows + [row(tokens, 0, int(given["-n"]))]))
with open(sys.argv[0] + ".asked", "a") as file:
    print(json.dumps(given), file=file)
"""


def write_llama_bench(folder: Path, repack: bool = True) -> Path:
    """Write the program; repack: whether it has the option, which older ones have not."""
    path = folder / "llama-bench"
    option = "--repack" if repack else ""
    path.write_text(PROGRAM.format(python=sys.executable, recorded=RECORDED, repack=option))
    path.chmod(0o755)
    return path


def recorded() -> list[dict[str, Any]]:
    """Return the recorded run: a prompt of 128 tokens, one of 512, and 48 tokens."""
    return json.loads(RECORDED.read_text())


def asked(program: Path) -> list[dict[str, str]]:
    """Return what the program was asked and answered, by option, in order."""
    return [json.loads(line) for line in Path(f"{program}.asked").read_text().splitlines()]
