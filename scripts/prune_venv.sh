#!/bin/sh
# Remove from a virtual environment, the first argument, what the image never runs. Only whole parts that
# their packages can do without: the image tests import and train with what is left.
set -eu
cd "$1"
packages=$(echo lib/python3.*/site-packages)

# Tests, and the sources of compiled modules: nothing imports them.
find "$packages" -type d -name tests -prune -exec rm -r {} +
find "$packages" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.h' \
  -o -name '*.hpp' -o -name '*.cc' -o -name '*.a' \) -delete
rm -r "$packages/pyarrow/include"

# Arrow's RPC (Flight), which nothing imports by itself. Its S3 client stays: it fetches the code of scripts.
rm "$packages"/pyarrow/*arrow_flight* "$packages"/pyarrow/_flight* "$packages"/pyarrow/libarrow_python_flight*
# A wheel has no symbolic links, so these libraries are there thrice; the loader asks for lib*.so.N alone.
find "$packages/pyarrow" -name 'libarrow_python*.so' -delete
find "$packages/pyarrow" -name 'libarrow_python*.so.*.*.*' -delete

# MPI's launchers, compilers and second ABI: a host starts its own ranks, and mpi4py loads libmpi.so.12.
rm -r include
# pip is there for the requirements of scripts, as `python -m pip`; nobody else is invited to install.
rm bin/pip*
rm -f bin/mpi* bin/hydra_* lib/libmpi_abi* "$packages"/mpi4py/MPI.openmpi.*
