//! Conformance of `vfio-core` and `vfio-hosted`: the tests stand in `conformance/`.
