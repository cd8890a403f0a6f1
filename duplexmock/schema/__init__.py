"""Pure: payloads and the descriptors that read them."""
