"""Small layers that every network uses: convolutions, batch norm, blocks, drop path, losses, optimizers."""
