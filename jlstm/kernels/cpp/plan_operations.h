// From what Python says to the operations of a program, every place checked.
#pragma once

#include <vector>

#include "buffers.h"
#include "program.h"

namespace jlstm {

// Numbers that an operation may reach.
struct Bounds {
  int64_t row, state;
};

// Appends the operation that `item` describes; false with an exception set.
bool read_operation(PyObject* item, const std::vector<Numbers>& arrays,
                    const Bounds& bounds, std::vector<Operation>& operations);

}  // namespace jlstm
