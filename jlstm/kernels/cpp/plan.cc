#include "plan.h"

#include <mutex>
#include <new>
#include <vector>

#include "buffers.h"
#include "dispatch.h"
#include "plan_operations.h"
#include "plan_program.h"

namespace jlstm {
namespace {

struct PlanObject {
  PyObject_HEAD
  Program* program;
};

Program* program_of(PyObject* self) {
  return reinterpret_cast<PlanObject*>(self)->program;
}

bool fill(Program& program, PyObject* operations, PyObject* arrays, int64_t row_size) {
  PyObject* given = PySequence_Tuple(arrays);
  if (!given) return false;
  std::vector<Numbers> numbers(static_cast<size_t>(PyTuple_Size(given)));
  bool right = true;
  for (size_t k = 0; right && k < numbers.size(); ++k)
    right = numbers[k].take(PyTuple_GetItem(given, static_cast<Py_ssize_t>(k)),
                            "arrays", program.is_double, false);
  PyObject* items = right ? PySequence_Tuple(operations) : nullptr;
  right = items != nullptr;
  for (Py_ssize_t k = 0; right && k < PyTuple_Size(items); ++k)
    right = read_operation(PyTuple_GetItem(items, k), numbers,
                           {row_size, program.states}, program.operations);
  if (right && !program.pack(row_size)) {
    PyErr_NoMemory();
    right = false;
  }
  Py_XDECREF(items);
  Py_DECREF(given);
  return right;
}

PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"operations", "arrays",    "double",
                                "inputs",     "outputs",   "output_at",
                                "states",     "row",       nullptr};
  PyObject *operations, *arrays;
  int is_double;
  long long inputs, outputs, output_at, states, row;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOpLLLLL",
                                   const_cast<char**>(names), &operations, &arrays,
                                   &is_double, &inputs, &outputs, &output_at, &states,
                                   &row))
    return nullptr;
  constexpr long long most = 1LL << 31;
  if (inputs < 0 || outputs < 0 || output_at < 0 || states < 0 || row < 0 ||
      row > most || states > most || inputs > row || outputs > row ||
      output_at > row - outputs) {
    PyErr_SetString(PyExc_ValueError, "inputs or outputs lie outside the row");
    return nullptr;
  }
  auto allocate = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  PyObject* self = allocate(type, 0);
  if (!self) return nullptr;
  auto* program = new (std::nothrow) Program;
  reinterpret_cast<PlanObject*>(self)->program = program;
  if (!program) {
    Py_DECREF(self);
    return PyErr_NoMemory();
  }
  program->is_double = is_double != 0;
  program->inputs = inputs;
  program->outputs = outputs;
  program->output_at = output_at;
  program->states = states;
  program->kernels = &kernels(is_double != 0);
  if (!fill(*program, operations, arrays, row)) {
    Py_DECREF(self);
    return nullptr;
  }
  return self;
}

void destroy(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete program_of(self);
  auto release = reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free));
  release(self);
  Py_DECREF(type);
}

bool three(Py_ssize_t count, const char* name) {
  if (count == 3) return true;
  PyErr_Format(PyExc_TypeError, "%s(x, state, y) takes 3 arrays, found %zd", name,
               count);
  return false;
}

PyObject* step(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Program& program = *program_of(self);
  Numbers x, state, y;
  const bool wide = program.is_double;
  if (!three(count, "step") ||
      !x.take(arguments[0], "x", wide, false, program.inputs) ||
      !state.take(arguments[1], "state", wide, true, program.states) ||
      !y.take(arguments[2], "y", wide, true, program.outputs))
    return nullptr;
  std::unique_lock<std::mutex> alone(program.mutex, std::try_to_lock);
  if (!alone) {
    // Another thread is running steps; nobody waits for it with the interpreter's lock.
    Py_BEGIN_ALLOW_THREADS;
    alone.lock();
    Py_END_ALLOW_THREADS;
  }
  program.step(x.data(), state.data(), y.data());
  Py_RETURN_NONE;
}

PyObject* run(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Program& program = *program_of(self);
  Numbers x, state, y;
  const bool wide = program.is_double;
  if (!three(count, "run") ||
      !x.take(arguments[0], "x", wide, false) ||
      !state.take(arguments[1], "state", wide, true, program.states) ||
      !y.take(arguments[2], "y", wide, true))
    return nullptr;
  const int64_t steps = program.inputs    ? x.size() / program.inputs
                        : program.outputs ? y.size() / program.outputs
                                          : 0;
  if (steps * program.inputs != x.size() || steps * program.outputs != y.size()) {
    PyErr_SetString(PyExc_ValueError,
                    "x is not (time, inputs) or y is not (time, outputs)");
    return nullptr;
  }
  Py_BEGIN_ALLOW_THREADS;
  std::unique_lock<std::mutex> alone(program.mutex);
  program.run(static_cast<char*>(x.data()), state.data(), static_cast<char*>(y.data()),
              steps);
  alone.unlock();
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

template <class F>
PyCFunction method(F function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"step", method(step), METH_FASTCALL,
     "step(x, state, y): one time step; state and y are overwritten."},
    {"run", method(run), METH_FASTCALL,
     "run(x, state, y): x (time, inputs), y (time, outputs); state as after the last."},
    {nullptr, nullptr, 0, nullptr},
};

constexpr const char* documentation =
    "Plan(operations, arrays, double, inputs, outputs, output_at, states, row)\n--\n\n"
    "A network's time step. The row is `row` numbers long: x at 0, y at output_at.\n"
    "An operation is (name, inputs, output, sizes, constants, arrays): places in the\n"
    "row, sizes, constants, and indices into `arrays`, all but the name and the output\n"
    "as tuples. The state is one array of `states` numbers.";

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(make)},
    {Py_tp_dealloc, reinterpret_cast<void*>(destroy)},
    {Py_tp_methods, methods},
    {Py_tp_doc, const_cast<char*>(documentation)},
    {0, nullptr},
};

PyType_Spec specification = {"jlstm.kernels._cpu.Plan", sizeof(PlanObject), 0,
                             Py_TPFLAGS_DEFAULT, slots};

}  // namespace

PyObject* plan_type() { return PyType_FromSpec(&specification); }

}  // namespace jlstm
