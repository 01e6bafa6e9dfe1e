// The passes in single precision.
#include "execute.h"
#include "passes.h"

namespace pd {

void forward_float32(const Call& call, Memory& memory) { forward<float>(call, memory); }
void backward_float32(const Call& call, Memory& memory) { backward<float>(call, memory); }

}  // namespace pd
