"""In memory, in virtual time: unchanged grpc.aio stubs and servicers, with every delivery a choice."""
