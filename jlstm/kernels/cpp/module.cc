// The extension module jlstm.kernels._cpu.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "dispatch.h"
#include "handlers.h"
#include "plan.h"
#include "problem.h"

namespace jlstm {
namespace {

PyObject* handlers(PyObject*, PyObject*) {
  PyObject* forward =
      PyCapsule_New(reinterpret_cast<void*>(forward_handler), nullptr, nullptr);
  PyObject* backward =
      PyCapsule_New(reinterpret_cast<void*>(backward_handler), nullptr, nullptr);
  PyObject* found = nullptr;
  if (forward && backward)
    found = Py_BuildValue("{sOsO}", "jlstm_forward", forward, "jlstm_backward",
                          backward);
  Py_XDECREF(forward);
  Py_XDECREF(backward);
  return found;
}

PyObject* instructions(PyObject*, PyObject*) {
  const Precisions* sets[most_sets];
  const int count = available(sets);
  PyObject* names = PyTuple_New(count);
  for (int k = 0; names && k < count; ++k) {
    PyObject* name = PyUnicode_FromString(sets[k]->name);
    if (!name || PyTuple_SetItem(names, k, name) < 0) {
      Py_DECREF(names);
      return nullptr;
    }
  }
  return names;
}

PyObject* used(PyObject*, PyObject*) { return PyUnicode_FromString(in_use()); }

PyObject* use(PyObject*, PyObject* name) {
  PyObject* bytes = PyUnicode_AsUTF8String(name);
  if (!bytes) return nullptr;
  const char* text = PyBytes_AsString(bytes);
  const bool found = text && choose(text);
  Py_DECREF(bytes);
  if (!found)
    return PyErr_Format(PyExc_ValueError,
                        "no instruction set %R in this build or on this processor",
                        name);
  Py_RETURN_NONE;
}

PyObject* saved_shape(PyObject*, PyObject* arguments) {
  long long kind, batch, steps, units;
  int is_double;
  if (!PyArg_ParseTuple(arguments, "LLLLp", &kind, &batch, &steps, &units, &is_double))
    return nullptr;
  if (kind < 0 || kind > 2 || batch < 0 || steps < 0 || units < 1) {
    PyErr_SetString(PyExc_ValueError, "kind is 0, 1 or 2; sizes are not negative");
    return nullptr;
  }
  const SavedShape s(static_cast<Kind>(kind), units, is_double != 0);
  return Py_BuildValue("(LLLLL)", steps, static_cast<long long>(s.groups), batch,
                       static_cast<long long>(s.signals),
                       static_cast<long long>(s.group));
}

PyMethodDef functions[] = {
    {"handlers", handlers, METH_NOARGS,
     "handlers() -> {name: capsule}, for jax.ffi.register_ffi_target."},
    {"instructions", instructions, METH_NOARGS,
     "instructions() -> names of the instruction sets that can be used, best first."},
    {"in_use", used, METH_NOARGS, "in_use() -> the instruction set that is used."},
    {"use", use, METH_O, "use(name): use another instruction set. For tests."},
    {"saved_shape", saved_shape, METH_VARARGS,
     "saved_shape(kind, batch, steps, units, is_double) -> shape of what is saved."},
    {nullptr, nullptr, 0, nullptr},
};

int add_types(PyObject* module) {
  PyObject* type = plan_type();
  if (!type) return -1;
  const int done = PyModule_AddObjectRef(module, "Plan", type);
  Py_DECREF(type);
  return done;
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(add_types)},
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_cpu", "Recurrent layers on the processor.", 0, functions,
    slots, nullptr, nullptr, nullptr,
};

}  // namespace
}  // namespace jlstm

PyMODINIT_FUNC PyInit__cpu() { return PyModuleDef_Init(&jlstm::definition); }
