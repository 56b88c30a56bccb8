//! BIRD's filter statements, as operators keep them under `/calico/bgp/v1/global/custom_filters/v4|v6/`.
