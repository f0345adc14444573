# shellcheck shell=bash
# Sourced: what Open MPI needs to run here whoever we are and however few cores there are.
if [[ $(id -u) -eq 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# More ranks than cores is fine, and a rank's threads may use every core.
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
# Containers may forbid the system call behind single-copy messages; without it, messages are no slower.
export OMPI_MCA_btl_vader_single_copy_mechanism=none
