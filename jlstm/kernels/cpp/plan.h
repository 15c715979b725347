// The Python type Plan: a network's time step, run without making Python objects.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace jlstm {

// A new reference to the type, or null with an exception set.
PyObject* plan_type();

}  // namespace jlstm
