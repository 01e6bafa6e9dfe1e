// The passes by precision, each compiled in a file of its own.
#pragma once

namespace pd {

struct Call;
struct Memory;

void forward_float32(const Call& call, Memory& memory);
void backward_float32(const Call& call, Memory& memory);
void forward_float64(const Call& call, Memory& memory);
void backward_float64(const Call& call, Memory& memory);

}  // namespace pd
