#!/bin/bash
# The quickstart of the paper scale on a Slurm cluster, and PPO after it: bash examples/slurm/submit.sh
# Start it in the folder where runs/ shall be, on a disk that all nodes share and that has file locks.
# Every line may be repeated: what is finished is left alone, and what was killed goes on.
set -euo pipefail
here=$(dirname "$0")

# A job starts when those of "after" have ended well; --parsable prints the number of a job.
after() { sbatch --parsable --dependency="afterok:$1" "${@:2}"; }

# Problems: a minute on the login node, which must reach the Hugging Face Hub.
e2h split --scale paper

# The generator, on two nodes.
sft=$(sbatch --parsable --nodes=2 "$here/train.sbatch" e2h sft --scale paper)

# Samples of easy problems for the reward model: eight shards, one per array task, then the merge.
drawn=$(after "$sft" --array=1-8 "$here/shard.sbatch" e2h sample --stage rm-samples --scale paper)
merged=$(after "$drawn" "$here/one.sbatch" e2h sample --stage rm-samples --scale paper --merge)

# Training rows from these samples, and the reward model on two nodes.
rows=$(after "$merged" "$here/one.sbatch" e2h supervise --scale paper)
rm=$(after "$rows" --nodes=2 "$here/train.sbatch" e2h train-rm --scale paper)

# 1,024 samples of every test problem; they need the generator only, so they wait for it alone.
drawn=$(after "$sft" --array=1-16 "$here/shard.sbatch" e2h sample --scale paper)
merged=$(after "$drawn" "$here/one.sbatch" e2h sample --scale paper --merge)

# Their scores, in shards as well; the merge also votes and writes the results.
scored=$(after "$rm:$merged" --array=1-8 "$here/shard.sbatch" e2h rerank --scale paper)
after "$scored" "$here/one.sbatch" e2h rerank --scale paper --merge

# PPO on two nodes. Each process holds whole models, of which LoRA trains a small part.
after "$rm" --nodes=2 --export=ALL,ACCELERATE=--multi_gpu "$here/train.sbatch" \
  e2h rl --scale paper --lora-rank 64
