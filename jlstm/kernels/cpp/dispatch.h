// The kernels of the instruction sets that were compiled in and that this processor has.
#pragma once

#include "problem.h"

namespace jlstm {

constexpr int most_sets = 4;

// One instruction set.
struct Precisions {
  const char* name;
  const Kernels *of_float, *of_double;
};

// Best first; returns their number.
int available(const Precisions* sets[most_sets]);

// What calls use: of the best set available, unless another was chosen.
const Kernels& kernels(bool is_double);
const char* in_use();

// False if there is no set of that name.
bool choose(const char* name);

}  // namespace jlstm
