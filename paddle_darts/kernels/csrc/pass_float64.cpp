// The passes in double precision.
#include "execute.h"
#include "passes.h"

namespace pd {

void forward_float64(const Call& call, Memory& memory) { forward<double>(call, memory); }
void backward_float64(const Call& call, Memory& memory) { backward<double>(call, memory); }

}  // namespace pd
