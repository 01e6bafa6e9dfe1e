// The passes in double precision.
#include "passes.h"

#include "execute.h"

namespace pd {

void forward_float64(const Call& call, Memory& memory) { forward<double>(call, memory); }
void backward_float64(const Call& call, Memory& memory) { backward<double>(call, memory); }

}  // namespace pd
