// Arrays of Python, by the buffer protocol.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>

namespace jlstm {

// A contiguous array of floats or doubles, held as long as this lives.
class Numbers {
 public:
  Numbers() = default;
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  Numbers(Numbers&& other) noexcept : view_(other.view_), held_(other.held_) {
    other.held_ = false;
  }
  ~Numbers() {
    if (held_) PyBuffer_Release(&view_);
  }

  // False with an exception set.
  bool take(PyObject* array, const char* name, bool is_double, bool writable) {
    const int flags =
        PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(array, &view_, flags) < 0) return false;
    held_ = true;
    const char expected = is_double ? 'd' : 'f';
    const char* format = view_.format;
    if (format && *format == '@') ++format;
    if (format && format[0] == expected && format[1] == 0) return true;
    PyErr_Format(PyExc_TypeError, "%s: found an array of format '%s', expected %s", name,
                 format ? format : "B", is_double ? "float64" : "float32");
    return false;
  }

  // The same, and it must hold `count` numbers.
  bool take(PyObject* array, const char* name, bool is_double, bool writable,
            int64_t count) {
    if (!take(array, name, is_double, writable)) return false;
    if (size() == count) return true;
    PyErr_Format(PyExc_ValueError, "%s: found %lld numbers, expected %lld", name,
                 static_cast<long long>(size()), static_cast<long long>(count));
    return false;
  }

  void* data() const { return view_.buf; }
  int64_t size() const { return view_.len / view_.itemsize; }

 private:
  Py_buffer view_;
  bool held_ = false;
};

}  // namespace jlstm
