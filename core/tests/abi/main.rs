//! Every layout and number of the ABI against bindings that bindgen made from the kernel's headers:
//! `vfio-bindings` (Linux 7.2), `iommufd-bindings` (Linux 7.1) and, for request numbers,
//! `linux-raw-sys`. What those crates lack is in [`missing`].

mod layouts;
mod missing;
mod numbers;
