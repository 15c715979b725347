// A network's time step as a list of operations on one row of numbers.
#pragma once

#include "problem.h"

namespace jlstm {

enum class Code {
  scale, dense, lstm, gru_after, gru_before, copy, add, multiply, softmax,
  relu, leaky_relu, tanh, sigmoid, softsign, hard_sigmoid, elu, clipped_relu, softplus,
  swish, gelu, gelu_tanh,
};

// Time steps that are taken together where there are many.
constexpr int64_t most_steps = 24;

struct Operation {
  Code code;
  int64_t in, in2, out;        // places in the row
  int64_t size, inputs;        // numbers that come out, and go in
  int64_t h_at, c_at;          // places in the state
  double constants[2];
  // Weights as they were given; not read after packing.
  const void* arrays[3];
  Layer layer;                 // of a recurrent layer
  const void* packed;
  void* room;                  // scratch of the operation, 64-byte aligned
};

}  // namespace jlstm
