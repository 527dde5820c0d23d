#!/usr/bin/env bash
# Print what the image's size consists of, in MB (1,000,000 bytes), as the files lie in it: uncompressed.
# Usage: image_size.sh IMAGE
set -euo pipefail
readonly IMAGE=$1

# Bytes of all files of an image. The engine's own figure depends on how it stores images.
bytes() { docker run --rm --entrypoint du "$1" -sxb / | cut -f 1; }

base_name=$(docker image inspect -f '{{index .Config.Labels "org.opencontainers.image.base.name"}}' "$IMAGE")
whole=$(bytes "$IMAGE") base=$(bytes "$base_name")

docker run --rm -i --entrypoint bash "$IMAGE" -s <<'IN_THE_IMAGE' | awk -v whole="$whole" -v base="$base" \
  -v name="$base_name" '
    { part[$2] += $1; known += $1 }
    END {
      for (p in part) if (part[p] >= 1e6) printf "%6.1f  %s\n", part[p] / 1e6, p | "sort -rn"
      close("sort -rn")
      printf "%6.1f  Python and the rest\n", (whole - base - known) / 1e6
      printf "%6.1f  on top of %s, which has %.1f; together %.1f MB\n", (whole - base) / 1e6, name, base / 1e6, whole / 1e6
    }'
cd /opt/treering/venv
du -sb lib/*mpi* bin | awk '{ print $1, "mpich" }'
# A wheel keeps the libraries that it brings in NAME.libs, and its metadata in NAME-VERSION.dist-info.
cd lib/python3.*/site-packages
du -sb -- * | sed 's/\.libs$//; s/-[^-]*\.dist-info$//; s/\txgboost_cpu$/\txgboost/'
IN_THE_IMAGE
