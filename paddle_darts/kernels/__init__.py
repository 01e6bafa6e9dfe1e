"""C++ operators for the CPU, each with an equivalent of standard Paddle operators behind the same function."""
