#include "plan_operations.h"

#include <cstring>
#include <string>

namespace jlstm {
namespace {

// What an operation of a name takes.
struct Signature {
  const char* name;
  Code code;
  int inputs, sizes, constants, arrays;
};

constexpr Signature signatures[] = {
    {"scale", Code::scale, 1, 1, 0, 3},
    {"dense", Code::dense, 1, 2, 0, 2},
    {"lstm", Code::lstm, 1, 4, 2, 12},
    {"gru-after", Code::gru_after, 1, 3, 2, 12},
    {"gru-before", Code::gru_before, 1, 3, 2, 9},
    {"copy", Code::copy, 1, 1, 0, 0},
    {"add", Code::add, 2, 1, 0, 0},
    {"multiply", Code::multiply, 2, 1, 0, 0},
    {"softmax", Code::softmax, 1, 1, 0, 0},
    {"relu", Code::relu, 1, 1, 0, 0},
    {"leaky-relu", Code::leaky_relu, 1, 1, 1, 0},
    {"tanh", Code::tanh, 1, 1, 0, 0},
    {"sigmoid", Code::sigmoid, 1, 1, 0, 0},
    {"softsign", Code::softsign, 1, 1, 0, 0},
    {"hard-sigmoid", Code::hard_sigmoid, 1, 1, 2, 0},
    {"elu", Code::elu, 1, 1, 1, 0},
    {"clipped-relu", Code::clipped_relu, 1, 1, 1, 0},
    {"softplus", Code::softplus, 1, 1, 0, 0},
    {"swish", Code::swish, 1, 1, 0, 0},
    {"gelu", Code::gelu, 1, 1, 0, 0},
    {"gelu-tanh", Code::gelu_tanh, 1, 1, 0, 0},
};

bool wrong(const std::string& why) {
  PyErr_SetString(PyExc_ValueError, why.c_str());
  return false;
}

bool read_integers(PyObject* tuple, const char* what, int count, int64_t* to) {
  if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != count)
    return wrong(std::string(what) + ": expected a tuple of " + std::to_string(count));
  for (int k = 0; k < count; ++k) {
    to[k] = PyLong_AsLongLong(PyTuple_GetItem(tuple, k));
    if (to[k] == -1 && PyErr_Occurred()) return false;
    if (to[k] < 0 || to[k] > (int64_t{1} << 31))
      return wrong(std::string(what) + ": a number is negative or too large");
  }
  return true;
}

bool read_constants(PyObject* tuple, const char* what, int count, double* to) {
  if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != count)
    return wrong(std::string(what) + ": expected a tuple of " + std::to_string(count));
  for (int k = 0; k < count; ++k) {
    to[k] = PyFloat_AsDouble(PyTuple_GetItem(tuple, k));
    if (to[k] == -1 && PyErr_Occurred()) return false;
  }
  return true;
}

// The operation's arrays, one after the other, each of the size that is expected.
class Taken {
 public:
  Taken(const std::vector<Numbers>& arrays, const int64_t* places, const char* name)
      : arrays_(arrays), places_(places), name_(name) {}

  const void* next(int64_t count) {
    const int64_t place = places_[taken_++];
    if (place >= static_cast<int64_t>(arrays_.size())) {
      right_ = right_ && wrong(std::string(name_) + ": there is no such array");
      return nullptr;
    }
    const Numbers& array = arrays_[static_cast<size_t>(place)];
    if (array.size() != count)
      right_ = right_ && wrong(std::string(name_) + ": array " +
                               std::to_string(taken_ - 1) + " holds " +
                               std::to_string(array.size()) + " numbers, expected " +
                               std::to_string(count));
    return array.data();
  }
  bool right() const { return right_; }

 private:
  const std::vector<Numbers>& arrays_;
  const int64_t* places_;
  const char* name_;
  int taken_ = 0;
  bool right_ = true;
};

bool is_recurrent(Code code) {
  return code == Code::lstm || code == Code::gru_after || code == Code::gru_before;
}

bool take_layer(Operation& op, Taken& taken) {
  Layer& layer = op.layer;
  layer.kind = op.code == Code::lstm        ? Kind::lstm
               : op.code == Code::gru_after ? Kind::gru_after
                                            : Kind::gru_before;
  const double state = op.constants[0], gate = op.constants[1];
  if (!(state == 0 || state == 1 || state == 2) || !(gate == 0 || gate == 1))
    return wrong("a recurrent layer: no such activation");
  layer.state = static_cast<StateFunction>(static_cast<int>(state));
  layer.gate = static_cast<GateFunction>(static_cast<int>(gate));
  layer.units = op.size;
  layer.inputs = op.inputs;
  const int gates = gate_counts[static_cast<int>(layer.kind)];
  for (int g = 0; g < gates; ++g)
    layer.input_weights[g] = taken.next(op.size * op.inputs);
  for (int g = 0; g < gates; ++g)
    layer.recurrent_weights[g] = taken.next(op.size * op.size);
  for (int g = 0; g < gates; ++g) layer.bias[g] = taken.next(op.size);
  if (layer.kind == Kind::gru_after)
    for (int g = 0; g < gates; ++g) layer.recurrent_bias[g] = taken.next(op.size);
  return true;
}

bool overlap(int64_t a, int64_t a_size, int64_t b, int64_t b_size) {
  return a < b + b_size && b < a + a_size;
}

bool check_places(const Operation& op, const char* name, const Bounds& bounds) {
  const auto inside = [](int64_t at, int64_t count, int64_t limit) {
    return at >= 0 && count >= 0 && at + count <= limit;
  };
  bool right = inside(op.in, op.inputs, bounds.row) &&
               inside(op.in2, op.inputs, bounds.row) &&
               inside(op.out, op.size, bounds.row) && op.size > 0;
  if (is_recurrent(op.code)) right = right && inside(op.h_at, op.size, bounds.state);
  if (op.code == Code::lstm) right = right && inside(op.c_at, op.size, bounds.state);
  if (!right) return wrong(std::string(name) + ": a place lies outside");
  const bool apart = !overlap(op.in, op.inputs, op.out, op.size) &&
                     !overlap(op.in2, op.inputs, op.out, op.size);
  const bool same = (op.in == op.out || !overlap(op.in, op.inputs, op.out, op.size)) &&
                    (op.in2 == op.out || !overlap(op.in2, op.inputs, op.out, op.size));
  const bool product = is_recurrent(op.code) || op.code == Code::dense;
  if (product ? apart : same) return true;
  return wrong(std::string(name) + ": input and output overlap");
}

bool take_operation(PyObject* item, const Signature& signature,
                    const std::vector<Numbers>& arrays, const Bounds& bounds,
                    Operation& op) {
  const char* name = signature.name;
  int64_t in[2] = {}, sizes[4] = {}, places[12] = {};
  op.code = signature.code;
  if (!read_integers(PyTuple_GetItem(item, 1), name, signature.inputs, in) ||
      !read_integers(PyTuple_GetItem(item, 3), name, signature.sizes, sizes) ||
      !read_constants(PyTuple_GetItem(item, 4), name, signature.constants,
                      op.constants) ||
      !read_integers(PyTuple_GetItem(item, 5), name, signature.arrays, places))
    return false;
  op.out = PyLong_AsLongLong(PyTuple_GetItem(item, 2));
  if (op.out == -1 && PyErr_Occurred()) return false;
  op.in = in[0];
  op.in2 = signature.inputs == 2 ? in[1] : in[0];
  op.size = sizes[0];
  op.inputs = signature.sizes > 1 ? sizes[1] : op.size;
  op.h_at = sizes[2];
  op.c_at = sizes[3];
  if (!check_places(op, name, bounds)) return false;
  Taken taken(arrays, places, name);
  if (is_recurrent(op.code)) {
    if (!take_layer(op, taken)) return false;
  } else if (op.code == Code::dense) {
    op.arrays[0] = taken.next(op.size * op.inputs);
    op.arrays[1] = taken.next(op.size);
  } else {
    for (int k = 0; k < signature.arrays; ++k) op.arrays[k] = taken.next(op.size);
  }
  return taken.right();
}

}  // namespace

bool read_operation(PyObject* item, const std::vector<Numbers>& arrays,
                    const Bounds& bounds, std::vector<Operation>& operations) {
  if (!PyTuple_Check(item) || PyTuple_Size(item) != 6 ||
      !PyUnicode_Check(PyTuple_GetItem(item, 0)))
    return wrong("an operation is (name, inputs, output, sizes, constants, arrays)");
  for (const Signature& signature : signatures)
    if (PyUnicode_CompareWithASCIIString(PyTuple_GetItem(item, 0), signature.name) ==
        0) {
      Operation op{};
      if (!take_operation(item, signature, arrays, bounds, op)) return false;
      operations.push_back(op);
      return true;
    }
  PyErr_Format(PyExc_ValueError, "there is no operation %R", PyTuple_GetItem(item, 0));
  return false;
}

}  // namespace jlstm
